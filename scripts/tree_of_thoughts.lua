-- Tree of Thoughts (Yao et al. 2023), breadth first: propose how a story goes on, let the model say how well it fits, keep the
-- best. Each round's proposals are tasks, and computed together; a verdict is a branch, and never enters the story.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local WIDTH, TRIES, DEPTH = 2, 4, 3

local function propose(cache, seed)
  local _, _, info = model:generate {cache = cache, max_new_tokens = 40, temperature = 0.9, seed = seed, stop = {"."}}
  return info.before:extend "."
end

-- How much likelier the story's usual end is behind this than behind nothing: the verdict.
local END = " They lived happily ever after."
local function value(cache, root)
  return (model:score(cache, {END}))[1] - (model:score(root, {END}))[1]
end

local root = model:cache():extend "Once upon a time"
local frontier = {{cache = root, value = 0}}
for depth = 1, DEPTH do
  local grown = perilune.map(TRIES * #frontier, function(i)
    local cache = propose(frontier[(i - 1) % #frontier + 1].cache, depth * 100 + i)
    return {cache = cache, value = value(cache, root)}
  end)
  table.sort(grown, function(a, b) return a.value > b.value end)
  frontier = table.move(grown, 1, WIDTH, 1, {})
  print(("depth %d: best of %d is %+.2f, worst %+.2f"):format(depth, #grown, grown[1].value, grown[#grown].value))
end
for i, branch in ipairs(frontier) do print(("%d. (%+.2f) %s"):format(i, branch.value, branch.cache:text())) end
