-- Classifier-free guidance (Sanchez et al. 2023): leans by `scale` away from what the model would
-- say without the instruction: u + scale (l - u), where u are the logits behind `without`.
--
--     local guidance = require "perilune.strategies.guidance"
--     local tokens, cache, info = guidance(model, {
--       input = prompt, without = "A story.", scale = 1.5, max_new_tokens = 40, temperature = 0.7,
--     })
--
-- `without`: a text, ids or a cache; the last token of the prompt alone unless given. scale = 1 is
-- plain generation. Both take one step per token. Every option of generate holds, `prefix` too, so
-- that it may fill a template's holes: there, `without` wants the text before the hole as well.
-- `decode` gets a sampler and `beside`.

local core = require "perilune.core"
local options = require "perilune.options"

return function(model, given)
  local own, o = options.read("guidance", given, {
    without = false, scale = 1.5, sampler = false, beside = false, decode = false,
  })
  if own.sampler or own.beside then
    core.raise("argument", "guidance: it is the sampler, and has a cache of its own beside it")
  end
  local root, without = options.begin(model, o), own.without
  if #root == 0 then
    core.raise("argument", "guidance: nothing to continue from: the input and the cache are empty")
  end
  if not (without and without.extend) then
    without = model:cache():extend(without or root:tokens(#root))
  end
  o = options.behind(o, root)
  o.beside = {without}
  o.sampler = function(l, _, u) return u + (l - u) * own.scale end
  return (own.decode or model.generate)(model, o)
end
