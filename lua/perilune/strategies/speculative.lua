-- Speculative decoding (Leviathan et al. 2023; Chen et al. 2023): a draft model guesses k tokens,
-- one pass of the model checks them, and the tokens have the model's own distribution: greedy they
-- are the same tokens; drawn, as if it had drawn each itself.
--
--     local speculative = require "perilune.strategies.speculative"
--     local tokens, cache, info = speculative(model, {
--       input = "Once upon a time", draft = small_model, k = 4, max_new_tokens = 40,
--     })
--     print(info.accepted / info.drafted, info.passes / #tokens)
--
-- The draft has the same vocabulary. Every sampling option holds for both, but for mirostat, which
-- learns from every token that is drawn.

local core = require "perilune.core"
local options = require "perilune.options"

local function check(model, draft, o)
  if not draft then
    core.raise("argument", "speculative decoding: option 'draft' is missing")
  end
  local n, m = model:info().vocab_size, draft:info().vocab_size
  if n ~= m then
    core.raise("mismatch", ("speculative decoding: the draft has %d tokens, the model %d"):format(
      m, n))
  end
  if o.mirostat and o.mirostat ~= 0 then
    core.raise("argument", "speculative decoding: mirostat learns from what is taken back")
  end
end

return function(model, given)
  local own, o = options.read("speculative decoding", given, {draft = false, k = 4}, "sampling")
  check(model, own.draft, o)
  local cache, draft = options.begin(model, o), own.draft
  local out, filter, rng = model:sink(o, cache), core.sampler(o), o.rng or core.rng(o.seed)
  local room = math.min(model:info().context, draft:info().context) - 1
  local last = #cache + (o.max_new_tokens or math.huge)
  local info = {accepted = 0, drafted = 0, passes = 0}
  if o.max_new_tokens == 0 then return out:finish(cache) end
  local ahead = #cache <= room and draft:cache():extend(cache:tokens()) -- the draft's own view
  repeat
    local guess, q, drafted, new = {}, {}, ahead, {}
    for i = 1, math.min(own.k, room - #cache, last - #cache - 1) do
      q[i] = filter(drafted:logits(), drafted):probs()
      guess[i] = q[i]:sample(rng)
      drafted = drafted:extend(guess[i])
    end
    local tried = cache:extend(guess)
    for i, logits in ipairs(tried:logits(#cache)) do -- behind each: one pass
      local p, id = filter(logits, tried:truncate(#cache + i - 1)):probs(), guess[i]
      if not id then new[i] = p:sample(rng) -- all were right: one more for free
      elseif rng:uniform() < p[id] / q[i][id] then new[i] = id
      else new[i] = (p - q[i]):clamp(0):sample(rng) break end
    end
    local right = #new - 1
    info.accepted, info.drafted = info.accepted + right, info.drafted + #guess
    info.passes = info.passes + 1
    cache = tried:truncate(#cache + right):extend(new[#new])
    ahead = #cache <= room and drafted:truncate(#ahead + right):extend(new[#new])
  until out:push(new, cache)
  local tokens, result, more = out:finish(cache)
  for key, value in pairs(info) do more[key] = value end
  return tokens, result, more
end
