-- Diverse beam search: beams say the same in other words; groups that pay for what others said do
-- not.
local perilune = require "perilune"
local beam = require "perilune.strategies.beam"
local diverse = require "perilune.strategies.diverse_beam"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function show(what, info)
  print(what)
  for _, b in ipairs(info.beams) do print(("  %.2f%s"):format(b.sum, b.text)) end
end
local o = {input = "Once upon a time there was a", max_new_tokens = 12, beams = 4}
show("4 beams", select(3, beam(model, o)))
o.groups, o.diversity = 4, 2.0
show("4 groups of one beam", select(3, diverse(model, o)))
