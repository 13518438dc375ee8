-- recording: what traces and replays agree on: the tree of tokens, how a call is named so that it
-- is found again, and how what it returned is written down.

local core = require "perilune.core"
local json = require "perilune.trace.json"

local M = {}

M.FORMAT, M.VERSION = "perilune trace", 1

-- The name of a value's type, as the core and what stands in for it name their types.
local function type_name_of(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__name or nil
end

-- ---- names of calls ----

-- A value as a text that equal values share. `name` knows caches and models. Of a function only
-- that there was one: a script's functions are new in every run.
local function canonical(value, name)
  local kind = type(value)
  local known = name(value)
  if known then return known end
  if kind == "string" then return json.encode(value) end
  if kind == "number" then
    local whole = math.tointeger(value)
    return whole and ("%d"):format(whole) or ("%.17g"):format(value)
  end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  if kind == "function" then return kind end
  local type_name = type_name_of(value)
  if type_name == "perilune.rng" then return "rng " .. value:state() end
  if type_name == "perilune.set" then return "{" .. table.concat(value:ids(), ", ") .. "}" end
  if kind ~= "table" or type_name then return type_name or kind end
  local parts, keyed = {}, {}
  for i, item in ipairs(value) do parts[i] = canonical(item, name) end
  for key, item in pairs(value) do
    if not (math.type(key) == "integer" and key >= 1 and key <= #parts) then
      keyed[#keyed + 1] = tostring(key) .. " = " .. canonical(item, name)
    end
  end
  table.sort(keyed)
  table.move(keyed, 1, #keyed, #parts + 1, parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

--- The name of a call: what is called, and every value that it is given.
---@param what string
---@param name fun(value: any): string?
---@param ... any
---@return string
function M.key(what, name, ...)
  local parts = table.pack(...)
  while parts.n > 0 and parts[parts.n] == nil do parts.n = parts.n - 1 end
  for i = 1, parts.n do parts[i] = canonical(parts[i], name) end
  return table.concat(table.move(parts, 1, parts.n, 2, {what}), " ")
end

--- The options of generate and stream as one table of the caller's own, whichever way they were
--- given: with the seed that an rng gives in place of it, so that it moves on as it would.
---@return table? options nil: not what generate takes
function M.options(options, max_new_tokens, cache)
  local own = {}
  if type(options) == "table" and max_new_tokens == nil and cache == nil then
    for key, value in pairs(options) do own[key] = value end
  elseif options == nil and max_new_tokens == nil and cache == nil then
    return nil
  else
    own = {input = options, max_new_tokens = max_new_tokens, cache = cache}
  end
  if own.seed == nil and type_name_of(own.rng) == "perilune.rng" then
    own.seed, own.rng = core.rng_seed(own.rng), nil
  end
  return own
end

-- ---- filters ----

-- What perilune.sampler gives, with something done to the logits that it is given.
local Filter = {__name = "perilune.sampler"}
Filter.__index = Filter

--- `apply(filter, l, cache)` stands in for filter(l, cache), `choose` for filter:pick(l, cache).
function M.filter(filter, apply, choose)
  return setmetatable({filter = filter, apply = apply, choose = choose}, Filter)
end

function Filter:__call(l, cache) return self.apply(self.filter, l, cache) end
function Filter:pick(l, cache) return self.choose(self.filter, l, cache) end
function Filter:clone() return M.filter(self.filter:clone(), self.apply, self.choose) end

-- ---- results ----

--- Results in a form that JSON can hold. `index(value)` gives the place of a cache's node.
---@param index fun(value: any): integer?
---@return any
function M.store(value, index)
  if value == nil then return json.null end
  local place = index(value)
  if place then return {["$cache"] = place} end
  if type_name_of(value) == "perilune.set" then return value:ids() end
  if type(value) == "userdata" then return json.null end
  if type(value) ~= "table" then return value end
  local copy = {}
  for key, item in pairs(value) do copy[key] = M.store(item, index) end
  return copy
end

--- What `store` made, as values again. `cache(place)` makes a cache.
---@param cache fun(place: integer): any
---@return any
function M.load(value, cache)
  if value == json.null then return nil end
  if type(value) ~= "table" then return value end
  if value["$cache"] then return cache(value["$cache"]) end
  local copy = {}
  for key, item in pairs(value) do copy[key] = M.load(item, cache) end
  return copy
end

-- ---- files ----

--- Writes a file, whole or not at all.
---@return true? ok, string? message
function M.write(path, bytes)
  local part = path .. ".part"
  local file, message = io.open(part, "wb")
  if not file then return nil, message end
  local ok, why = file:write(bytes)
  local closed, why_closed = file:close()
  local moved, why_moved
  if ok and closed then moved, why_moved = os.rename(part, path) end
  if moved then return true end
  os.remove(part)
  return nil, why or why_closed or why_moved
end

-- ---- the tree ----

---@class perilune.TraceNode one token in its place; the first node of a model has none
---@field place integer among all nodes, in the order in which they came
---@field id integer?
---@field parent perilune.TraceNode?
---@field depth integer tokens down to it
---@field kids perilune.TraceNode[] in the order in which they came
---@field by_id table<integer, perilune.TraceNode>
---@field model integer the number of its model
---@field kind "forced"|"sampled"|nil who chose it: the script or the sampler
---@field logprob number? by the model
---@field next {ids: integer[], logprobs: number[], entropy: number}? what may follow, where known

--- The first node of a model.
function M.root(nodes, model)
  local node = {place = #nodes + 1, depth = 0, kids = {}, by_id = {}, model = model}
  nodes[node.place] = node
  return node
end

--- The node of this token behind another, a new one if there is none.
function M.child(nodes, parent, id, kind)
  local node = parent.by_id[id]
  if not node then
    node = M.root(nodes, parent.model)
    node.id, node.parent, node.depth, node.kind = id, parent, parent.depth + 1, kind
    parent.kids[#parent.kids + 1], parent.by_id[id] = node, node
  end
  return node
end

--- The ids of positions i to j of the path that ends with a node.
function M.path(node, i, j)
  local ids = {}
  while node.depth > j do node = node.parent end
  while node.depth >= i and node.parent do
    ids[node.depth - i + 1], node = node.id, node.parent
  end
  return ids
end

--- The node of the first n tokens.
function M.ancestor(node, n)
  while node.depth > n do node = node.parent end
  return node
end

return M
