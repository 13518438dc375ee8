-- Choosing among given answers: each is scored behind the question, in one step, and nothing is
-- parsed. Calibrated: less what an answer is worth without the question.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function chat(question)
  return model:cache():extend(model:encode("<|im_start|>user\n" .. question
    .. "<|im_end|>\n<|im_start|>assistant\n", {special = true, bos = true}))
end
local answers = {"Paris", "Rome", "Oslo", "Lima"}
for _, country in ipairs {"France", "Norway", "Peru", "Italy"} do
  local question = chat(("What is the capital of %s?"):format(country))
  local forced = question:extend(("The capital of %s is"):format(country))
  local choices = {}
  for i, answer in ipairs(answers) do choices[i] = " " .. answer .. "." end
  local best, _, logprobs = model:select(forced, choices)
  local list = {}
  for i, logprob in ipairs(logprobs) do list[i] = ("%s %.1f"):format(answers[i], logprob) end
  print(("%-8s %s   (%s)"):format(country, answers[best], table.concat(list, ", ")))
end
