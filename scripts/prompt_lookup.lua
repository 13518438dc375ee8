-- Prompt-lookup decoding: what is copied from the prompt is guessed from the prompt: no draft
-- model, fewer steps, the same text.
local perilune = require "perilune"
local prompt_lookup = require "perilune.strategies.prompt_lookup"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local TURN = "<|im_start|>user\nExtract as JSON: %s<|im_end|>\n<|im_start|>assistant\n"
local first = TURN:format "Ada is 31 years old and lives in Vienna."
  .. '{"name": "Ada", "age": 31, "city": "Vienna"}<|im_end|>\n'
local chat = model:cache():extend(model:encode(first, {special = true, bos = true}))

for _, person in ipairs {{"Tom", 12, "Paris"}, {"Mirabel", 9, "Oslo"}, {"Kofi", 44, "Lima"}} do
  local text = ("%s is %d years old and lives in %s."):format(table.unpack(person))
  local tokens, _, info = prompt_lookup(model, {
    cache = chat:extend(model:encode(TURN:format(text), {special = true})),
    max_new_tokens = 60, stop_at_eog = true,
  })
  print(("%s  %d tokens in %d steps"):format(info.text, #tokens, info.passes))
end
