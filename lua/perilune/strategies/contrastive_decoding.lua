-- Contrastive decoding (Li et al. 2023): what an expert model knows and an amateur does not: among
-- the tokens that have at least `alpha` of the largest probability, log p(expert) - log p(amateur).
--
--     local contrastive = require "perilune.strategies.contrastive_decoding"
--     local tokens, cache, info = contrastive(expert, {
--       input = "Once upon a time", max_new_tokens = 24, amateur = small_model,
--     })
--
-- `amateur` is a model with the same vocabulary, or a cache, which may be of the expert itself and
-- know less. Both take one step per token. Every option of generate holds: temperature 0 takes the
-- best, others draw. `decode` gets a sampler and `beside`.

local core = require "perilune.core"
local options = require "perilune.options"

return function(model, given)
  local own, o = options.read("contrastive decoding", given, {
    amateur = false, alpha = 0.1, sampler = false, beside = false, decode = false,
  })
  if not own.amateur or own.sampler or own.beside then
    core.raise("argument", not own.amateur and "contrastive decoding: option 'amateur' is missing"
      or "contrastive decoding: it is the sampler, and has the amateur beside it")
  end
  local root, amateur = options.begin(model, o), own.amateur
  if amateur.cache then amateur = amateur:cache():extend(root:tokens()) end
  o = options.behind(o, root)
  o.beside = {amateur}
  o.sampler = function(e, _, a) return e:min_p(own.alpha):logprobs() - a:logprobs() end
  return (own.decode or model.generate)(model, o)
end
