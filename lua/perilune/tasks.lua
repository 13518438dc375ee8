-- tasks: what is built on perilune.spawn: several at once, over a list, the first of several; and
-- coroutines through which a task can wait. The core suspends and resumes (runtime/bind/task.c).

local core = require "perilune.core"

local M = {}

local function cancel_all(tasks)
  -- The one that runs now, if it is among them, is told by an error.
  for _, task in ipairs(tasks) do pcall(task.cancel, task) end
end

local function misuse(message, ...) core.raise("argument", message:format(...)) end

local function check_functions(functions, what)
  if type(functions) ~= "table" then
    misuse("%s: a list of functions expected, got %s", what, type(functions))
  end
  for i, f in ipairs(functions) do
    if type(f) ~= "function" then
      misuse("%s: a list of functions expected, got a %s at %d", what, type(f), i)
    end
  end
end

-- Waits until all tasks of the list are done; if one fails, or the caller is cancelled meanwhile,
-- the rest is cancelled.
local function join_all(tasks)
  local _ <close> = setmetatable({}, {__close = function() cancel_all(tasks) end})
  local open = table.move(tasks, 1, #tasks, 1, {})
  while #open > 0 do
    local task = table.remove(open, core.any(open))
    if task.status ~= "done" then task:join() end -- raises
  end
end

--- Calls the functions side by side; their first results, in the same order. The first error
--- cancels the rest and is raised.
---@param functions (fun(): any)[]
---@return any[]
function M.parallel(functions)
  check_functions(functions, "parallel")
  local tasks, results = {}, {}
  for i, f in ipairs(functions) do tasks[i] = core.spawn(f) end
  join_all(tasks)
  for i, task in ipairs(tasks) do results[i] = task:join() end
  return results
end

--- Calls fn(item, i) for every item of a list, or fn(i, i) for 1 to n, side by side, at most
--- `limit` at a time; the first results, in order. The first error cancels the rest and is raised.
---@param list any[] | integer
---@param fn fun(item: any, i: integer): any
---@param options? {limit?: integer}
---@return any[]
function M.map(list, fn, options)
  if options ~= nil and type(options) ~= "table" then
    misuse("map: a table of options expected, got %s", tostring(options))
  end
  for key in pairs(options or {}) do
    if key ~= "limit" then misuse("map: unknown option '%s': limit is allowed", tostring(key)) end
  end
  if type(list) ~= "table" and (math.type(list) ~= "integer" or list < 0) then
    misuse("map: a list or a number of times expected, got %s", tostring(list))
  end
  if type(fn) ~= "function" then misuse("map: a function expected, got a %s", type(fn)) end
  local n = type(list) == "table" and #list or list
  local limit = options and options.limit or n
  if math.type(limit) ~= "integer" or (limit < 1 and n > 0) then
    misuse("map: option 'limit' is %s: a whole number of at least 1 is allowed", tostring(limit))
  end
  local results, next_item = {}, 0
  local function work()
    while next_item < n do
      next_item = next_item + 1
      local i = next_item
      if type(list) == "table" then results[i] = fn(list[i], i) else results[i] = fn(i, i) end
    end
  end
  local tasks = {}
  for i = 1, math.min(limit, n) do tasks[i] = core.spawn(work) end
  join_all(tasks)
  return results
end

--- Calls the functions side by side until one returns: its place, and its results. The others are
--- cancelled. An error is raised, and cancels the others too.
---@param functions (fun(): any)[]
---@return integer, ...
function M.race(functions)
  check_functions(functions, "race")
  if #functions == 0 then misuse "race: a list of functions expected, got an empty one" end
  local tasks = {}
  for i, f in ipairs(functions) do tasks[i] = core.spawn(f) end
  local _ <close> = setmetatable({}, {__close = function() cancel_all(tasks) end})
  local i = core.any(tasks)
  return i, tasks[i]:join()
end

-- Gives the token that a coroutine waits with on to who resumes this one. If that one never comes
-- back, because the task was cancelled, the coroutine is closed.
local guard = {__close = function(self)
  if self.co then coroutine.close(self.co) end
end}
local function pass_on(co, token)
  local waiting <close> = setmetatable({co = co}, guard)
  coroutine.yield(token)
  waiting.co = nil
end

--- A coroutine as a function, like coroutine.wrap, through which a task can wait: what needs the
--- engine inside suspends the whole task, as if there were no coroutine between.
---@param fn fun(...: any): ...
---@return fun(...: any): ...
function M.wrap(fn)
  local co, waits = coroutine.create(fn), false
  local function go_on(ok, first, ...)
    if not ok then
      if coroutine.status(co) == "dead" then coroutine.close(co) end
      error(first, 0)
    end
    if first == core.wait_token and coroutine.status(co) == "suspended" then
      waits = true
      pass_on(co, first)
      waits = false
      core.passes(co)
      return go_on(coroutine.resume(co))
    end
    return first, ...
  end
  return function(...)
    if waits and coroutine.status(co) == "suspended" then
      core.raise("argument", "the coroutine waits, in another task")
    end
    core.passes(co)
    return go_on(coroutine.resume(co, ...))
  end
end

return M
