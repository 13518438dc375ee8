-- replay: stand-ins for the models of a recorded run, without the models: the same calls on the
-- same caches give what they gave. Nothing is computed; what was not recorded is an error that says
-- so.

local core = require "perilune.core"
local json = require "perilune.trace.json"
local recording = require "perilune.trace.recording"

local M = {}

local PATIENCE = 64 -- rounds in which nothing happens before a task stops waiting for its turn

local Model = {__name = "perilune.replay.model"}
local Cache = {__name = "perilune.replay.cache"}
local Logits = {__name = "perilune.logits"}
local Stream = {__name = "perilune.replay.stream"}
local Sink = {}
Sink.__index = Sink

-- One recording: its nodes, models, and calls by their names.
local Run = {}
Run.__index = Run

-- ---- caches, names, values ----

local fail = core.raise

local function node_of(cache)
  if not cache.node then fail("closed", "the cache is closed") end
  return cache.node
end

function Run:cache(node)
  return setmetatable({run = self, node = node}, Cache)
end

local function name(value)
  local meta = getmetatable(value)
  if meta == Cache then return "#" .. node_of(value).place end
  if meta == Model then return "model " .. value.number end
  if meta == Logits and value.row then return "logits " .. value.row end
end

-- ---- calls ----

local function not_recorded(key)
  fail("argument", key .. ": not in the recording")
end

-- Waits until it is this event's turn, so that tasks go on in the order in which they did; when
-- nothing moves any more, the script does other things than then, and order means nothing.
function Run:wait(turn)
  local seen, rounds = self.turn, 0
  while self.turn < turn - 1 and rounds < PATIENCE do
    core.sleep(0)
    rounds = self.turn == seen and rounds + 1 or 0
    seen = self.turn
  end
  self.turn = math.max(self.turn, turn)
end

