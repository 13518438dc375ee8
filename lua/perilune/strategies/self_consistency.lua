-- Self-consistency (Wang et al. 2023): n samples of one prompt; the answer that most of them give
-- wins, and its first sample is the result. `answer` finds it in a sample's text; nil: no answer.
--
--     local self_consistency = require "perilune.strategies.self_consistency"
--     local _, _, info = self_consistency(model, {
--       input = question, max_new_tokens = 60, temperature = 0.8, n = 9, stop_at_eog = true,
--       answer = function(text) return text:match "(%d+)%D*$" end,   -- the last number
--     })
--     print(info.answer, info.votes[info.answer])
--
-- Without `answer` it is the text itself, without the spaces around it. `decode` as in best_of_n.

local options = require "perilune.options"

local function whole(text) return text:match "^%s*(.-)%s*$" end

return function(model, given)
  local own, o = options.read("self-consistency", given, {n = 8, answer = whole, decode = false})
  local samples, root = options.samples(model, o, own.n, own.decode)
  local votes, best = {}, nil
  for _, sample in ipairs(samples) do
    sample.answer = own.answer(sample.info.text)
    if sample.answer ~= nil then votes[sample.answer] = (votes[sample.answer] or 0) + 1 end
  end
  for _, sample in ipairs(samples) do
    local n = votes[sample.answer] or 0 -- nil: none
    if best == nil or n > (votes[best.answer] or 0) then best = sample end
  end
  local tokens, cache, info = options.settle(model, o, root, best)
  info.answer, info.votes, info.samples = best.answer, votes, samples
  return tokens, cache, info
end
