-- perilune: the module that scripts require. It says in Lua what is not in the core, and annotates
-- what is (meta.lua describes the types). It keeps no state.

local core = require "perilune.core"

---@class perilune
---@field version string
---@field isa string the instruction set that the kernels use here: "avx512", "avxvnni", "avx2", "neon", "scalar"
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

--- Opens a GGUF file to look at it and to write converted copies; its weights are not loaded. Of a
--- split file, the path of the first part.
---@type fun(path: string, options?: {mmap?: boolean}): perilune.File?, string?, string?
M.gguf = core.gguf

--- The weight formats by name: {Q8_0 = {block = 32, bytes = 34, bits = 8.5, reads = true, ...}, ...}
---@type table<string, perilune.WeightType>
M.weight_types = core.weight_types

return M
