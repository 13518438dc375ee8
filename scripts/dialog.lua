-- Multi-turn dialog: each turn passes only its new tokens; what was said before lies in the cache.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local open, close = model:id "<|im_start|>", model:id "<|im_end|>"
assert(open and close, "this script speaks ChatML; the model does not")

local cache = model:cache()
for _, question in ipairs {"Hello! My name is Tom.", "What is the capital of Italy?", "What is my name?"} do
  print("> " .. question)
  local before = #cache
  local tokens, after, info = model:generate {
    input = {open, "user\n" .. question, close, "\n", open, "assistant\n"},  -- ids are control, strings are only text
    cache = cache, max_new_tokens = 60, stop_at_eog = true,
  }
  print(info.text, ("(%d tokens were there, %d came in, %d are new)"):format(before, #after - #tokens - before, #tokens))
  cache = after:extend "\n"                              -- rides with the next turn's prefill
end
