-- Minimum Bayes risk (Kumar & Byrne 2004; Eikema & Aziz 2020): of n samples, the one that has the
-- highest mean utility when the others are taken as what is right: the least odd one.
--
--     local mbr = require "perilune.strategies.mbr"
--     local tokens, cache, info = mbr(model, {
--       input = prompt, max_new_tokens = 40, temperature = 1, n = 16, seed = 1,
--       utility = function(sample, other) return similarity(sample.info.text, other.info.text) end,
--     })
--
-- Without `utility` it is the F1 of the samples' tokens, each counted as often as both have it.
-- info.samples: {tokens, cache, info, utility}, in the order of drawing. `decode` as in best_of_n.

local options = require "perilune.options"

local function f1(a, b)
  local left, common = {}, 0
  for _, id in ipairs(a.tokens) do left[id] = (left[id] or 0) + 1 end
  for _, id in ipairs(b.tokens) do
    if (left[id] or 0) > 0 then left[id], common = left[id] - 1, common + 1 end
  end
  local n = #a.tokens + #b.tokens
  return n > 0 and 2 * common / n or 1
end

return function(model, given)
  local own, o = options.read("minimum Bayes risk", given, {n = 8, utility = f1, decode = false})
  local samples, root = options.samples(model, o, own.n, own.decode)
  local best
  for i, sample in ipairs(samples) do
    local sum = 0
    for k, other in ipairs(samples) do
      if k ~= i then sum = sum + own.utility(sample, other) end
    end
    sample.utility = sum / math.max(#samples - 1, 1)
    if best == nil or sample.utility > best.utility then best = sample end
  end
  local tokens, cache, info = options.settle(model, o, root, best)
  info.samples, info.utility = samples, best.utility
  return tokens, cache, info
end
