-- Classifier-free guidance: one instruction, followed more and more.
local perilune = require "perilune"
local guidance = require "perilune.strategies.guidance"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local CHAT = "<|im_start|>system\n%s<|im_end|>\n<|im_start|>user\n%s<|im_end|>\n"
  .. "<|im_start|>assistant\n"
local function chat(system, question)
  local ids = model:encode(CHAT:format(system, question), {special = true, bos = true})
  return model:cache():extend(ids)
end
local question = "What do you sell?"
for _, scale in ipairs {0.0, 0.5, 1.0, 2.0} do
  local _, _, info = guidance(model, {
    cache = chat("You are Mira, a baker in Oakford. You sell bread for 3 coins.", question),
    without = chat("You are Borin, a smith in Stonehill. You sell swords for 12 coins.", question),
    scale = scale, max_new_tokens = 30, stop_at_eog = true,
  })
  print(("scale %.1f: %s"):format(scale, info.text))
end
