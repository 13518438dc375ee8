-- sink: what generate does with tokens that were chosen, for loops that choose by themselves: stop
-- conditions, limits, on_token, and the results.

local core = require "perilune.core"

local M = {}

-- Options that say when it ends, and all that a sink honours.
local ends = {"max_new_tokens", "stop", "stop_tokens", "stop_at_eog"}
M.options = {logprobs = true, on_token = true}
for _, key in ipairs(ends) do M.options[key] = true end

---@class perilune.Sink
local Sink = {}
Sink.__index = Sink

--- A sink for new tokens behind the cache, with the options max_new_tokens, stop, stop_tokens,
--- stop_at_eog, logprobs and on_token of generate; others are passed over, so that a strategy may
--- hand over its own.
---@param options perilune.GenerateOptions
---@param cache perilune.Cache what the new tokens stand behind
---@return perilune.Sink
function core.model_methods.sink(model, options, cache)
  if type(options) ~= "table" then
    core.raise("argument", ("sink: a table of options expected, got %s"):format(type(options)))
  end
  if cache == nil then
    core.raise("argument", "sink: the cache that new tokens stand behind is missing")
  end
  local on_token = options.on_token
  if on_token ~= nil and type(on_token) ~= "function" then
    core.raise("argument", ("sink: option 'on_token' is a %s: a function is allowed"):format(
      type(on_token)))
  end
  local own = {cache = cache}
  for _, key in ipairs(ends) do own[key] = options[key] end
  return setmetatable({
    request = core.sink_start(model, own), root = #cache, on_token = on_token,
    logprobs = options.logprobs,
  }, Sink)
end

-- Tells on_token of the token that was pushed last.
local function tell(self)
  local request = self.request
  local id, piece = core.choose_token(request)
  local ok, said = pcall(self.on_token, id, piece, core.choose_cache(request))
  if not ok then core.choose_raise(request, said, "on_token") end
  if said == false then
    core.choose_end(request)
  elseif said ~= nil and said ~= true then
    core.raise("argument", ("on_token returned a %s: where a strategy decides what comes next, "
      .. "only false is allowed"):format(type(said)))
  end
end

--- Takes new tokens, one by one, until one of them is the last: true, and what follows it is
--- dropped. `cache`, when it is given, holds them already, and perhaps more: on_token is shown it.
---@param ids integer | integer[]
---@param cache? perilune.Cache
---@return boolean finished
function Sink:push(ids, cache)
  local request = self.request
  if type(ids) == "number" then ids = {ids} end
  for _, id in ipairs(ids) do
    if core.choose_state(request) == "done" then return true end
    core.sink_push(request, id)
    if self.on_token then
      if cache then core.sink_rest(request, cache) end
      tell(self)
    end
  end
  return core.choose_state(request) == "done"
end

--- The results of generate. `cache` holds the new tokens, and perhaps more, which it is cut to;
--- without it, what was pushed is processed when something needs it. An end that no limit or stop
--- made is of the finish_reason "callback".
---@param cache? perilune.Cache
---@return integer[] new_tokens, perilune.Cache cache, perilune.Info info
function Sink:finish(cache)
  local request <close> = self.request
  if cache then core.sink_rest(request, cache) end
  if core.choose_state(request) ~= "done" then core.choose_end(request) end
  local result, info = core.choose_cache(request), core.choose_info(request)
  if self.logprobs then info.logprobs = result:logprobs(math.max(2, self.root + 1)) end
  return core.choose_tokens(request), result, info
end

return M
