-- Beam search (Graves 2012; Sutskever et al. 2014): the `beams` best sequences, by the sum of their
-- log-probabilities, are kept at every token; finished ones are ranked by that sum over their
-- length to the power of `length_penalty`. In `groups`, it is what diverse_beam.lua says.
--
--     local beam = require "perilune.strategies.beam"
--     local tokens, cache, info = beam(model, {input = "Once", max_new_tokens = 24, beams = 4})
--     for _, b in ipairs(info.beams) do print(b.score, b.text) end   -- the best ones, ranked
--
-- early_stop = true ends with as many finished sequences as beams, otherwise when no other can rank
-- among them. sampler(l, cache) may change logits. on_token hears of what all that may win share.

local core = require "perilune.core"
local options = require "perilune.options"

local function sort(list, key) -- best first
  local function above(a, b) return a[key] > b[key] or a[key] == b[key] and a.order < b.order end
  table.sort(list, above)
  return list
end

-- What may follow, best first. `taken` counts what groups before took here: each costs the penalty.
local function candidates(live, logits, most, taken, penalty)
  local grown = {}
  for _, b in ipairs(live) do
    local ids, logprobs = logits[b.cache]:top(most)
    for k, id in ipairs(ids) do
      local sum, cost = b.sum + logprobs[k], penalty * (taken[id] or 0)
      table.insert(grown, {from = b.cache, id = id, sum = sum, value = sum - cost, order = #grown})
    end
  end
  return sort(grown, "value")
end

return function(model, given)
  local own, o = options.read("beam search", given, {
    beams = 4, length_penalty = 1.0, early_stop = false, groups = 1, diversity = 0.5,
    sampler = false,
  }, "common")
  local root, width, power = options.begin(model, o), own.beams // own.groups, own.length_penalty
  if own.beams % own.groups ~= 0 then core.raise("argument", "beam search: unequal groups") end
  local out, ends, told = model:sink(o, root), options.ending(model, o, root), #root
  local most, groups = o.max_new_tokens or math.huge, {}
  for i = 1, own.groups do groups[i] = {live = {{cache = root, sum = 0}}, done = {}} end

  local function rank(sum, n) return sum / math.max(n, 1) ^ power end
  local function finish(group, b)
    b.score, b.order = rank(b.sum, #b.cache - #root), #group.done
    table.insert(group.done, b)
    sort(group.done, "score")[width + 1] = nil
  end
  local function over(group, n) -- sums only fall: what the unfinished can still come to
    if #group.live == 0 or #group.done < width then return #group.live == 0 end
    local longest = power > 0 and most < math.huge and most or n
    return own.early_stop or rank(group.live[1].sum, longest) <= group.done[width].score
  end
  local function all(...)
    local list = {}
    for _, group in ipairs(groups) do
      for _, kind in ipairs {...} do table.move(group[kind], 1, #group[kind], #list + 1, list) end
    end
    return list
  end

  for n = 1, most do
    local live, taken, logits = all("live"), {n = 0}, {}
    if #live == 0 then break end
    for i, b in ipairs(live) do live[i] = b.cache end
    for i, l in ipairs(core.logits(live)) do -- one step for all
      logits[live[i]] = own.sampler and own.sampler(l, live[i]) or l
    end
    for _, group in ipairs(groups) do
      local grown = candidates(group.live, logits, 2 * width + taken.n, taken, own.diversity)
      group.live = {}
      for place, b in ipairs(grown) do
        b.cache = b.from:extend(b.id) -- deferred: what loses or is finished never runs
        if n == most or ends(b.cache) then finish(group, b) else table.insert(group.live, b) end
        taken[b.id], taken.n = (taken[b.id] or 0) + 1, taken.n + 1
        if #group.live == width or (n == most and place == width) then break end
      end
      if over(group, n) then group.live = {} end
    end
    if o.on_token then
      local shared, from = options.shared(all("live", "done")), told + 1
      told = #shared
      if out:push(shared:tokens(from), shared) then break end
    end
  end

  local beams = all("done", "live")
  for i, b in ipairs(beams) do
    b.score, b.order, b.from = rank(b.sum, #b.cache - #root), i, nil
    b.tokens, b.text = b.cache:tokens(#root + 1), b.cache:text(#root + 1)
  end
  local best = sort(beams, "score")[1].cache
  out:push(best:tokens(told + 1), best)
  local tokens, cache, info = out:finish(best)
  info.beams = beams
  return tokens, cache, info
end
