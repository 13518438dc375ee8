-- A watermark: text that whoever has the key can tell from other text, and nobody else.
local perilune = require "perilune"
local watermark = require "perilune.strategies.watermark"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local o = {input = "Once upon a time", max_new_tokens = 300, temperature = 1.2, seed = 3}
local plain, _, info = model:generate(o)
print("plain:  " .. info.text:sub(1, 76))
o.key, o.delta = 42, 4.0
local marked, _, marked_info = watermark(model, o)
print("marked: " .. marked_info.text:sub(1, 76))
for _, case in ipairs {{"marked, key 42", marked, 42}, {"marked, key 43", marked, 43}, {"plain, key 42", plain, 42}} do
  local found = watermark.detect(model, case[2], {key = case[3]})
  print(("%-15s %2.0f %% of %d tokens are green: z = %5.2f, by chance %.2g"):format(
    case[1], 100 * found.part, found.n, found.z, found.p))
end
