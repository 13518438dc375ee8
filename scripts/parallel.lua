-- Parallel sampling, side by side: eight stories from one prompt, which is processed once; every step computes the next token
-- of all of them. A seed tells the same story as it does alone.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local N = 8

local prompt = model:cache():extend "Once upon a time"

local function tell(seed)
  local tokens, _, info = model:generate {
    cache = prompt, max_new_tokens = 40, temperature = 0.8, top_p = 0.95, seed = seed, stop_at_eog = true, logprobs = true,
  }
  local sum = 0
  for _, lp in ipairs(info.logprobs) do sum = sum + lp end
  return {seed = seed, text = info.text, mean = sum / #tokens, n = #tokens}
end

local start = perilune.clock()
local stories = perilune.map(N, tell)
local together = perilune.clock() - start

start = perilune.clock()
for seed = 1, N do assert(tell(seed).text == stories[seed].text) end
local alone = perilune.clock() - start

local n = 0
for _, story in ipairs(stories) do n = n + story.n end
table.sort(stories, function(a, b) return a.mean > b.mean end)
for _, story in ipairs(stories) do print(("seed %d, %.2f nats per token:%s\n"):format(story.seed, -story.mean, story.text)) end
print(("%d tokens side by side: %.0f per second; one after the other: %.0f"):format(n, n / together, n / alone))
