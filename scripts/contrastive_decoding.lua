-- Contrastive decoding: what a model knows that has read the beginning, and one that has not does
-- not: the names and things of this very story. Here the amateur is the same model with less to go
-- by; a second argument is another, smaller model.
local perilune = require "perilune"
local contrastive = require "perilune.strategies.contrastive_decoding"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local small = arg and arg[2] and assert(perilune.load(arg[2]))

local o = {
  input = "Once upon a time there was a little owl named Bobo who lived in a red barn. One day",
  max_new_tokens = 30, stop = ".",
}
print("plain:      " .. select(3, model:generate(o)).text)
o.amateur = small or model:cache():extend " One day"
print("contrastive:" .. select(3, contrastive(model, o)).text)
