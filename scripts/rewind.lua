-- Entropy-gated rewind: where the model is unsure four tokens in a row, go back and continue cooler.
-- A strategy that no library has, as one sampler.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function gated(options)
  local heat, unsure, rewinds = options.temperature, 0, 0
  options.sampler = function(l, cache)
    unsure = l:entropy() > 2.5 and unsure + 1 or 0 -- nats
    if unsure == 4 and rewinds < 6 then
      heat, unsure, rewinds = heat * 0.6, 0, rewinds + 1
      return cache:truncate(#cache - 3) -- go on from there
    end
    return l:temperature(heat)
  end
  options.temperature = 1
  local _, _, info = model:generate(options)
  return info.text, rewinds
end
for seed = 1, 3 do
  local function options()
    return {input = "Once upon a time", max_new_tokens = 40, temperature = 1.5, seed = seed}
  end
  print("hot:  " .. select(3, model:generate(options())).text)
  print(("gated:%s (%d rewinds)\n"):format(gated(options())))
end
