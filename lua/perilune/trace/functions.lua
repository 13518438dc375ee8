-- functions: what stands in place of the functions that scripts see of models, caches and logits,
-- generations aside, while a trace is active.

local core = require "perilune.core"
local recording = require "perilune.trace.recording"

local Trace = {} -- methods of it

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

return function(trace)
  for name, method in pairs(Trace) do trace[name] = method end
end
