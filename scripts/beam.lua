-- Beam search beside greedy: the best sentence is not made of the best words.
local perilune = require "perilune"
local beam = require "perilune.strategies.beam"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local prompt = model:cache():extend "Once there was"
local function score(tokens) return (model:score(prompt, {tokens}))[1] end

local o = {cache = prompt, max_new_tokens = 24}
local tokens, _, info = model:generate(o)
print(("greedy   %.2f %s"):format(score(tokens), info.text))
tokens, _, info = beam(model, {cache = prompt, max_new_tokens = 24, beams = 4})
print(("4 beams  %.2f %s"):format(score(tokens), info.text))
for i = 2, 4 do print(("  %d.     %.2f %s"):format(i, info.beams[i].sum, info.beams[i].text)) end
