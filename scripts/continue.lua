-- Pure continuation: no input, the cache goes on. 5 tokens and 5 more are the same as 10: nothing is computed twice.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local options = {temperature = 0.8, seed = 7}

local function generate(o)
  for k, v in pairs(options) do o[k] = v end
  return model:generate(o)
end

local _, at_once = generate {input = "Once upon a time", max_new_tokens = 10}
local _, five = generate {input = "Once upon a time", max_new_tokens = 5}
local _, ten = generate {cache = five, max_new_tokens = 5}

print(at_once:text())
print(five:text() .. " ...")
print(ten:text())
print("the same:", at_once == ten)
