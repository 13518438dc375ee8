-- Parallel sampling: several stories from one prompt, which is processed once. A seed always tells the same story.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local prompt = model:cache():extend("Once upon a time"):ready()
for seed = 1, 4 do
  local tokens, _, info = model:generate {
    cache = prompt, max_new_tokens = 40, temperature = 0.8, top_p = 0.95, seed = seed, stop_at_eog = true, logprobs = true,
  }
  local sum = 0
  for _, lp in ipairs(info.logprobs) do sum = sum + lp end
  print(("seed %d, %.2f nats per token:%s\n"):format(seed, -sum / #tokens, info.text))
end
print("tokens processed:", model:stats().tokens, "of them the prompt's, once:", #prompt)
