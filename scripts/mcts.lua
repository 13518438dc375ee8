-- Monte Carlo tree search: looks for a sentence that has what the reward asks for, which sampling
-- finds by luck: here many a w, and an end.
local perilune = require "perilune"
local mcts = require "perilune.strategies.mcts"
local best_of_n = require "perilune.strategies.best_of_n"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function reward(text)
  local _, n = text:gsub("w", "")
  return n / 8 + (text:find "%.$" and 0.5 or 0)
end
local o = {
  input = "Once upon a time", max_new_tokens = 24, stop = {"."}, temperature = 1, seed = 3,
}
local function show(what, text) print(("%-12s %.2f %s"):format(what, reward(text), text)) end
show("greedy", select(2, model:generate {input = o.input, max_new_tokens = 24, stop = "."}):text(5))
o.n, o.score = 64, function(sample) return reward(sample.cache:text(5)) end
show("best of 64", select(2, best_of_n(model, o)):text(5))
o.n, o.score = nil, nil
o.simulations, o.width, o.reward = 64, 6, function(line) return reward(line.text) end
show("tree of 64", select(2, mcts(model, o)):text(5))
