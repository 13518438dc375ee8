-- score: how probable continuations of a cache are, and which of several is the most: all in one
-- step, behind what they share.

local core = require "perilune.core"

local function misuse(message, ...) core.raise("argument", message:format(...)) end

local function check(cache, list, what)
  if type(list) ~= "table" or #list == 0 then
    misuse("%s: a list of continuations expected, got %s", what,
      type(list) == "table" and "an empty one" or type(list))
  end
  if #cache == 0 then misuse("%s: the cache is empty: nothing that they continue", what) end
end

--- The log-probability of each continuation, a text or a list of ids, behind the cache: sums over
--- its tokens, the caches that end with each, and the log-probabilities of its tokens one by one.
---@param cache perilune.Cache
---@param continuations (string | integer[])[]
---@return number[], perilune.Cache[], number[][]
function core.model_methods.score(_, cache, continuations)
  check(cache, continuations, "score")
  local sums, caches, per_token, requests = {}, {}, {}, {}
  for i, text in ipairs(continuations) do
    caches[i] = cache:extend(text)
    if #caches[i] == #cache then misuse("score: continuation %d is empty", i) end
  end
  for i, extended in ipairs(caches) do requests[i] = core.begin_logprobs(extended, #cache + 1) end
  for i, request in ipairs(requests) do
    per_token[i], sums[i] = core.end_logprobs(request, #caches[i] - #cache), 0
    for _, logprob in ipairs(per_token[i]) do sums[i] = sums[i] + logprob end
  end
  return sums, caches, per_token
end

--- The most probable of several continuations: its place, the cache that ends with it, and what
--- was compared. by = "total" (the default): sums of log-probabilities; "mean": per token;
--- "calibrated": less what they are behind `without`, a cache that says nothing of the question
--- (Holtzman et al. 2021, domain conditional PMI).
---@param cache perilune.Cache
---@param choices (string | integer[])[]
---@param options? {by?: "total" | "mean" | "calibrated", without?: perilune.Cache}
---@return integer, perilune.Cache, number[]
function core.model_methods.select(model, cache, choices, options)
  check(cache, choices, "select")
  local by, without = "total", nil
  for key, value in pairs(options or {}) do
    if key == "by" then by = value
    elseif key == "without" then without = value
    else misuse("select: unknown option '%s' (allowed: by, without)", tostring(key)) end
  end
  if by ~= "total" and by ~= "mean" and by ~= "calibrated" then
    misuse("select: option 'by' is %s: 'total', 'mean' or 'calibrated' is allowed", tostring(by))
  end
  if (by == "calibrated") ~= (without ~= nil) then
    misuse "select: 'calibrated' and option 'without' go together"
  end
  local values, caches, per_token = model:score(cache, choices)
  if by == "mean" then
    for i, logprobs in ipairs(per_token) do values[i] = values[i] / #logprobs end
  elseif by == "calibrated" then
    for i, sum in ipairs((model:score(without, choices))) do values[i] = values[i] - sum end
  end
  local best = 1
  for i, value in ipairs(values) do
    if value > values[best] then best = i end
  end
  return best, caches[best], values
end
