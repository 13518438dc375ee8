-- Beam search: keep the `width` prefixes with the largest sums of log-probabilities. Branches fork by value, losers are
-- dropped, and all live beams are looked at in one step.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function beam_search(root, width, max_new_tokens)
  local live, done = {{cache = root, score = 0}}, {}
  for _ = 1, max_new_tokens do
    local caches, grown = {}, {}
    for i, beam in ipairs(live) do caches[i] = beam.cache end
    for i, logits in ipairs(perilune.logits(caches)) do
      local ids, logprobs = logits:top(2 * width)
      for k, id in ipairs(ids) do grown[#grown + 1] = {from = caches[i], id = id, score = live[i].score + logprobs[k]} end
    end
    table.sort(grown, function(a, b) return a.score > b.score end)
    live = {}
    for _, beam in ipairs(grown) do
      beam.cache = beam.from:extend(beam.id)             -- computes nothing: a losing or finished beam never runs
      local into = model:is_eog(beam.id) and done or live
      into[#into + 1] = beam
      if #live == width then break end
    end
    if #done >= width then break end
  end
  table.move(live, 1, #live, #done + 1, done)
  table.sort(done, function(a, b) return a.score / (#a.cache - #root) > b.score / (#b.cache - #root) end)
  return done
end

local root = model:cache():extend "The capital of"
for i, beam in ipairs(beam_search(root, 4, 12)) do
  if i <= 4 then print(("%7.3f  %s"):format(beam.score, beam.cache:text())) end
end
