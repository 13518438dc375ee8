-- choose: generate and stream with options `sampler`, `beside` and `banned_phrases`: a script's
-- function chooses each token, from the model's logits and those of other caches that take the same
-- tokens in the same step; what completes a banned phrase is taken back. The core computes
-- (runtime/bind/choose.c).

local core = require "perilune.core"
local phrases = require "perilune.phrases"

local M = {}

-- A generation under way: its request, what is beside it, and whether the token that it waits with
-- was handed out. With banned phrases also (phrases.lua): `told`, how many of the new tokens
-- somebody was told of, with `told_length` bytes of text, `said` of which were handed out; `held`,
-- the tokens after them, of which the first `sure` are certain; `bans`, ids by position, behind
-- `base` tokens before the new ones.
local Driver = {}
Driver.__index = Driver

local function refuse(what, message, ...)
  core.raise("argument", what .. ": " .. message:format(...))
end

local function check(options, what)
  local sampler = options.sampler
  local callable = type(sampler) == "function" or (getmetatable(sampler) or {}).__call
  if sampler ~= nil and not callable then
    refuse(what, "option 'sampler' is a %s: a function is allowed", type(sampler))
  end
  if options.beside ~= nil and options.sampler == nil then
    refuse(what, "option 'beside' wants a sampler that looks at it")
  end
  if options.beside ~= nil and type(options.beside) ~= "table" then
    refuse(what, "option 'beside' is a %s: a list of caches is allowed", type(options.beside))
  end
end

local own_options = {sampler = true, beside = true, on_token = true, banned_phrases = true}

local function start(model, options, what)
  check(options, what)
  local passed_on = {}
  for key, value in pairs(options) do
    if not own_options[key] then passed_on[key] = value end
  end
  local self = setmetatable({
    sampler = options.sampler, on_token = options.on_token, beside = {}, ends = {},
    phrases = phrases.new(options.banned_phrases, what), held = {}, sure = 0,
  }, Driver)
  for i, cache in ipairs(options.beside or {}) do
    self.beside[i], self.ends[i] = cache, #cache -- where the new tokens begin
  end
  self.request = core.choose_start(model, passed_on)
  if self.phrases then
    self.told, self.said, self.told_length = 0, 0, 0
    self.base, self.bans = #core.choose_cache(self.request), {}
  end
  return self
end

-- The caches beside hold these new tokens now, whatever they held of others.
function Driver:follow()
  local tokens = core.choose_tokens(self.request)
  for i, cache in ipairs(self.beside) do
    local base = self.ends[i]
    local same, held = 0, cache:tokens(base + 1)
    while same < #held and held[same + 1] == tokens[same + 1] do same = same + 1 end
    local rest = table.move(tokens, same + 1, #tokens, 1, {})
    self.beside[i] = cache:truncate(base + same):extend(rest)
  end
end

-- Calls the sampler. `others` are the requests of what is beside.
function Driver:ask(others)
  local request, logits = self.request, {}
  for i, other in ipairs(others) do logits[i] = core.end_logits(other) end
  local l = core.choose_logits(request)
  self:forbid(l)
  local ok, result = pcall(self.sampler, l, core.choose_cache(request), table.unpack(logits))
  if not ok then
    self:drop()
    core.choose_raise(request, result, "sampler")
  end
  return self:forbid(l, result)
end

-- Chooses a token, or does what the sampler says instead.
function Driver:choose(others)
  local request, result = self.request, nil
  local before = self.phrases and self.sampler and core.choose_cache(request)
  if self.sampler then
    result = self:ask(others)
  elseif self:banned() then
    self:forbid(core.choose_logits(request))
  end
  local masked = core.choose(request, result)
  if masked and self:banned() then self:nothing_left() end
  if before and getmetatable(result) == getmetatable(before) then self:moved(before) end
  if #self.beside > 0 then self:follow() end
end

-- Runs until there is a new token, "token", or the end, "done".
function Driver:draw()
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
    if state == "token" then self.delivered = true end
    if state ~= "choosing" then return state end
  end
end

--- The next token: its id, and the text that became certain with it; nil at the end.
function Driver:next()
  if self.phrases then return self:next_certain() end
  if self:draw() == "token" then return core.choose_token(self.request) end
end

-- Goes on from a cache of the script's, who knows of no token that is held.
function Driver:redirect(cache)
  self:drop()
  local before = self.phrases and core.choose_cache(self.request)
  core.choose_resume(self.request, cache)
  self.delivered = false
  if before then self:moved(before) end
  self:follow()
end

-- Tells on_token of a token, and does what it says.
function Driver:tell(id, piece)
  if not self.on_token then return end
  local ok, said = pcall(self.on_token, id, piece, self:cache())
  if not ok then
    self:drop()
    core.choose_raise(self.request, said, "on_token")
  end
  if said == false then
    self:drop()
    core.choose_end(self.request)
  elseif said ~= nil and said ~= true then
    self:redirect(said)
  end
end

-- What has come of it, as far as it was told.

function Driver:cache()
  local cache = core.choose_cache(self.request)
  return #self.held > 0 and cache:truncate(self.base + self.told) or cache
end

function Driver:tokens()
  local tokens = core.choose_tokens(self.request)
  return #self.held > 0 and table.move(tokens, 1, self.told, 1, {}) or tokens
end

function Driver:info()
  local info = core.choose_info(self.request)
  if #self.ends > 0 then info.beside = table.move(self.beside, 1, #self.beside, 1, {}) end
  if #self.held == 0 then return info end
  info.finish_reason, info.stop = nil, nil
  info.text, info.before = info.text:sub(1, self.told_length), self:cache()
  info.timings.new_tokens = self.told
  if info.logprobs then info.logprobs = table.move(info.logprobs, 1, self.told, 1, {}) end
  for i, cache in ipairs(info.beside or {}) do
    info.beside[i] = cache:truncate(self.ends[i] + self.told)
  end
  return info
end

phrases.extend(Driver)

--- model:generate with a sampler of the script's own, or with banned phrases.
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

local fields = {cache = Driver.cache, tokens = Driver.tokens, info = Driver.info}

local function close(self)
  local driver = rawget(self, 1)
  if not driver.request then return end
  driver:drop()
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
  if key ~= "cache" then
    core.raise("argument", ("a stream's field %s cannot be assigned: only cache can"):format(key))
  end
  if not driver.request then core.raise("closed", "the stream is closed") end
  driver:redirect(value)
end

Stream.__close = close
Stream.__name = "perilune.stream"

--- model:stream with a sampler of the script's own, or with banned phrases.
function M.stream(model, options)
  return setmetatable({start(model, options, "stream")}, Stream)
end

core.choose_with(M.generate, M.stream)

return M