-- The entry of a call: the next one of that name. `again`: what it gives is a value, so that the
-- last one may be given once more.
function Run:entry(key, again)
  local list = self.calls[key]
  if not list then return nil end
  local entry = list[list.taken + 1]
  if entry then
    list.taken = list.taken + 1
  elseif again then
    entry = list[list.taken]
  else
    fail("argument", ("%s: %d times in the recording, and now once more"):format(key, #list))
  end
  return entry
end

-- A value of the recording: caches become caches.
function Run:value(stored)
  return recording.load(stored, function(place) return self:cache(self.nodes[place]) end)
end

-- Raises a recorded error, with what the call had come to; or this one, of the script's own
-- function.
function Run:raise(recorded, message, cause)
  if not message and not recorded.code then error(recorded.message, 0) end
  local code = message and "callback" or recorded.code
  local _, err = pcall(core.raise, code, message or recorded.message)
  local had = self:value(recorded)
  err.tokens, err.cache, err.cause = had.tokens, had.cache, cause
  error(err, 0)
end

-- A call that was under way when the recording ended, or was cancelled: waits to be cancelled
-- again.
function Run:endure(key)
  for _ = 1, 1000 do core.sleep(0.001) end
  fail("argument", key .. ": did not return in the recording")
end

-- What a call gave: raises what it raised.
function Run:results(entry, key)
  if entry.error then self:raise(entry.error) end
  if not entry.results then self:endure(key) end
  local results = {n = #entry.results}
  for i, value in ipairs(entry.results) do
    results[i] = self:value(value)
  end
  return table.unpack(results, 1, results.n)
end

-- A call that is looked up by its name and waits for its turn, if it had one.
function Run:call(again, what, ...)
  local key = recording.key(what, name, ...)
  local entry = self:entry(key, again) or not_recorded(key)
  if entry.turns then self:wait(entry.turns[#entry.turns]) end
  return self:results(entry, key)
end

-- Takes the turn of a call whose result needs no record.
function Run:pass(what, ...)
  local entry = self:entry(recording.key(what, name, ...), true)
  if not entry then return end
  if entry.turns then self:wait(entry.turns[#entry.turns]) end
  if entry.error then self:results(entry) end
end

-- ---- logits ----

-- Those that may follow a node. `row` names them in the recording; nil when they are not in it.
local function logits_of(run, node)
  return setmetatable({run = run, node = node, row = "#" .. node.place}, Logits)
end

-- What a method gave, where it was written down; else by `from`, of the recorded candidates.
local function ask(l, method, from, ...)
  if not l.row then not_recorded(method .. " of logits that were computed") end
  local plain = l.row:find "^#" ~= nil
  local what, next = method .. " " .. l.row, plain and l.node.next
  if from and next and not l.run.calls[recording.key(what, name, ...)] then
    local found = table.pack(from(next, ...))
    if found[1] then return table.unpack(found, 1, found.n) end
  end
  return l.run:call(plain, what, ...)
end

local methods = {}

function methods.top(l, k)
  return ask(l, "top", function(next)
    if k > #next.ids and #next.ids < #l then return nil end
    return table.move(next.ids, 1, k, 1, {}), table.move(next.logprobs, 1, k, 1, {})
  end, k)
end

function methods.argmax(l)
  return ask(l, "argmax", function(next) return next.ids[1] end)
end

function methods.entropy(l)
  return ask(l, "entropy", function(next) return next.entropy end)
end

function methods.logprob(l, id)
  return ask(l, "logprob", function(next)
    for i, other in ipairs(next.ids) do
      if other == id then return next.logprobs[i] end
    end
  end, id)
end

function methods.logsumexp(l) return ask(l, "logsumexp", nil) end
function methods.kl(l, m) return ask(l, "kl", nil, m) end

function methods.sample(l, rng)
  local key = recording.key("sample " .. tostring(l.row), name, rng)
  rng() -- a draw takes one number
  local entry = l.row and l.run:entry(key, true) or not_recorded(key)
  return l.run:results(entry, key)
end

function methods.copy(l)
  return setmetatable({run = l.run, node = l.node, row = l.row}, Logits)
end
methods.logprobs = methods.copy

function methods.close() end

local function change(l)
  if l.row and not l.row:find "^changed" then l.row = "changed " .. l.row end
  return l
end

for _, method in ipairs {"add", "scale", "temperature", "dynatemp", "top_k", "top_p", "min_p",
  "typical_p", "top_n_sigma", "mirostat", "penalties", "dry", "bias", "mask", "keep"} do
  methods[method] = change
end

function methods.xtc(l, _, _, rng)
  if rng then rng() end
  return change(l)
end

function Logits.__index(l, key)
  if type(key) == "number" then return ask(l, "get", nil, key) end
  return methods[key]
end

function Logits.__newindex(l, key, value)
  if type(key) == "number" then change(l) else rawset(l, key, value) end
end

function Logits.__len(l)
  return l.run.models[l.node.model].info.vocab_size
end

local function combine(l, m)
  return change(methods.copy(getmetatable(l) == Logits and l or m))
end
Logits.__add, Logits.__sub, Logits.__mul = combine, combine, combine
Logits.__close = methods.close

-- The logits behind a node, which must have been asked for.
local function found(run, node, key)
  if not node.next then not_recorded(key) end
  return logits_of(run, node)
end

-- ---- caches ----

Cache.__index = {}
local of_cache = Cache.__index

function Cache.__len(c) return node_of(c).depth end
function Cache.__eq(a, b) return a.node ~= nil and a.node == b.node and a.run == b.run end
function Cache.__tostring(c)
  return c.node and ("cache (%d tokens, of a recording)"):format(c.node.depth) or "cache (closed)"
end

-- Positions i to j of n, negative ones from the end.
local function range(i, j, n)
  i, j = i or 1, j or n
  if i < 0 then i = n + 1 + i end
  if j < 0 then j = n + 1 + j end
  return i, j
end

function of_cache.tokens(c, i, j)
  local node = node_of(c)
  i, j = range(i, j or i and -1, node.depth)
  return recording.path(node, i, j)
end

function of_cache.text(c, i, j)
  return c.run:call(true, "text", c, i, j)
end

function of_cache.extend(c, input)
  local run, node = c.run, node_of(c)
  for _, id in ipairs(type(input) == "table" and input or {input}) do
    node = math.type(id) == "integer" and node and node.by_id[id] or nil
  end
  if node and type(input) ~= "string" then return run:cache(node) end
  return run:call(true, "extend", c, input)
end

function Cache.__concat(c, input)
  if getmetatable(c) ~= Cache or type(input) == "number" then
    fail("argument", "cache .. text extends a cache by a text: write cache:extend(id) for a token")
  end
  return of_cache.extend(c, input)
end

function of_cache.truncate(c, n)
  local node = node_of(c)
  if not math.tointeger(n) or n < 0 or n > node.depth then
    fail("argument", ("truncate: the length is %s: 0 to %d is allowed")
      :format(tostring(n), node.depth))
  end
  return c.run:cache(recording.ancestor(node, n))
end

function of_cache.heal(c) return c.run:call(true, "heal", c) end
function of_cache.fork(c) return c.run:cache(node_of(c)) end

function of_cache.ready(c)
  c.run:pass("ready", c)
  return c
end

function of_cache.logits(c, i, j)
  local run, node, rows = c.run, node_of(c), {}
  local key = recording.key("logits", name, c, i, j)
  run:pass("logits", c, i, j)
  if i == nil then return found(run, node, key) end
  i, j = range(i, j, node.depth)
  for k = i, j do rows[#rows + 1] = found(run, recording.ancestor(node, k), key) end
  return rows
end

function of_cache.hidden(c) not_recorded("hidden states of cache #" .. node_of(c).place) end
function of_cache.logprobs(c, i, j) return c.run:call(true, "logprobs", c, i, j) end

function of_cache.common_prefix(c, other)
  local a, b = node_of(c), node_of(other)
  local n = math.min(a.depth, b.depth)
  a, b = recording.ancestor(a, n), recording.ancestor(b, n)
  while a ~= b do a, b = a.parent, b.parent end
  return a.depth
end

function of_cache.find(c, ids, init)
  local held = c:tokens()
  ids = type(ids) == "table" and ids or {ids}
  for at = range(init, nil, #held), #held - #ids + 1 do
    local same = 0
    while same < #ids and held[at + same] == ids[same + 1] do same = same + 1 end
    if same == #ids then return at end
  end
end

--- A file of its own kind: what it stands for, not what was computed.
function of_cache.save(c, path)
  return recording.write(path, json.encode {replayed = c:tokens()})
end

function of_cache.close(c) c.node = nil end
Cache.__close = of_cache.close

-- ---- generations ----

-- Calls a function of the script; its error is raised as generate raises it.
function Run:call_back(entry, what, fn, ...)
  local ok, err = pcall(fn, ...)
  if not ok then self:raise(entry.error or {}, what .. ": " .. tostring(err), err) end
end

-- Hands the script's functions what they were handed.
function Run:events(entry, options)
  for i, event in ipairs(entry.events or {}) do
    local node = self.nodes[event[2]]
    self:wait(entry.turns[i])
    if event[1] == "token" then
      if options.on_token then
        self:call_back(entry, "on_token", options.on_token, node.id, event[3], self:cache(node))
      end
    elseif options.sampler then
      local others = {}
      for k, place in ipairs(event[3]) do others[k] = logits_of(self, self.nodes[place]) end
      self:call_back(entry, "sampler", options.sampler, logits_of(self, node), self:cache(node),
        table.unpack(others))
    end
  end
end

function Run:finish(entry, key)
  if entry.turns then self:wait(entry.turns[#entry.turns]) end
  return self:results(entry, key)
end

Model.__index = {}
local of_model = Model.__index

function of_model.generate(model, ...)
  local options, run = recording.options(...), model.run
  if not options then fail("argument", "generate: a table of options expected, got nothing") end
  local key = recording.key("generate", name, model, options)
  local entry = run:entry(key, options.seed or (options.temperature or 0) == 0)
    or not_recorded(key)
  run:events(entry, options)
  return run:finish(entry, key)
end

function of_model.stream(model, ...)
  local options, run = recording.options(...), model.run
  local number = run:call(false, "stream", model, options)
  return setmetatable({run = run, name = "stream " .. number, options = options}, Stream)
end

local function close_stream(s) rawset(s, "closed", true) end

function Stream.__call(s)
  if rawget(s, "closed") then return nil end
  local run, key = s.run, s.name .. " pull"
  local entry = run:entry(key) or not_recorded(key)
  run:events(entry, s.options)
  return run:finish(entry, key)
end

function Stream.__index(s, key)
  if key == "close" then return close_stream end
  if key ~= "cache" and key ~= "tokens" and key ~= "info" then return nil end
  return s.run:call(true, s.name .. " get", key)
end

function Stream.__newindex(s, key, value)
  s.run:call(false, s.name .. " set", key, value)
end
Stream.__close = close_stream

function of_model.sink(model, options, cache)
  local number = model.run:call(false, "sink", model, cache)
  return setmetatable({run = model.run, name = "sink " .. number, options = options}, Sink)
end

function Sink:push(ids)
  local key = recording.key(self.name .. " push", name, ids)
  local entry = self.run:entry(key) or not_recorded(key)
  self.run:events(entry, self.options)
  return self.run:finish(entry, key)
end

function Sink:finish(cache) return self.run:call(false, self.name .. " finish", cache) end

-- ---- models ----

function of_model.encode(model, ...) return model.run:call(true, "encode", model, ...) end
function of_model.decode(model, ...) return model.run:call(true, "decode", model, ...) end
function of_model.is_eog(model, id)
  for _, eog in ipairs(model.known.info.tokenizer.eog) do
    if eog == id then return true end
  end
  return false
end

function of_model.piece(model, id)
  return model.known.pieces[tostring(id)] or not_recorded("piece " .. tostring(id))
end

function of_model.id(model, piece) return model.run:call(true, "id", model, piece) end
--- Of a pattern, what matched then; sets themselves need no model.
function of_model.set(model, ids)
  if type(ids) == "string" then ids = model.run:call(true, "set", model, ids) end
  return core.rng(0):subset(model.known.info.vocab_size, 0) | ids
end

function of_model.stats(model) return model.run:call(true, "stats", model) end
function of_model.score(model, ...) return model.run:call(true, "score", model, ...) end
of_model.select = core.model_methods.select -- it asks for scores, whoever gives them

function of_model.info(model)
  return recording.load(model.known.info)
end

function of_model.cache(model)
  return model.run:cache(model.run.nodes[model.known.root])
end

function of_model.restore(model, path, ...)
  local file <close> = io.open(path, "rb")
  local value = file and json.decode(file:read "a")
  if type(value) ~= "table" or type(value.replayed) ~= "table" then
    return model.run:call(true, "restore", model, path, ...)
  end
  return model:cache():extend(value.replayed)
end

function of_model.close() end

function Model.__tostring(model)
  local info = model.known.info
  return ("model (%s, of a recording)"):format(info.name or info.arch or "?")
end
Model.__close = of_model.close

local original = {logits = core.logits, sampler = core.sampler}

-- perilune.logits for caches of recordings, too.
local function logits_of_many(caches)
  local first = type(caches) == "table" and caches[1]
  if getmetatable(first) ~= Cache then return original.logits(caches) end
  local run, rows = first.run, {}
  local key = recording.key("logits", name, caches)
  run:pass("logits", caches)
  for i, c in ipairs(caches) do rows[i] = found(run, node_of(c), key) end
  return rows
end

-- Filters leave stand-ins as they are, but for what can be known of them.
local function sampler(options)
  return recording.filter(original.sampler(options), function(filter, l, cache)
    if getmetatable(l) == Logits then return change(l) end
    return filter(l, cache)
  end, function(filter, l, cache)
    if getmetatable(l) ~= Logits then return filter:pick(l, cache) end
    local id = ask(l, "pick", nil)
    change(l)
    return id
  end)
end

-- ---- reading ----

local function read(path)
  local file <close>, message = io.open(path, "rb")
  if not file then return nil, message end
  local text, why = file:read "a"
  if not text then return nil, why end
  local data, bad = json.decode(text)
  if type(data) ~= "table" or data.format ~= recording.FORMAT then
    return nil, ("%s: not a recording%s"):format(path, bad and ": " .. bad or "")
  end
  if data.version ~= recording.VERSION then
    return nil, ("%s: a recording of version %s: version %d is read")
      :format(path, tostring(data.version), recording.VERSION)
  end
  return data
end

-- The tree: parents come before their kids.
local function grow(data)
  local nodes = {}
  for place, flat in ipairs(data.nodes) do
    local parent = flat.parent and nodes[flat.parent]
    local node = parent and recording.child(nodes, parent, flat.id, flat.kind)
      or recording.root(nodes, flat.model)
    if node.place ~= place then return nil end
    node.logprob, node.next = flat.logprob, flat.next
  end
  return nodes
end

--- Stand-ins for the models of a run that trace:save wrote to a .json file, in the order in which
--- the run came to use them.
---@param path string
---@return perilune.Model? model, ... # the others; or nil and a message
function M.replay(path)
  local data, message = read(path)
  if not data then return nil, message end
  local nodes = grow(data)
  if not nodes then return nil, path .. ": not a recording: its nodes are no tree" end
  local run = setmetatable({nodes = nodes, models = data.models, calls = {}, turn = 0}, Run)
  for _, entry in ipairs(data.calls) do
    local list = run.calls[entry.key] or {taken = 0}
    run.calls[entry.key] = list
    list[#list + 1] = entry
  end
  for _, from in ipairs {core, require "perilune"} do
    from.logits, from.sampler = logits_of_many, sampler
  end
  local models = {}
  for i, known in ipairs(data.models) do
    models[i] = setmetatable({run = run, number = i, known = known}, Model)
  end
  return table.unpack(models)
end

return M
