-- Self-consistency: one hot sample is often wrong, and not twice in the same way: nine vote.
local perilune = require "perilune"
local self_consistency = require "perilune.strategies.self_consistency"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function ask(question, options)
  options.input = model:encode("<|im_start|>user\n" .. question
    .. "<|im_end|>\n<|im_start|>assistant\n", {special = true, bos = true})
  options.max_new_tokens, options.stop_at_eog, options.temperature = 30, true, 1.5
  return options
end
for _, question in ipairs {"What is 3 plus 4?", "What is the capital of Italy?", "What colour is snow?"} do
  local _, _, one = model:generate(ask(question, {seed = 2}))
  local _, _, info = self_consistency(model, ask(question, {
    n = 9, seed = 2, answer = function(text) return text:match "(%w+)%.?$" end,
  }))
  print(question)
  print("  once: " .. one.text)
  print(("  nine: %s (%d of 9)"):format(info.answer, info.votes[info.answer] or 0))
end
