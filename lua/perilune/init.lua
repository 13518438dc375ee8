-- perilune: the module that scripts require. It says in Lua what is not in the core, and annotates
-- what is (meta.lua describes the types). It keeps no state.

local core = require "perilune.core"

---@class perilune
---@field version string
---@field isa string the instruction set that the kernels use here: "avx512", "avx2", "scalar"
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

return M
