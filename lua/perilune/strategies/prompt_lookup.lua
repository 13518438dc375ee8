-- Prompt-lookup decoding (Saxena 2023): speculative decoding without a draft model: the last tokens
-- are looked up in the text so far, and what followed them there is guessed to follow again. Good
-- where the answer repeats the prompt: extraction, editing, summaries, code.
--
--     local prompt_lookup = require "perilune.strategies.prompt_lookup"
--     local tokens, cache, info = prompt_lookup(model, {
--       input = "Extract as JSON: ...", max_new_tokens = 60, k = 10, ngram = 3,
--     })
--     print(info.passes / #tokens)
--
-- The tokens are those of generate with the same options, drawn ones included: each is what
-- generate would take there, and a guess is right when it is the same.

local core = require "perilune.core"
local options = require "perilune.options"

-- What followed the last place where the last n tokens stand before, for the largest n.
local function lookup(cache, ngram, k)
  for n = math.min(ngram, #cache - 1), 1, -1 do
    local last, at = cache:tokens(#cache - n + 1), nil
    local found = cache:find(last)
    while found <= #cache - n do
      at = found
      found = cache:find(last, found + 1)
    end
    if at then return cache:tokens(at + n, math.min(at + n + k - 1, #cache)) end
  end
  return {}
end

return function(model, given)
  local own, o = options.read("prompt lookup", given, {k = 10, ngram = 3}, "sampling")
  if o.mirostat and o.mirostat ~= 0 then
    core.raise("argument", "prompt lookup: mirostat learns from what is taken back")
  end
  local cache = options.begin(model, o)
  local out, filter, context = model:sink(o, cache), core.sampler(o), model:info().context
  local last = #cache + (o.max_new_tokens or math.huge)
  local info = {accepted = 0, drafted = 0, passes = 0}
  if o.max_new_tokens == 0 then return out:finish(cache) end
  local new
  repeat
    local room = math.min(own.k, context - #cache - 1, last - #cache - 1)
    local guess = room > 0 and lookup(cache, own.ngram, room) or {}
    local tried = cache:extend(guess)
    new = {}
    for i, logits in ipairs(tried:logits(#cache)) do -- behind each: one pass
      new[i] = filter:pick(logits, tried:truncate(#cache + i - 1))
      if new[i] ~= guess[i] then break end
    end
    info.accepted, info.drafted = info.accepted + #new - 1, info.drafted + #guess
    info.passes = info.passes + 1
    cache = tried:truncate(#cache + #new - 1):extend(new[#new])
  until out:push(new, cache)
  local tokens, result, more = out:finish(cache)
  for key, value in pairs(info) do more[key] = value end
  return tokens, result, more
end
