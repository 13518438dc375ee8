-- Forking and rewinding: caches are values. Keeping one is a fork, dropping its last tokens a rewind; neither computes.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function tell(cache, text)
  local _, after, info = model:generate {cache = cache, input = text, max_new_tokens = 40, stop = {"."}}
  print(text .. info.text .. ".")
  return after
end

local start = tell(model:cache(), "Once upon a time there was a")
print "-- two ways on from there:"
local sun = tell(start, " One sunny day,")
local rain = tell(start, " One rainy night,")
print "-- and the first of them once more, told differently:"
tell(sun:truncate(#start), " Nobody knew that")

local stats = model:stats()
print(("-- %d tokens processed, %d of them shared by both branches"):format(stats.tokens, sun:common_prefix(rain)))
