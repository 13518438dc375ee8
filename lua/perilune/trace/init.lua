-- trace: what a script does with its models, written down while it runs: the tree of all tokens
-- that it gave or had sampled, and every call with what came of it, for a replay. While a trace is
-- active, the functions that scripts see of models, caches and logits are replaced by ones that
-- also write down (functions.lua, generations.lua); what they compute is the same. Without one
-- nothing is there.

local core = require "perilune.core"
local draw = require "perilune.trace.draw"
local json = require "perilune.trace.json"
local recording = require "perilune.trace.recording"

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

require "perilune.trace.generations"(Trace)
require "perilune.trace.functions"(Trace)

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
  self:wrap_generations()
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
