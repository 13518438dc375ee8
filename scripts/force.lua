-- Forcing: generate a sentence, force "However,", go on. The model reads the forced words as if they were its own.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local prompt = model:cache():extend "Once upon a time"
local _, cache = model:generate {cache = prompt, max_new_tokens = 60, stop = {"."}}
cache = cache .. " However,"                             -- noted now, processed with what follows
local _, forced = model:generate {cache = cache, max_new_tokens = 60, stop = {"."}}
print(forced:text())
