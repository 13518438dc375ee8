-- Tree of Thoughts (Yao et al. 2023), breadth first: all branches think on at once, each is given a value, the best go on. A
-- thought is the next sentence; its value is how probable the model finds it and a good end behind it.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local WIDTH, BRANCHES, DEPTH = 2, 4, 3
local GOOD, BAD = " They were happy.", " They were sad."

local function propose(cache, seed)                       -- one more sentence
  local tokens, _, info = model:generate {cache = cache, max_new_tokens = 40, temperature = 0.9, seed = seed, stop = {"."}}
  if #tokens == 0 then return cache end
  return info.before:extend "."                           -- a value that ends where the thought ends
end

local function mean(list)
  local sum = 0
  for _, x in ipairs(list) do sum = sum + x end
  return sum / math.max(1, #list)
end

local function value(cache, from)                         -- the verdicts are branches: they never enter the line of thought
  local sums = model:score(cache, {GOOD, BAD})
  local fluent = mean(cache:logprobs(from + 1))
  return sums[1] - sums[2] + fluent, fluent
end

local root = model:cache():extend "Once upon a time, Tom and Lily lost their ball in the park."
local frontier, looked_at = {{cache = root, value = 0, fluent = 0}}, 0
for depth = 1, DEPTH do
  local grown = perilune.map(BRANCHES * #frontier, function(i)
    local parent = frontier[(i - 1) % #frontier + 1]
    local cache = propose(parent.cache, depth * 100 + i)
    local v, fluent = value(cache, #parent.cache)
    return {cache = cache, value = v, fluent = fluent}
  end)
  looked_at = looked_at + #grown
  table.sort(grown, function(a, b) return a.value > b.value end)
  frontier = table.move(grown, 1, math.min(WIDTH, #grown), 1, {})
  print(("depth %d: values %.2f to %.2f, best:%s"):format(depth, grown[1].value, grown[#grown].value,
    frontier[1].cache:text(#root + 1)))
end

local stats = model:stats()
print(("%d thoughts, %d tokens processed in %d steps"):format(looked_at, stats.tokens, stats.steps))
