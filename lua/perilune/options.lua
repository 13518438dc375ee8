-- options: what strategies share: how they read their options, where a generation begins, and
-- several samples of one prompt side by side.

local core = require "perilune.core"
local sink = require "perilune.sink"
local tasks = require "perilune.tasks"

local M = {}

local begins = {input = true, input_ids = true, cache = true}

local function allows(kind, key)
  if begins[key] or sink.options[key] then return true end
  local of = core.generate_options[key]
  return kind == "generate" and of or kind == "sampling" and (of == "sampling" or of == "number")
end

-- A value must be of its default's kind.
local function check(what, key, default, value)
  local function want(ok, allowed)
    if ok then return end
    core.raise("argument", ("%s: option '%s' is %s: %s is allowed"):format(
      what, key, tostring(value), allowed))
  end
  if math.type(default) == "integer" then
    want(math.type(value) == "integer" and value >= 1, "a whole number of at least 1")
  elseif math.type(default) == "float" then
    want(type(value) == "number" and value - value == 0, "a number")
  elseif type(default) == "table" then
    want(type(value) == "table", "a table")
  end
end

--- Splits a strategy's options: its own, by name with their defaults (false: none), and the rest,
--- a copy, for generate or a sink. An option that is neither is an error: "common" strategies take
--- what a sink does, "sampling" ones what a sampler does, too, and "generate" ones all that
--- generate does; with an own option `decode`, whose function may have others, anything.
---@param what string the strategy, for messages
---@param given table
---@param own table<string, any>
---@param kind? "common" | "sampling" | "generate"
---@return table, table
function M.read(what, given, own, kind)
  if type(given) ~= "table" then
    core.raise("argument", ("%s: a table of options expected, got %s"):format(what, type(given)))
  end
  local mine, rest = {}, {}
  local anything = own.decode ~= nil and given.decode
  for key, default in pairs(own) do mine[key] = default end
  for key, value in pairs(given) do
    if own[key] ~= nil then
      check(what, key, own[key], value)
      mine[key] = value
    elseif anything or allows(kind or "generate", key) then
      rest[key] = value
    else
      core.raise("argument", ("%s has no option '%s'"):format(what, tostring(key)))
    end
  end
  return mine, rest
end

--- The cache that the new tokens stand behind: the options' cache and input.
---@param model perilune.Model
---@param o perilune.GenerateOptions
---@return perilune.Cache
function M.begin(model, o)
  local input = o.input
  if input == nil then input = o.input_ids end
  local cache = o.cache or model:cache()
  if input == nil then return cache end
  return cache:extend(input)
end

--- The same options, behind that cache instead of a cache and an input.
function M.behind(o, cache)
  local copy = {}
  for key, value in pairs(o) do copy[key] = value end
  copy.input, copy.input_ids, copy.cache = nil, nil, cache
  return copy
end

--- Whether a cache's new tokens, those behind the root, have come to an end that the options name.
---@return fun(cache: perilune.Cache): boolean
function M.ending(model, o, root)
  local stops = type(o.stop) == "string" and {o.stop} or o.stop or {}
  local stop_tokens, context = {}, model:info().context
  for _, id in ipairs(o.stop_tokens or {}) do stop_tokens[id] = true end
  return function(cache)
    local last = cache:tokens(#cache)[1]
    if (o.stop_at_eog and model:is_eog(last)) or stop_tokens[last] or #cache >= context then
      return true
    end
    local text = #stops > 0 and cache:text(#root + 1) or ""
    for _, stop in ipairs(stops) do
      if text:find(stop, 1, true) then return true end
    end
    return false
  end
end

--- The longest beginning that all the entries' caches share.
---@param list {cache: perilune.Cache}[]
---@return perilune.Cache
function M.shared(list)
  local shared = list[1].cache
  for _, entry in ipairs(list) do shared = shared:truncate(shared:common_prefix(entry.cache)) end
  return shared
end

--- n generations of the options, drawn side by side, each with its own part of the seed.
---@return {tokens: integer[], cache: perilune.Cache, info: perilune.Info}[]
function M.samples(model, o, n, decode)
  local root, rngs = M.begin(model, o), {}
  for i = 1, o.rng and n or 0 do rngs[i] = o.rng:fork() end
  return tasks.map(n, function(i)
    local one = M.behind(o, root)
    one.logprobs, one.on_token = true, nil
    one.rng, one.seed = rngs[i], o.seed and o.seed + i - 1
    local tokens, cache, info = (decode or model.generate)(model, one)
    return {tokens = tokens, cache = cache, info = info}
  end), root
end

--- Hands over one of several samples as a generation's result: on_token hears of it now.
function M.settle(model, o, root, sample)
  local out = model:sink(M.behind(o, root), root)
  out:push(sample.tokens, sample.cache)
  local tokens, cache, info = out:finish(sample.cache)
  if o.logprobs then info.logprobs = sample.info.logprobs end
  info.seed = sample.info.seed
  return tokens, cache, info
end

return M
