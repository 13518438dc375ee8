-- perilune: the module that scripts require. It says in Lua what is not in the core, and annotates
-- what is (meta.lua describes the types). It keeps no state.

local core = require "perilune.core"
local tasks = require "perilune.tasks"
local template = require "perilune.template"
require "perilune.choose"
require "perilune.score"
require "perilune.sink"

---@class perilune
---@field version string
---@field isa string what the kernels use here: "amx", "avx512", "avxvnni", "avx2", "neon", "scalar"
local M = { version = core.version, isa = core.isa }

--- Loads a GGUF file; "demo" is the bundled model.
---
---     local model = assert(perilune.load("model.gguf", {context = 4096}))
---
---@type fun(path: string, options?: perilune.LoadOptions): perilune.Model?, string?, string?
M.load = core.load

--- The logits after the last token of each cache, all computed in one step. The caches are of one
--- model.
---@type fun(caches: perilune.Cache[]): perilune.Logits[]
M.logits = core.logits

--- A generator of random numbers: of a seed, of what rng:state() gave, or of a random seed.
---@type fun(seed?: integer|string): perilune.Rng
M.rng = core.rng

--- The sampler that the options of generate describe, as a function of logits: filter(l, cache)
--- changes l, which stands behind the cache, and returns it. Options of other kinds are passed
--- over.
---@type fun(options: perilune.SamplingOptions): perilune.Sampler
M.sampler = core.sampler

--- Reads a template: forced text with holes that a model fills.
---
---     local card = perilune.template "Name: {name:stop='\\n'} Age: {age:max=3}"
---     local fields, cache = card:fill(model, {cache = cache, temperature = 0.7})
---
---@type fun(text: string): perilune.Template
M.template = template

--- Opens a GGUF file to look at it and to write converted copies; its weights are not loaded. Of a
--- split file, the path of the first part.
---@type fun(path: string, options?: {mmap?: boolean}): perilune.File?, string?, string?
M.gguf = core.gguf

--- The weight formats by name: {Q8_0 = {block = 32, bytes = 34, bits = 8.5, reads = true, ...}}
---@type table<string, perilune.WeightType>
M.weight_types = core.weight_types

--- Starts a task: fn(...) runs beside everything else. What needs the engine suspends it, and all
--- that is suspended is computed together, a step at a time. Tasks move along whenever something
--- outside of them waits, and in poll.
---@type fun(fn: function, ...: any): perilune.Task
M.spawn = core.spawn

M.parallel, M.map, M.race, M.wrap = tasks.parallel, tasks.map, tasks.race, tasks.wrap

--- Waits for so many seconds, while tasks move along.
---@type fun(seconds: number)
M.sleep = core.sleep

--- Seconds of a clock that only goes forward.
---@type fun(): number
M.clock = core.clock

--- For programs with a loop of their own: resumes tasks, takes results and has the next step
--- computed on other threads, for so many milliseconds at most, and never waits. How many tasks are
--- not finished. Errors of tasks that nobody joins are raised here, unless on_error takes them.
---@type fun(milliseconds?: number): integer
M.poll = core.poll

--- What is called with the error of a task that nobody joins, instead of raising it at the next
--- poll or at the script's end.
---@type fun(fn: fun(error: any, task: perilune.Task) | nil)
M.on_error = core.on_error

--- Begins to record every token that is forced or sampled in this Lua state, and every call: to be
--- drawn as a tree (trace:save "run.html", trace:print()) or replayed (trace:save "run.json").
--- `alternatives`: how many candidates are kept at each position; default 8.
---@type fun(options?: {alternatives?: integer}): perilune.Trace
function M.trace(options) return require "perilune.trace".trace(options) end

--- Stand-ins for the models of a recorded run: the same calls give what they gave, and nothing is
--- loaded.
---@type fun(path: string): perilune.Model?, ...
function M.replay(path) return require "perilune.trace.replay".replay(path) end

return M
