-- Speculative decoding: a small model guesses, the large one checks several tokens in one step. The
-- text is the same, in fewer steps. The draft here is the bundled model in four bits.
local perilune = require "perilune"
local speculative = require "perilune.strategies.speculative"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function in_four_bits(path)
  local file <close>, copy, types = assert(perilune.gguf(path)), os.tmpname(), {}
  for _, tensor in ipairs(file:tensors()) do
    if #tensor.shape == 2 then types[tensor.name] = "Q4_0" end
  end
  assert(file:convert(copy, {types = types}))
  local draft = assert(perilune.load(copy))
  os.remove(copy)
  return draft
end
local draft = arg and arg[2] and assert(perilune.load(arg[2])) or in_four_bits(arg and arg[1] or "demo")

local o = {input = "Once upon a time", max_new_tokens = 60}
local plain = model:generate(o)
print("k  steps per token  guesses that were right  same text")
for _, k in ipairs {1, 2, 4, 8} do
  o.draft, o.k = draft, k
  local tokens, _, info = speculative(model, o)
  print(("%d  %.2f             %3.0f %%                    %s"):format(k, info.passes / #tokens,
    100 * info.accepted / info.drafted, table.concat(tokens, " ") == table.concat(plain, " ")))
end
