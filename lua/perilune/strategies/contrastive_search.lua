-- Contrastive search (Su et al. 2022): of the k most probable tokens, the one with the best
-- (1 - alpha) p - alpha s, where s is the largest cosine between the hidden state that it would
-- have and those of all tokens before: probable, and not more of the same.
--
--     local contrastive_search = require "perilune.strategies.contrastive_search"
--     local tokens, cache, info = contrastive_search(model, {
--       input = "Once upon a time", max_new_tokens = 40, k = 4, alpha = 0.6,
--     })
--
-- k = 1 or alpha = 0 is greedy. All candidates are processed in one step; the one that is taken is
-- not processed again.

local options = require "perilune.options"
local tasks = require "perilune.tasks"

return function(model, given)
  local own, o = options.read("contrastive search", given, {k = 4, alpha = 0.6}, "common")
  local cache = options.begin(model, o)
  local out, before = model:sink(o, cache), nil
  if o.max_new_tokens == 0 then return out:finish(cache) end
  before = cache:hidden(1, #cache)
  repeat
    local ids, logprobs = cache:logits():top(own.k)
    local tried, best = {}, nil
    local states = tasks.map(ids, function(id, i)
      tried[i] = cache:extend(id)
      return tried[i]:hidden()
    end)
    for i, state in ipairs(states) do
      local alike = math.max(table.unpack(state:cosine(before)))
      local score = (1 - own.alpha) * math.exp(logprobs[i]) - own.alpha * alike
      if best == nil or score > best.score then best = {at = i, score = score} end
    end
    cache, before[#before + 1] = tried[best.at], states[best.at]
  until out:push(ids[best.at], cache)
  return out:finish(cache)
end
