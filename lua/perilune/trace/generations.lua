-- generations: how a trace writes down generate, streams and sinks: every token, what else might
-- have come there, and what a script's own sampler and on_token were shown.

local core = require "perilune.core"
local recording = require "perilune.trace.recording"

local Trace = {} -- methods of it

-- Puts our functions in front of the script's sampler and on_token. `slot.entry` is the entry that
-- the events of these belong to; slot.jumped, that the generation goes on from elsewhere.
function Trace:hook(options, slot)
  local sampler, on_token = options.sampler, options.on_token
  local start, beside, here, row
  local function event(...)
    slot.entry.events = slot.entry.events or {}
    table.insert(slot.entry.events, {...})
    self:turn(slot.entry)
  end
  -- What the caches beside are now: what they were, and the tokens since the input.
  local function follow_beside(rows)
    local places = {}
    local new = recording.path(here, start.depth + 1, here.depth)
    for i, l in ipairs(rows) do
      local node = self:extend(beside[i], new, "sampled")
      self:follow(node, l, self.alternatives)
      self.rows[l], places[i] = "#" .. node.place, node.place
    end
    return places
  end

  function options.sampler(l, cache, ...)
    if not self.active then return sampler and sampler(l, cache, ...) end
    here = not slot.jumped and here or self:node(cache)
    self.at[cache], slot.jumped = here, false
    if not start then
      start, beside = here, {}
      for i, c in ipairs(options.beside or {}) do beside[i] = self:node(c) end
    end
    self:follow(here, l, self.alternatives)
    row = self.original.logits.copy(l)
    if not sampler then return nil end
    self.rows[l] = "#" .. here.place
    event("sampler", here.place, follow_beside {...})
    local result = sampler(l, cache, ...)
    if getmetatable(result) == core.cache_meta then slot.jumped = true end
    return result
  end

  function options.on_token(id, piece, cache)
    if not self.active then return on_token and on_token(id, piece, cache) end
    here = self:child(here, id, "sampled")
    here.logprob = here.logprob or self.original.logits.logprob(row, id)
    self.original.logits.close(row)
    self.at[cache] = here
    if not on_token then return nil end
    event("token", here.place, piece)
    local result = on_token(id, piece, cache)
    if result ~= nil and type(result) ~= "boolean" then slot.jumped = true end
    return result
  end
end

-- Whether our functions can stand in front of these options: what is wrong with them is for the
-- core to say.
local function hookable(options)
  local sampler, on_token = options.sampler, options.on_token
  local callable = type(sampler) == "function" or (getmetatable(sampler) or {}).__call ~= nil
  return (sampler == nil and options.beside == nil or callable)
    and (on_token == nil or type(on_token) == "function")
end

-- A stream that is being written down: every pull, and every look at its fields.
local Stream = {__name = "perilune.stream"}

function Stream.__call(self)
  local trace, slot = rawget(self, 1), rawget(self, 2)
  if not trace.active then return slot.stream() end
  slot.entry = trace:open(slot.name .. " pull")
  return trace:waited(slot.entry, nil, pcall(slot.stream))
end

-- A stream without a sampler that is closed early says so, as it does without a trace.
local function close_stream(self)
  local slot = rawget(self, 2)
  slot.cancelled = slot.cancelled or not slot.sampler and slot.stream.info.finish_reason == nil
  slot.stream:close()
end

function Stream.__index(self, key)
  local trace, slot = rawget(self, 1), rawget(self, 2)
  if key == "close" then return close_stream end
  local value = slot.stream[key]
  if key == "info" and slot.cancelled then value.finish_reason = "cancelled" end
  if value ~= nil and trace.active then
    trace:note(slot.name .. " get", false, {value, n = 1}, key)
  end
  return value
end

function Stream.__newindex(self, key, value)
  local trace, slot = rawget(self, 1), rawget(self, 2)
  slot.stream[key] = value
  slot.jumped = true
  if trace.active then trace:note(slot.name .. " set", false, {n = 0}, key, value) end
end

Stream.__close = close_stream

-- A sink that is being written down: what it was pushed, and how it ended.
local Sink = {}
Sink.__index = Sink

function Sink:push(ids, cache)
  local trace = self.trace
  if not trace.active then return self.out:push(ids, cache) end
  self.entry = trace:open(self.name .. " push", ids)
  return trace:close_entry(self.entry, pcall(self.out.push, self.out, ids, cache))
end

function Sink:finish(cache)
  local trace = self.trace
  if not trace.active then return self.out:finish(cache) end
  local entry = trace:open(self.name .. " finish", cache)
  return trace:waited(entry, nil, pcall(self.out.finish, self.out, cache))
end

function Trace:sink(model, options, cache)
  local own, sink = recording.options(options), {trace = self, name = "sink " .. self.streams + 1}
  self.streams = self.streams + 1
  local entry = self:open("sink", model, cache)
  if type(own.on_token) == "function" then
    function own.on_token(id, piece, so_far)
      if self.active then
        sink.entry.events = sink.entry.events or {}
        table.insert(sink.entry.events, {"token", self:node(so_far).place, piece})
        self:turn(sink.entry)
      end
      return options.on_token(id, piece, so_far)
    end
  end
  sink.out = self:close_entry(entry, pcall(self.original.model.sink, model, own, cache))
  entry.results = {self.streams}
  return setmetatable(sink, Sink)
end

function Trace:wrap_generations()
  local original = self.original.model
  self:replace("model", "generate", function(model, ...)
    local options = recording.options(...)
    if not options or not hookable(options) then return original.generate(model, ...) end
    self:model(model)
    local slot = {entry = self:open("generate", model, options)}
    self:hook(options, slot)
    return self:waited(slot.entry, nil, pcall(original.generate, model, options))
  end)
  self:replace("model", "sink", function(model, options, cache)
    if type(options) ~= "table" then return original.sink(model, options, cache) end
    self:model(model)
    return self:sink(model, options, cache)
  end)
  self:replace("model", "stream", function(model, options, ...)
    local own = type(options) == "table" and recording.options(options, ...)
    if not own or not hookable(own) then return original.stream(model, options, ...) end
    self:model(model)
    self.streams = self.streams + 1
    local slot = {name = "stream " .. self.streams, sampler = own.sampler}
    local entry = self:open("stream", model, own)
    self:hook(own, slot)
    slot.stream = self:close_entry(entry, pcall(original.stream, model, own))
    entry.results = {self.streams}
    return setmetatable({self, slot}, Stream)
  end)
end

return function(trace)
  for name, method in pairs(Trace) do trace[name] = method end
end
