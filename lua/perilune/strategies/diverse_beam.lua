-- Diverse beam search (Vijayakumar et al. 2018): beams in groups; each group searches by itself,
-- one after the other at every position, and a token that groups before it took there costs
-- `diversity` for each time (Hamming diversity).
--
--     local diverse = require "perilune.strategies.diverse_beam"
--     local o = {input = "Once", max_new_tokens = 24, beams = 6, groups = 3}
--     local _, _, info = diverse(model, o)
--     for _, b in ipairs(info.beams) do print(b.score, b.text) end
--
-- All other options are beam search's. The penalty chooses; scores are the model's own.

local beam = require "perilune.strategies.beam"

return function(model, given)
  local o = {groups = 4}
  for key, value in pairs(given) do o[key] = value end
  if given.groups == nil and math.type(o.beams) == "integer" then o.groups = o.beams end
  return beam(model, o)
end
