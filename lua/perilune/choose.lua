-- choose: generate and stream with options `sampler` and `beside`: a script's function chooses each token, from the model's
-- logits and those of other caches that take the same tokens in the same step. The core computes (runtime/bind/choose.c).

local core = require "perilune.core"

local M = {}

-- A generation under way: its request, what is beside it, and whether the token that it waits with was handed out.
local Driver = {}
Driver.__index = Driver

local function check(options, what)
  local kind = type(options.sampler)
  if kind ~= "function" and (kind ~= "nil" and (getmetatable(options.sampler) or {}).__call == nil) then
    error(("%s: option 'sampler' is a %s: a function is allowed"):format(what, kind), 4)
  end
  if options.sampler == nil then error(("%s: option 'beside' wants a sampler that looks at it"):format(what), 4) end
  if options.beside ~= nil and type(options.beside) ~= "table" then
    error(("%s: option 'beside' is a %s: a list of caches is allowed"):format(what, type(options.beside)), 4)
  end
end

local function start(model, options, what)
  check(options, what)
  local own = {}
  for key, value in pairs(options) do
    if key ~= "sampler" and key ~= "beside" and key ~= "on_token" then own[key] = value end
  end
  local self = setmetatable({sampler = options.sampler, on_token = options.on_token, beside = {}, ends = {}}, Driver)
  for i, cache in ipairs(options.beside or {}) do
    self.beside[i], self.ends[i] = cache, #cache -- where the new tokens begin
  end
  self.request = core.choose_start(model, own)
  return self
end

-- The caches beside hold these new tokens now, whatever they held of others.
function Driver:follow()
  local tokens = core.choose_tokens(self.request)
  for i, cache in ipairs(self.beside) do
    local base = self.ends[i]
    local same, held = 0, cache:tokens(base + 1)
    while same < #held and held[same + 1] == tokens[same + 1] do same = same + 1 end
    self.beside[i] = cache:truncate(base + same):extend(table.move(tokens, same + 1, #tokens, 1, {}))
  end
end

-- Lets the sampler choose. `others` are the requests of what is beside.
function Driver:choose(others)
  local request, logits = self.request, {}
  for i, other in ipairs(others) do logits[i] = core.end_logits(other) end
  local ok, result = pcall(self.sampler, core.choose_logits(request), core.choose_cache(request), table.unpack(logits))
  if not ok then core.choose_raise(request, result, "sampler") end
  core.choose(request, result)
  if #self.beside > 0 then self:follow() end
end

--- The next token: its id, and the text that became certain with it; nil at the end.
function Driver:next()
  local request = self.request
  if self.delivered then core.choose_resume(request) end
  self.delivered = false
  while true do
    local others = {}
    for i, cache in ipairs(self.beside) do others[i] = core.begin_logits(cache) end
    local state = core.choose_wait(request)
    if state == "choosing" then
      self:choose(others)
      state = core.choose_wait(request)
    else
      for _, other in ipairs(others) do core.drop(other) end
    end
    if state == "done" then return nil end
    if state == "token" then
      self.delivered = true
      return core.choose_token(request)
    end
  end
end

-- Tells on_token of a token, and does what it says.
function Driver:tell(id, piece)
  if not self.on_token then return end
  local ok, said = pcall(self.on_token, id, piece, core.choose_cache(self.request))
  if not ok then core.choose_raise(self.request, said, "on_token") end
  if said == false then
    core.choose_end(self.request)
  elseif said ~= nil and said ~= true then
    core.choose_resume(self.request, said)
    self.delivered = false
    self:follow()
  end
end

function Driver:info()
  local info = core.choose_info(self.request)
  if #self.ends > 0 then info.beside = table.move(self.beside, 1, #self.beside, 1, {}) end
  return info
end

--- model:generate with a sampler of the script's own.
function M.generate(model, options)
  local driver = start(model, options, "generate")
  local request <close> = driver.request
  for id, piece in function() return driver:next() end do driver:tell(id, piece) end
  return core.choose_tokens(request), core.choose_cache(request), driver:info()
end

local Stream = {}

function Stream.__call(self)
  local driver = rawget(self, 1)
  if not driver.request then return nil end
  local id, piece = driver:next()
  if id then driver:tell(id, piece) end
  return id, piece
end

local fields = {
  cache = function(driver) return core.choose_cache(driver.request) end,
  tokens = function(driver) return core.choose_tokens(driver.request) end,
  info = Driver.info,
}

local function close(self)
  local driver = rawget(self, 1)
  if not driver.request then return end
  if core.choose_state(driver.request) ~= "done" then core.choose_end(driver.request) end
  local last = {}
  for name, get in pairs(fields) do last[name] = get(driver) end
  local request <close> = driver.request
  rawset(self, 2, last)
  driver.request = nil
end

function Stream.__index(self, key)
  local driver = rawget(self, 1)
  if key == "close" then return close end
  if not fields[key] then return nil end
  local last = rawget(self, 2)
  if last then return last[key] end
  return fields[key](driver)
end

function Stream.__newindex(self, key, value)
  local driver = rawget(self, 1)
  if key ~= "cache" then error(("a stream's field %s cannot be assigned: only cache can"):format(tostring(key)), 2) end
  core.choose_resume(driver.request, value)
  driver.delivered = false
  driver:follow()
end

Stream.__close = close
Stream.__name = "perilune.stream"

--- model:stream with a sampler of the script's own.
function M.stream(model, options)
  return setmetatable({start(model, options, "stream")}, Stream)
end

core.choose_with(M.generate, M.stream)

return M
