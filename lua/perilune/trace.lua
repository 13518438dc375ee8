-- trace: what a script does with its models, written down while it runs: the tree of all tokens
-- that it gave or had sampled, and every call with what came of it, for a replay. While a trace is
-- active, the functions that scripts see of models, caches and logits are replaced by ones that
-- also write down; what they compute is the same. Without one nothing is there.

local core = require "perilune.core"
local draw = require "perilune.draw"
local json = require "perilune.json"
local recording = require "perilune.recording"

local M = {}

---@class perilune.Trace
---@field nodes perilune.TraceNode[]
---@field models table[] of each: its handle, info, root, the pieces of tokens that occur
---@field calls table[]
local Trace = {}
Trace.__index = Trace
Trace.__name = "perilune.trace"

local active -- the trace under way

local WEAK = {__mode = "k"}

-- ---- models, tokens, nodes ----

-- What is known of a model; a new one is entered.
function Trace:model(handle)
  local known = self.known[handle]
  if known then return known end
  known = {
    handle = handle, number = #self.models + 1, info = self.original.model.info(handle),
    pieces = {}, control = {},
  }
  known.root = recording.root(self.nodes, known.number)
  self.models[known.number], self.known[handle] = known, known
  return known
end

-- Notes the bytes of a token; one that has no text among others is a control token.
function Trace:piece(model, id)
  if model.pieces[id] then return end
  local methods = self.original.model
  model.pieces[id] = methods.piece(model.handle, id)
  if methods.decode(model.handle, {id, id}) == "" then model.control[#model.control + 1] = id end
end

function Trace:child(parent, id, kind)
  local model = self.models[parent.model]
  self:piece(model, id)
  local node = recording.child(self.nodes, parent, id, kind)
  local known = parent.next
  if known and not node.logprob then
    for i, other in ipairs(known.ids) do
      if other == id then node.logprob = known.logprobs[i] end
    end
  end
  return node
end

function Trace:extend(node, ids, kind)
  for _, id in ipairs(ids) do node = self:child(node, id, kind) end
  return node
end

-- The node at which a cache ends; what is new of it was given by the script.
function Trace:node(cache)
  local node = self.at[cache]
  if not node then
    local root = self:model(core.cache_model(cache)).root
    node = self:extend(root, self.original.cache.tokens(cache), "forced")
    self.at[cache] = node
  end
  return node
end

-- Notes what may follow a node, by unchanged logits.
function Trace:follow(node, l, k)
  local methods, known = self.original.logits, node.next
  if known and #known.ids >= k then return end
  local ids, logprobs = methods.top(l, k)
  if known and (ids[1] ~= known.ids[1] or logprobs[1] ~= known.logprobs[1]) then return end
  node.next = {ids = ids, logprobs = logprobs, entropy = methods.entropy(l)}
  local model = self.models[node.model]
  for _, id in ipairs(ids) do self:piece(model, id) end
  for _, kid in ipairs(node.kids) do kid.logprob = kid.logprob or methods.logprob(l, kid.id) end
end

-- ---- calls ----

-- The index of nodes for stored results, and names for keys.
function Trace:naming()
  local function index(value)
    if getmetatable(value) == core.cache_meta then return self:node(value).place end
  end
  local function name(value)
    local place = index(value)
    if place then return "#" .. place end
    if self.known[value] then return "model " .. self.known[value].number end
    if self.rows[value] then return "logits " .. self.rows[value] end
  end
  return index, name
end

-- Opens the entry of a call before it runs: in tasks, others may be made meanwhile.
function Trace:open(what, ...)
  local entry = {key = recording.key(what, self.name, ...)}
  self.calls[#self.calls + 1] = entry
  return entry
end

-- The place of an event among all for which tasks wait: a replay keeps their order.
function Trace:turn(entry)
  self.turns = self.turns + 1
  entry.turns = entry.turns or {}
  entry.turns[#entry.turns + 1] = self.turns
end

-- An error, and what the call had come to.
function Trace:describe(err)
  if type(err) ~= "table" or type(err.code) ~= "string" then return {message = tostring(err)} end
  local had = recording.store({tokens = err.tokens, cache = err.cache}, self.index)
  return {message = err.message, code = err.code, tokens = had.tokens, cache = had.cache}
end

-- Closes an entry with what pcall gave, and hands that on.
function Trace:close_entry(entry, ok, ...)
  if not ok then
    entry.error = self:describe((...))
    error((...), 0)
  end
  entry.results = {}
  for i = 1, select("#", ...) do
    entry.results[i] = recording.store((select(i, ...)), self.index)
  end
  return ...
end

-- The same of a call that waited, after which others were perhaps made, or the trace was stopped.
-- `look` is given the results.
function Trace:waited(entry, look, ok, ...)
  if not self.active then
    if not ok then error((...), 0) end
    return ...
  end
  if ok and look then look(...) end
  self:turn(entry)
  return self:close_entry(entry, ok, ...)
end

-- Notes a call that computes nothing; the same again is not noted twice.
function Trace:note(what, once, results, ...)
  local key = recording.key(what, self.name, ...)
  if once and self.noted[key] then return end
  self.noted[key] = true
  local entry = {key = key, results = {}}
  for i = 1, results.n do entry.results[i] = recording.store(results[i], self.index) end
  self.calls[#self.calls + 1] = entry
end

-- ---- generations ----

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

-- ---- what stands in place of the functions ----

-- Methods of models that compute nothing.
local PLAIN = {"encode", "decode", "piece", "id", "is_eog", "set"}

-- Methods of logits that only look, and those that give the same logits anew; others change them.
local LOOKS = {"argmax", "top", "logprob", "logsumexp", "entropy", "kl", "sample"}
local KEEPS = {copy = true, logprobs = true}

function Trace:wrap_models()
  local original = self.original.model
  for _, method in ipairs(PLAIN) do
    self:replace("model", method, function(model, ...)
      local results = table.pack(original[method](model, ...))
      self:model(model)
      self:note(method, true, results, model, ...)
      return table.unpack(results, 1, results.n)
    end)
  end
  self:replace("model", "info", function(model)
    self:model(model)
    return original.info(model)
  end)
  self:replace("model", "stats", function(model)
    local stats = original.stats(model)
    self:model(model)
    self:note("stats", false, {stats, n = 1}, model)
    return stats
  end)
  self:replace("model", "cache", function(model)
    local cache = original.cache(model)
    self.at[cache] = self:model(model).root
    return cache
  end)
  self:replace("model", "restore", function(model, ...)
    local results = table.pack(original.restore(model, ...))
    self:model(model)
    self:note("restore", false, results, model, ...)
    return table.unpack(results, 1, results.n)
  end)
  self:replace("model", "score", function(model, cache, ...)
    self:model(model)
    return self:waited(self:open("score", model, cache, ...), function(_, caches, per_token)
      for i, logprobs in ipairs(per_token) do
        local node = self:node(caches[i])
        for k = #logprobs, 1, -1 do node.logprob, node = logprobs[k], node.parent end
      end
    end, pcall(original.score, model, cache, ...))
  end)

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

function Trace:wrap_caches()
  local original = self.original.cache
  self:replace("cache", "text", function(cache, ...)
    local text = original.text(cache, ...)
    self:note("text", true, {text, n = 1}, cache, ...)
    return text
  end)
  local function extended(cache, input, longer)
    local node = self:node(cache)
    self.at[longer] = self:extend(node, original.tokens(longer, node.depth + 1), "forced")
    local text = false -- a replay finds ids by themselves
    for _, part in ipairs(type(input) == "table" and input or {input}) do
      text = text or type(part) == "string"
    end
    if text then self:note("extend", true, {longer, n = 1}, cache, input) end
    return longer
  end
  self:replace("cache", "extend", function(cache, input)
    return extended(cache, input, original.extend(cache, input))
  end)
  local concat = self.original.cache_meta.__concat
  self:replace("cache_meta", "__concat", function(cache, input)
    return extended(cache, input, concat(cache, input))
  end)
  self:replace("cache", "truncate", function(cache, n)
    local shorter = original.truncate(cache, n)
    self.at[shorter] = recording.ancestor(self:node(cache), #shorter)
    return shorter
  end)
  self:replace("cache", "heal", function(cache)
    local head, text = original.heal(cache)
    self.at[head] = recording.ancestor(self:node(cache), #head)
    self:note("heal", true, {head, text, n = 2}, cache)
    return head, text
  end)
  self:replace("cache", "fork", function(cache)
    local twin = original.fork(cache)
    self.at[twin] = self:node(cache)
    return twin
  end)
  self:replace("cache", "ready", function(cache)
    return self:waited(self:open("ready", cache), nil, pcall(original.ready, cache))
  end)
  self:replace("cache", "logprobs", function(cache, i, j)
    return self:waited(self:open("logprobs", cache, i, j), function(logprobs)
      local node, first = self:node(cache), i or 2
      if first < 0 then first = #cache + 1 + first end
      for k, logprob in ipairs(logprobs) do
        recording.ancestor(node, first + k - 1).logprob = logprob
      end
    end, pcall(original.logprobs, cache, i, j))
  end)
end

-- What was found behind a cache: its logits stand for that node until the script changes them.
function Trace:found(cache, position, l)
  local node = recording.ancestor(self:node(cache), position)
  self:follow(node, l, self.alternatives)
  self.rows[l] = "#" .. node.place
end

-- Whether the candidates that were noted already say what a method gave.
local function said(next, method, results)
  if method == "argmax" then return results[1] == next.ids[1] end
  if method == "entropy" then return results[1] == next.entropy end
  if method ~= "top" or #results[1] > #next.ids then return false end
  for i, id in ipairs(results[1]) do
    if id ~= next.ids[i] or results[2][i] ~= next.logprobs[i] then return false end
  end
  return true
end

function Trace:wrap_logits()
  local caches, original = self.original.cache, self.original.logits
  self:replace("cache", "logits", function(cache, i, j)
    return self:waited(self:open("logits", cache, i, j), function(found)
      if i == nil then return self:found(cache, #cache, found) end
      local first = i < 0 and #cache + 1 + i or i
      for k, l in ipairs(found) do self:found(cache, first + k - 1, l) end
    end, pcall(caches.logits, cache, i, j))
  end)
  local function of_many(list)
    return self:waited(self:open("logits", list), function(found)
      for k, l in ipairs(found) do self:found(list[k], #list[k], l) end
    end, pcall(self.original.core.logits, list))
  end
  self:replace("core", "logits", of_many)
  self:replace("perilune", "logits", of_many)

  for _, method in ipairs(LOOKS) do
    self:replace("logits", method, function(l, ...)
      local row = self.rows[l]
      if not row then return original[method](l, ...) end
      local key = recording.key(method .. " " .. row, self.name, ...) -- before an rng moves on
      local results = table.pack(original[method](l, ...))
      local place = tonumber(row:match "^#(%d+)$")
      if method == "top" and place then self:follow(self.nodes[place], l, #results[1]) end
      if not (place and said(self.nodes[place].next, method, results)) then
        self:note(key, place ~= nil, results)
      end
      return table.unpack(results, 1, results.n)
    end)
  end
  local function changed(l)
    local row = self.rows[l]
    if row and not row:find "^changed" then self.rows[l] = "changed " .. row end
  end
  for method, fn in pairs(original) do
    if KEEPS[method] then
      self:replace("logits", method, function(l)
        local new = fn(l)
        self.rows[new] = self.rows[l]
        return new
      end)
    elseif self.original.logits[method] == core.logits_methods[method] and method ~= "close"
      and method ~= "probs" then
      self:replace("logits", method, function(l, ...)
        changed(l)
        return fn(l, ...)
      end)
    end
  end
  for _, from in ipairs {"core", "perilune"} do
    self:replace(from, "sampler", function(options)
      return recording.filter(self.original.core.sampler(options), function(filter, l, cache)
        changed(l)
        return filter(l, cache)
      end, function(filter, l, cache)
        local row, id = self.rows[l], filter:pick(l, cache)
        if row then self:note("pick " .. row, true, {id, n = 1}) end
        changed(l)
        return id
      end)
    end)
  end
  local index = self.original.logits_meta.__index
  self:replace("logits_meta", "__index", function(l, key)
    local value, row = index(l, key), type(key) == "number" and self.rows[l]
    if row then self:note("get " .. row, row:find "^#" ~= nil, {value, n = 1}, key) end
    return value
  end)
  self:replace("logits_meta", "__newindex", function(l, id, x)
    changed(l)
    return self.original.logits_meta.__newindex(l, id, x)
  end)
  for _, name in ipairs {"__add", "__sub", "__mul"} do
    local fn = self.original.logits_meta[name]
    self:replace("logits_meta", name, function(l, m)
      local new = fn(l, m)
      self.rows[new] = self.rows[l] or self.rows[m]
      changed(new)
      return new
    end)
  end
end

-- ---- the beginning and the end ----

-- Replaces a function of one of the tables that scripts see, until the trace stops.
function Trace:replace(table_name, key, fn)
  local from = self.tables[table_name]
  local original = from[key]
  self.undo[#self.undo + 1] = function() from[key] = original end
  from[key] = function(...)
    if not self.active then return original(...) end -- kept by a script beyond the end
    return fn(...)
  end
end

--- Ends the recording. What was recorded stays, and no model is kept alive for it.
function Trace:stop()
  if not self.active then return end
  self.active, active = false, nil
  for i = #self.undo, 1, -1 do self.undo[i]() end
  self.known = {}
  for _, model in ipairs(self.models) do model.handle = nil end
end
Trace.__close = Trace.stop

local function copy(from)
  local to = {}
  for key, value in pairs(from) do to[key] = value end
  return to
end

--- Begins to record what this Lua state does with its models. `alternatives`: how many candidates
--- are kept at each position.
---@param options? {alternatives?: integer}
---@return perilune.Trace
function M.trace(options)
  local k = 8
  for key, value in pairs(options or {}) do
    if key ~= "alternatives" then
      core.raise("argument", ("trace: unknown option '%s' (allowed: alternatives)"):format(key))
    end
    k = math.tointeger(value)
    if not k or k < 1 then
      core.raise("argument", ("trace: option 'alternatives' is %s: a whole number of at least 1 "
        .. "is allowed"):format(tostring(value)))
    end
  end
  if active then core.raise("argument", "trace: another one is active: stop it first") end
  local self = setmetatable({
    alternatives = k, active = true, nodes = {}, models = {}, calls = {}, turns = 0, streams = 0,
    known = {}, at = setmetatable({}, WEAK), rows = setmetatable({}, WEAK), noted = {}, undo = {},
  }, Trace)
  self.tables = {
    model = core.model_methods, cache = core.cache_methods, cache_meta = core.cache_meta,
    logits = core.logits_methods, logits_meta = core.logits_meta, core = core,
    perilune = require "perilune",
  }
  self.original = {}
  for name, from in pairs(self.tables) do self.original[name] = copy(from) end
  self.index, self.name = self:naming()
  self:wrap_models()
  self:wrap_caches()
  self:wrap_logits()
  active = self
  return self
end

-- ---- what is made of it ----

-- All of it as plain tables.
function Trace:data()
  local models, nodes = {}, {}
  for i, model in ipairs(self.models) do
    local pieces = {}
    for id, piece in pairs(model.pieces) do pieces[tostring(id)] = piece end
    models[i] = {
      info = recording.store(model.info, self.index), root = model.root.place, pieces = pieces,
      control = model.control,
    }
  end
  for place, node in ipairs(self.nodes) do
    nodes[place] = {
      id = node.id, parent = node.parent and node.parent.place, model = node.model,
      kind = node.kind, logprob = node.logprob, next = node.next,
    }
  end
  return {
    format = recording.FORMAT, version = recording.VERSION, models = models, nodes = nodes,
    calls = self.calls,
  }
end

--- Writes it: to a name that ends in .html as a page that shows the tree of branches, to one in
--- .json for perilune.replay.
---@param path string
---@return true? ok, string? message
function Trace:save(path)
  local text
  if type(path) == "string" and path:find "%.html?$" then
    text = draw.page(self)
  elseif type(path) == "string" and path:find "%.json$" then
    text = json.encode(self:data())
  else
    core.raise("argument", ("trace:save: %s: a name that ends in .html or .json is allowed")
      :format(tostring(path)))
  end
  return recording.write(path, text)
end

--- Prints the tree of branches, with the tokens coloured by their probability. `colour`: default,
--- when the output is a terminal.
---@param file? file* default: the standard output
---@param options? {colour?: boolean}
function Trace:print(file, options)
  draw.print(self, file or io.stdout, options)
end

function Trace:__tostring()
  local n = #self.nodes - #self.models
  return ("trace (%d tokens, %s)"):format(n, self.active and "active" or "stopped")
end

return M
