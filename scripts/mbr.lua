-- Minimum Bayes risk: of twelve samples, the one most like the others, and the one least.
local perilune = require "perilune"
local mbr = require "perilune.strategies.mbr"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local _, _, info = mbr(model, {
  input = "Once upon a time", max_new_tokens = 40, stop = ".", temperature = 1.2, seed = 4, n = 12,
})
table.sort(info.samples, function(a, b) return a.utility > b.utility end)
for _, s in ipairs(info.samples) do print(("%.2f%s"):format(s.utility, s.info.text)) end
