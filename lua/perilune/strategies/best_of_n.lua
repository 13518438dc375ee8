-- Best of n (Stiennon et al. 2020): n samples of one prompt, drawn side by side; the one with the
-- best score is the result. The score is the mean log-probability unless another is given.
--
--     local best_of_n = require "perilune.strategies.best_of_n"
--     local tokens, cache, info = best_of_n(model, {
--       input = "Once upon a time", max_new_tokens = 40, temperature = 0.8, seed = 1, n = 8,
--       score = function(sample) return -#sample.info.text end,    -- the shortest
--     })
--
-- info.samples: all, best first, {tokens, cache, info, score}. `decode` draws them, another
-- strategy's function in generate's place. Sample i's seed is `seed + i - 1`, or a fork of `rng`.

local core = require "perilune.core"
local options = require "perilune.options"

local function mean_logprob(sample)
  local sum = 0
  for _, logprob in ipairs(sample.info.logprobs) do sum = sum + logprob end
  return sum / math.max(#sample.info.logprobs, 1)
end

return function(model, given)
  local own, o = options.read("best of n", given, {n = 8, score = mean_logprob, decode = false})
  local samples, root = options.samples(model, o, own.n, own.decode)
  for i, sample in ipairs(samples) do
    sample.score, sample.order = own.score(sample), i
    if type(sample.score) ~= "number" then
      core.raise("argument", ("best of n: the score is a %s: a number is allowed"):format(
        type(sample.score)))
    end
  end
  table.sort(samples, function(a, b)
    return a.score > b.score or (a.score == b.score and a.order < b.order)
  end)
  local tokens, cache, info = options.settle(model, o, root, samples[1])
  info.samples = samples
  return tokens, cache, info
end
