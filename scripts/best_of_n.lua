-- Best of n: eight stories from one prompt, side by side; the one that the model itself finds most
-- natural, and the one that tells most with the fewest words.
local perilune = require "perilune"
local best_of_n = require "perilune.strategies.best_of_n"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local o = {
  input = "Once upon a time", max_new_tokens = 60, stop = ".", temperature = 1, seed = 1, n = 8,
}
local _, _, info = best_of_n(model, o)
for _, s in ipairs(info.samples) do print(("%6.2f%s"):format(s.score, s.info.text)) end

o.score = function(sample)
  local names = select(2, sample.info.text:gsub("%f[%a]%u%l+", ""))
  return names / #sample.tokens
end
print("most names per word:" .. select(3, best_of_n(model, o)).text)
