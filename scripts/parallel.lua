-- Parallel sampling: eight stories from one prompt, which is processed once; every step computes the next token of all of them.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local prompt = model:cache():extend "Once upon a time":ready()

local begun, before = perilune.clock(), model:stats()
local stories = perilune.map(8, function(seed)
  local _, _, info = model:generate {
    cache = prompt, max_new_tokens = 60, temperature = 0.8, top_p = 0.95, seed = seed, stop_at_eog = true,
  }
  return info.text
end)
for i, story in ipairs(stories) do print(i .. ". Once upon a time" .. story) end

local after = model:stats()
print(("%d tokens in %d steps, %.2f seconds"):format(after.sampled - before.sampled, after.steps - before.steps,
  perilune.clock() - begun))
