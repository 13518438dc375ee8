-- A watermark for generated text and its detector (Kirchenbauer et al. 2023): at every position a
-- part `gamma` of the vocabulary, drawn by the secret `key` and the token before, is green, and
-- green logits are raised by `delta`. Whoever has the key counts green tokens; nobody else sees any
-- difference.
--
--     local watermark = require "perilune.strategies.watermark"
--     local o = {input = prompt, max_new_tokens = 100, temperature = 1, key = 42}
--     local tokens = watermark(model, o)
--     print(watermark.detect(model, tokens, {key = 42}).z)      -- more than 4: hardly by chance
--
-- Every option of generate holds; a `sampler` of the caller's comes first. The detector wants the
-- tokens alone, one more before them for the first, and the same key and gamma.

local core = require "perilune.core"
local options = require "perilune.options"

local M = {}

local function green(n_vocab, key, before, gamma)
  return core.rng((key * 0x9E3779B97F4A7C15 + before) & 0xFFFFFFFFFFFF):subset(n_vocab, gamma)
end

function M.generate(model, given)
  local own, o = options.read("watermark", given, {
    key = 1, gamma = 0.25, delta = 2.0, sampler = false, decode = false,
  })
  local n_vocab = model:info().vocab_size
  o.sampler = function(l, cache, ...)
    if own.sampler then
      local said = own.sampler(l, cache, ...)
      if type(said) == "number" or said == false or (said and said.extend) then return said end
      l = said or l -- logits
    end
    return l:bias(green(n_vocab, own.key, cache:tokens(#cache)[1], own.gamma), own.delta)
  end
  return (own.decode or model.generate)(model, o)
end

--- How many of the tokens are green, those that follow another: their number, the part that is, the
--- z-score of a one-sided test that they are no more than gamma, and its p-value. Of tokens that
--- follow the same one again, only the first counts: repeated text proves nothing.
---@param model perilune.Model
---@param tokens integer[]
---@param given? {key?: integer, gamma?: number}
---@return {n: integer, green: integer, part: number, z: number, p: number}
function M.detect(model, tokens, given)
  local own = options.read("watermark.detect", given or {}, {key = 1, gamma = 0.25}, "common")
  local n_vocab, seen, n, count = model:info().vocab_size, {}, 0, 0
  for i = 2, #tokens do
    local pair = tokens[i - 1] << 32 | tokens[i]
    if not seen[pair] then
      seen[pair], n = true, n + 1
      if green(n_vocab, own.key, tokens[i - 1], own.gamma)[tokens[i]] then count = count + 1 end
    end
  end
  local z = n > 0 and (count - own.gamma * n) / math.sqrt(n * own.gamma * (1 - own.gamma)) or 0
  return {n = n, green = count, part = n > 0 and count / n or 0, z = z, p = M.tail(z)}
end

--- The part of a normal distribution above z (Abramowitz & Stegun 26.2.17; within 7.5e-8).
function M.tail(z)
  if z < 0 then return 1 - M.tail(-z) end
  local t = 1 / (1 + 0.2316419 * z)
  return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) * t * (0.319381530 + t * (-0.356563782
    + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
end

return setmetatable(M, {__call = function(_, model, given) return M.generate(model, given) end})
