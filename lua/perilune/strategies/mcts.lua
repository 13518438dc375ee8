-- Monte Carlo tree search over text (PUCT: Silver et al. 2017; for language models: Liu et al.
-- 2023): select the child with the best mean value and prior, expand it, roll out from there, back
-- the value up. The best line of all rollouts is the result.
--
--     local mcts = require "perilune.strategies.mcts"
--     local tokens, cache, info = mcts(model, {
--       input = "Once upon a time", max_new_tokens = 24, simulations = 40, seed = 1,
--       reward = function(line) return line.text:find "dog" and 1 or 0 end,
--     })
--
-- `reward` sees {tokens, text, cache, logprobs} of a whole line; unless given, it is the geometric
-- mean of the tokens' probabilities. `width`: children of a node, the most probable tokens; `c`:
-- how much the prior counts; `leaves`: rollouts side by side, which see one another as lost visits.
-- Rollouts are drawn with generate's options (temperature 1 unless given), by `decode`.

local core = require "perilune.core"
local options = require "perilune.options"
local tasks = require "perilune.tasks"

local function likelihood(line)
  local sum = 0
  for _, logprob in ipairs(line.logprobs) do sum = sum + logprob end
  return math.exp(sum / math.max(#line.logprobs, 1))
end

return function(model, given)
  local own, o = options.read("tree search", given, {
    simulations = 40, width = 4, c = 1.0, leaves = 4, reward = likelihood, decode = false,
  })
  if math.type(o.max_new_tokens) ~= "integer" then
    core.raise("argument", "tree search: option 'max_new_tokens' is missing: a line's length")
  end
  local begin, rng = options.begin(model, o), o.rng or core.rng(o.seed)
  local ends, best = options.ending(model, o, begin), nil
  local root = {cache = begin, logprobs = {}, n = 0, w = 0}

  local function choose(node)
    local function value(kid)
      local mean = kid.n > 0 and kid.w / kid.n or 0
      return mean + own.c * kid.prior * math.sqrt(node.n) / (1 + kid.n)
    end
    local pick = node.kids[1]
    for _, kid in ipairs(node.kids) do
      if value(kid) > value(pick) then pick = kid end
    end
    return pick
  end
  local function expand(node) -- children are values: what is never visited never runs
    local ids, logprobs = node.cache:logits():top(own.width)
    local kids = {}
    for i, id in ipairs(ids) do
      kids[i] = {
        parent = node, cache = node.cache:extend(id), prior = math.exp(logprobs[i]), n = 0, w = 0,
        logprobs = table.move(node.logprobs, 1, #node.logprobs, 1, {}),
      }
      table.insert(kids[i].logprobs, logprobs[i])
    end
    node.kids = node.kids or kids
  end
  local function roll_out(node, seed)
    local one, left = options.behind(o, node.cache), o.max_new_tokens - #node.logprobs
    if left == 0 or (node ~= root and ends(node.cache)) then left = 0 else expand(node) end
    one.max_new_tokens, one.logprobs, one.on_token, one.rng, one.seed = left, true, nil, seed, nil
    one.temperature = o.temperature or 1
    local _, cache, info = (own.decode or model.generate)(model, one)
    local logprobs = table.move(node.logprobs, 1, #node.logprobs, 1, {})
    table.move(info.logprobs or {}, 1, #(info.logprobs or {}), #logprobs + 1, logprobs)
    local line = {
      tokens = cache:tokens(#begin + 1), text = cache:text(#begin + 1), cache = cache,
      logprobs = logprobs,
    }
    line.value, line.info = own.reward(line), {logprobs = logprobs}
    return line
  end

  for first = 1, own.simulations, own.leaves do
    local leaves = {}
    for i = 1, math.min(own.leaves, own.simulations - first + 1) do
      local node = root
      node.n = node.n + 1
      while node.kids do
        node = choose(node)
        node.n = node.n + 1 -- counts ahead
      end
      leaves[i] = {node = node, rng = rng:fork()}
    end
    local lines = tasks.map(leaves, function(leaf) return roll_out(leaf.node, leaf.rng) end)
    for i, line in ipairs(lines) do
      local node = leaves[i].node
      while node do node.w, node = node.w + line.value, node.parent end
      if best == nil or line.value > best.value then best = line end
    end
  end
  local tokens, cache, info = options.settle(model, o, begin, best)
  info.value, info.tree = best.value, root
  return tokens, cache, info
end
