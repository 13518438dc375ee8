-- Simple generation: a prompt in, new tokens out. The prompt is not among them.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local tokens, cache, info = model:generate {
  input = "The capital of France is", max_new_tokens = 12, stop = {"."},
}
print("new text:   ", info.text .. (info.stop or ""))
print("new tokens: ", table.concat(tokens, " "))
print("finished by:", info.finish_reason)
print("the cache:  ", cache:text())
