-- Logits as values: arithmetic, filters, probabilities, sets of ids, random numbers, samplers as functions. What is
-- expected is computed here from the definitions, over plain lists; the sampler's stages themselves are tested in
-- tests/c/test_sampler.c.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local model = assert(perilune.load("demo", { deterministic = true }))
local VOCAB = model:info().vocab_size
local cache = model:cache():extend "Once upon a time there was a"
local INF, NAN = math.huge, 0 / 0
local last = ("from 0 to %d"):format(VOCAB - 1)

-- Two rows of their own each time: the second is of another text.
local function rows()
    local other = model:cache():extend "The capital"
    return cache:logits(), other:logits()
end

local function list(l)
    local values = {}
    for id = 0, #l - 1 do values[id] = l[id] end
    return values
end

local function logsumexp(values)
    local max, sum = -INF, 0
    for id = 0, #values do max = math.max(max, values[id]) end
    for id = 0, #values do sum = sum + math.exp(values[id] - max) end
    return max + math.log(sum)
end

-- The ids from the most to the least probable.
local function sorted(values)
    local ids = {}
    for id = 0, #values do ids[id + 1] = id end
    table.sort(ids, function(a, b)
        return values[a] > values[b] or (values[a] == values[b] and a < b)
    end)
    return ids
end

-- Fails unless exactly the ids in `kept`, a set as a table, are not masked, and their values are as before.
local function check_kept(l, before, kept)
    for id = 0, #l - 1 do
        if kept[id] then t.eq(l[id], before[id]) else t.eq(l[id], -INF) end
    end
end

-- ---- arithmetic ----

t.test("sums, differences and products are those of every logit, and new values", function()
    local a, b = rows()
    local x, y = list(a), list(b)
    local sum, difference, product, same = a + b, a - b, a * 1.5, 1.5 * a
    for id = 0, VOCAB - 1 do
        t.near(sum[id], x[id] + y[id], 1e-5)
        t.near(difference[id], x[id] - y[id], 1e-5)
        t.near(product[id], x[id] * 1.5, 1e-5)
        t.eq(same[id], product[id])
    end
    t.eq(list(a), x)
    t.eq(list(b), y)
end)

t.test("methods that change a row return it", function()
    local a, b = rows()
    local x, y = list(a), list(b)
    t.ok(a:add(b, -0.5):scale(2):temperature(0.5) == a)
    for id = 0, VOCAB - 1 do t.near(a[id], (x[id] - 0.5 * y[id]) * 4, 1e-4) end
    local c = b:copy()
    t.ok(c ~= b and #c == #b)
    c[5] = 1.5
    t.eq({ c[5], b[5] }, { 1.5, y[5] })
    c[5] = -INF
    t.eq(c[5], -INF)
    t.ok(a:add(b) == a and a:top_k(9):top_p(0.9):min_p(0.01):typical_p(0.99):top_n_sigma(9) == a)
    t.ok(a:xtc(0.9):mirostat(9):mirostat(9, 100):dynatemp(1, 0.5):keep { a:argmax() }:bias(1, 1):mask {} == a)
end)

t.test("masked stays masked through all arithmetic, and nothing becomes infinite", function()
    local a, b = rows()
    a:mask { 3, 4 }
    b:mask { 4, 5 }
    for _, l in ipairs { a + b, a - b, b - a, (a - b) * -3, (a + b) * 0, a:copy():add(b, -7), (a - a):add(b * -1e38, 1e38),
        (b - a * 0):logprobs(), (a * 3e38 - b * 3e38):temperature(1e-30) } do
        for id = 0, VOCAB - 1 do
            t.ok(l[id] == l[id] and l[id] < INF)
            if id >= 3 and id <= 5 and l[id] ~= -INF then t.ok(id == 3 or id == 5, tostring(id)) end
        end
        t.eq(l[4], -INF)
    end
    t.eq({ (a + b)[3], (a - b)[5], (b - a)[3], (b - a)[5] }, { -INF, -INF, -INF, -INF })
    t.eq(a:bias({ 3 }, 1000)[3], -INF)
    t.eq(a:logprob(3), -INF)
    t.eq((a * -1)[3], -INF)
end)

t.test("identities: l - l is 0, u + (l - u) is l, logprobs change no probability", function()
    local l, u = rows()
    local zero, back, lp = l - l, u + (l - u), l:logprobs()
    for id = 0, VOCAB - 1 do
        t.eq(zero[id], 0)
        t.near(back[id], l[id], 1e-4)
        t.near(lp[id], l:logprob(id), 1e-5)
    end
    t.near(lp:logsumexp(), 0, 1e-5)
    t.near(l:logsumexp(), logsumexp(list(l)), 1e-5)
    t.near((l * 0):entropy(), math.log(VOCAB), 1e-5)
    t.near(l:kl(lp), 0, 1e-6)
    t.eq(l:kl(l), 0)
end)

t.test("divergence is that of its definition", function()
    local l, m = rows()
    local x, y = list(l), list(m)
    local zl, zm, kl = logsumexp(x), logsumexp(y), 0
    for id = 0, VOCAB - 1 do kl = kl + math.exp(x[id] - zl) * (x[id] - zl - y[id] + zm) end
    t.near(l:kl(m), kl, 1e-4)
    t.ok(m:kl(l) > 0)
    t.eq(l:kl(m:mask { l:argmax() }), INF)
    t.ok(m:kl(l) < INF)
end)

-- ---- filters ----

t.test("top-k, top-p and min-p keep what sorting keeps", function()
    local rng = perilune.rng(4)
    for round = 1, 30 do
        local l = cache:logits(rng:integer(#cache))[1]
        if round % 3 == 0 then l:mask(rng:subset(VOCAB, 0.4)) end
        if round % 2 == 0 then -- ties
            for id = 0, VOCAB - 1 do if l[id] > -INF then l[id] = math.floor(l[id]) end end
        end
        local x = list(l)
        local ids, z = sorted(x), logsumexp(x)
        local k, p, m = rng:integer(1, 300), 0.3 + 0.69 * rng(), 0.3 * rng()
        local kept = {}
        for i = 1, k do if x[ids[i]] > -INF then kept[ids[i]] = true end end
        check_kept(l:copy():top_k(k), x, kept)
        local mass, n = 0, 0
        kept = {}
        while mass < p do
            n = n + 1
            mass, kept[ids[n]] = mass + math.exp(x[ids[n]] - z), true
        end
        if math.abs(mass - p) > 1e-6 then check_kept(l:copy():top_p(p), x, kept) end
        kept = {}
        for id = 0, VOCAB - 1 do
            if x[id] >= x[ids[1]] + math.log(m) then kept[id] = true end
        end
        check_kept(l:copy():min_p(m), x, kept)
        t.eq(l:copy():top_k(k):top(5), l:copy():top(math.min(k, 5)))
    end
end)

t.test("top gives fewer where fewer are left", function()
    local l = cache:logits():top_k(3)
    local ids, logprobs = l:top(10)
    t.eq({ #ids, #logprobs }, { 3, 3 })
    t.near(math.exp(logprobs[1]) + math.exp(logprobs[2]) + math.exp(logprobs[3]), 1, 1e-6)
    t.eq(ids, cache:logits():top(3))
    t.eq(cache:logits():mask(ids):top(1)[1], cache:logits():top(4)[4])
    t.eq({ #l:keep {}:top(4), l:entropy(), l:logsumexp() }, { 0, 0, -INF })
end)

t.test("a filter after another sees what was changed in between", function()
    local l = cache:logits():top_k(5)
    local best = l:argmax()
    l[best] = -INF
    t.ok(l:argmax() ~= best)
    t.eq(#l:copy():top_k(10):top(10), 4)
    local worst = l:top(4)[4]
    l:bias(worst, 100)
    t.eq(l:top_k(1):top(9), { worst })
    l = cache:logits():top_k(5)
    t.eq(l:scale(-1):argmax(), cache:logits():top(5)[5])
    local values = list(l)
    t.near(l:entropy(), -(function()
        local z, h = logsumexp(values), 0
        for id = 0, VOCAB - 1 do
            if values[id] > -INF then h = h + math.exp(values[id] - z) * (values[id] - z) end
        end
        return h
    end)(), 1e-5)
end)

t.test("temperature 0 keeps the most probable, and dynamic temperature follows the entropy", function()
    local l = cache:logits()
    t.eq(l:copy():temperature(0):top(3), { l:argmax() })
    local t0, range = 1, 0.5
    local heat = t0 - range + 2 * range * (l:entropy() / math.log(VOCAB)) ^ 2
    local hot = l:copy():dynatemp(t0, range, 2)
    for id = 0, 100 do t.near(hot[id], l[id] / heat, 1e-4) end
end)

t.test("penalties and DRY look at ids or at a cache", function()
    local l = cache:logits()
    local x, tokens = list(l), cache:tokens()
    local options = { repetition_penalty = 1.5, presence_penalty = 0.25, frequency_penalty = 0.5, penalty_last_n = 4 }
    local a, b = l:copy():penalties(cache, options), l:copy():penalties(tokens, options)
    local count = {}
    for i = #tokens - 3, #tokens do count[tokens[i]] = (count[tokens[i]] or 0) + 1 end
    for id = 0, VOCAB - 1 do
        local want, n = x[id], count[id]
        if n then want = (want > 0 and want / 1.5 or want * 1.5) - 0.25 - 0.5 * n end
        t.near(a[id], want, 1e-5)
        t.eq(a[id], b[id])
    end
    local text = { 10, 11, 12, 13, 10, 11, 12 } -- 13 followed the last three
    t.near(l:copy():dry(text, { dry_breakers = {} })[13], x[13] - 0.8 * 1.75, 1e-5)
    t.near(l:copy():dry(text, { dry_multiplier = 2, dry_base = 3, dry_allowed_length = 1, dry_breakers = { 11 } })[13],
        x[13] - 2, 1e-5)
    t.eq(list(l:copy():dry(text, { dry_breakers = model:set { 12 } })), x)
    t.eq(list(l:copy():dry(text, { dry_allowed_length = 4, dry_breakers = {} })), x)
    local spaces = model:set " " -- as texts that its tokens have
    local said = model:cache():extend(text)
    t.eq(list(l:copy():dry(said, { dry_breakers = { " " } })), list(l:copy():dry(said, { dry_breakers = spaces })))
end)

-- ---- probabilities ----

t.test("probabilities sum to 1, and their arithmetic is plain", function()
    local l, m = rows()
    local p, q = l:probs(), m:top_k(5):probs()
    t.near(p:sum(), 1, 1e-6)
    t.near(q:sum(), 1, 1e-6)
    for id = 0, VOCAB - 1 do t.near(p[id], math.exp(l:logprob(id)), 1e-6) end
    local mixed, left = p * 0.5 + 0.5 * q, p - q
    t.near(mixed:sum(), 1, 1e-6)
    t.near(left:sum(), 0, 1e-6)
    local positive = 0
    for id = 0, VOCAB - 1 do
        t.near(mixed[id], 0.5 * (p[id] + q[id]), 1e-7)
        t.near(left[id], p[id] - q[id], 1e-7)
        positive = positive + math.max(left[id], 0)
    end
    t.ok(left:clamp(0) == left)
    t.near(left:sum(), positive, 1e-6)
    t.eq(#p, VOCAB)
    t.eq(p:clamp(0, 0):sum(), 0)
    local back = mixed:logits()
    for id = 0, VOCAB - 1 do t.near(back[id], math.log(0.5 * (l:probs()[id] + q[id])), 1e-4) end
    t.eq((q * 3):logits():top(9), q:logits():top(9))
    t.near(back:logsumexp(), 0, 1e-5)
end)

local function chi_square(found, expected, n)
    local sum, degrees = 0, -1
    for id, p in pairs(expected) do
        sum, degrees = sum + ((found[id] or 0) - n * p) ^ 2 / (n * p), degrees + 1
    end
    for id in pairs(found) do t.ok(expected[id], "token " .. id .. " was drawn, and has no probability") end
    return sum, degrees
end

t.test("samples follow the probabilities", function()
    local n, rng = 30000, perilune.rng(21)
    local l = cache:logits():top_k(12):temperature(1.5)
    local p = l:probs()
    local flat = (p - l:copy():temperature(0.5):probs()):clamp(0) -- not normalised
    local expected, expected_flat, a, b, c = {}, {}, {}, {}, {}
    for _, id in ipairs(l:top(12)) do
        expected[id] = p[id]
        if flat[id] > 0 then expected_flat[id] = flat[id] / flat:sum() end
    end
    for _ = 1, n do
        local x, y, z = l:sample(rng), p:sample(rng), flat:sample(rng)
        a[x], b[y], c[z] = (a[x] or 0) + 1, (b[y] or 0) + 1, (c[z] or 0) + 1
    end
    for _, case in ipairs { { a, expected }, { b, expected }, { c, expected_flat } } do
        local sum, degrees = chi_square(case[1], case[2], n)
        t.ok(sum < degrees + 5 * math.sqrt(2 * degrees), ("chi-square %g of %d"):format(sum, degrees))
    end
    local again, once = perilune.rng(3), perilune.rng(3)
    for _ = 1, 50 do t.eq(l:sample(again), l:copy():sample(once)) end
end)

-- ---- sets ----

t.test("sets of ids are values with & | ~", function()
    local a, b = model:set { 1, 5, 9, 5 }, model:set { 5, VOCAB - 1 }
    t.eq({ #a, #b, #(a & b), #(a | b), #~a, #(a ~ b) }, { 3, 2, 1, 4, VOCAB - 3, 3 })
    t.eq(a:ids(), { 1, 5, 9 })
    t.eq((a & b):ids(), { 5 })
    t.eq((a | { 2 }):ids(), { 1, 2, 5, 9 })
    t.eq((7 | b):ids(), { 5, 7, VOCAB - 1 })
    t.ok(a[5] and not a[6] and a:contains(9) and not a:contains(0))
    t.ok(~~a == a and a ~= b and model:set(a:ids()) == a and (a & ~a) == model:set {})
    t.ok(model:set(a) == a and model:set(3)[3])
    local seen = {}
    for id in a do seen[#seen + 1] = id end
    t.eq(seen, a:ids())
    for _ in model:set {} do t.ok(false) end
    t.eq(tostring(a), ("set (3 of %d ids)"):format(VOCAB))
end)

t.test("a pattern chooses tokens by their texts", function()
    local digits = model:set "^%d+$"
    local n = 0
    for id = 0, VOCAB - 1 do
        local control = model:decode { id } == "" and model:piece(id) ~= ""
        local matches = not control and model:piece(id):find "^%d+$" ~= nil
        t.eq(digits[id], matches)
        n = n + (matches and 1 or 0)
    end
    t.eq(#digits, n)
    t.ok(n > 0)
    for _, id in ipairs(model:info().tokenizer.eog) do t.ok(not model:set "."[id]) end
end)

t.test("keep, mask and bias take sets, lists and ids", function()
    local l = cache:logits()
    local x, some = list(l), model:set "^ "
    for _, ids in ipairs { some, some:ids() } do
        local kept, masked, biased = l:copy():keep(ids), l:copy():mask(ids), l:copy():bias(ids, -2.5)
        for id = 0, VOCAB - 1 do
            t.eq(kept[id], some[id] and x[id] or -INF)
            t.eq(masked[id], some[id] and -INF or x[id])
            t.near(biased[id], some[id] and x[id] - 2.5 or x[id], 1e-6)
        end
    end
    t.eq(l:copy():keep(7):top(2), { 7 })
    t.eq(l:copy():bias({ 7 }, -INF)[7], -INF)
    t.ok(some[l:copy():keep(some):argmax()])
end)

-- ---- random numbers ----

t.test("a generator is its seed and how much was drawn", function()
    local a, b = perilune.rng(7), perilune.rng(7)
    for _ = 1, 20 do
        local x = a()
        t.ok(x >= 0 and x < 1)
        t.eq(x, b:uniform())
    end
    local c = perilune.rng(a:state())
    t.eq({ c(), c:integer(1000), c:integer(-5, 5) }, { a(), a:integer(1000), a:integer(-5, 5) })
    t.eq(c:state(), a:state())
    t.ok(perilune.rng(8)() ~= perilune.rng(7)())
    t.ok(perilune.rng()() ~= perilune.rng()())
    for _ = 1, 200 do
        local i, j = a:integer(3), a:integer(-1, 1)
        t.ok(i >= 1 and i <= 3 and j >= -1 and j <= 1 and math.type(i) == "integer")
    end
    t.eq(math.type(a:integer(math.mininteger, math.maxinteger)), "integer")
    t.eq(a:integer(5, 5), 5)
end)

t.test("a fork advances its parent, and goes its own way", function()
    local parent, same = perilune.rng(7), perilune.rng(7)
    local one, two = parent:fork(), parent:fork()
    t.ok(one() ~= two())
    t.ok(parent() ~= same())
    t.ok(parent:state() ~= same:state())
    local again = perilune.rng(7)
    t.eq(again:fork()(), perilune.rng(7):fork()())
    one = again:fork()
    local x = again:state()
    for _ = 1, 10 do one() end
    t.eq(again:state(), x)
end)

t.test("a subset has its fraction of the ids, and another one each time", function()
    local rng = perilune.rng(2)
    local a, b = rng:subset(VOCAB, 0.25), rng:subset(VOCAB, 0.25)
    t.eq({ #a, #b, #rng:subset(VOCAB, 0), #rng:subset(10, 1), #rng:subset(10, 0.26) },
        { math.floor(VOCAB * 0.25 + 0.5), #a, 0, 10, 3 })
    t.ok(a ~= b and #(a & b) < #a)
    t.ok(perilune.rng(2):subset(VOCAB, 0.25) == a)
    t.eq(#cache:logits():keep(a):top(VOCAB), #a)
end)

-- ---- samplers ----

t.test("a sampler as a function is the chain of generate", function()
    for seed = 1, 6 do
        local options = { temperature = 1.1, top_k = 30, top_p = 0.9, min_p = 0.01, repetition_penalty = 1.2, seed = seed,
            penalty_last_n = 6, typical_p = seed % 2 == 0 and 0.95 or nil, xtc_probability = 0.5, xtc_threshold = 0.05,
            dry_multiplier = seed > 3 and 1 or nil, banned_tokens = { 5, 6 }, logit_bias = { [9] = 1 } }
        local filter = perilune.sampler(options)
        local at = cache
        options.input, options.cache, options.max_new_tokens = nil, cache, 12
        local tokens = model:generate(options)
        for _, id in ipairs(tokens) do
            local l = at:logits()
            t.ok(filter(l, at) == l)
            t.ok(l[id] > -INF, "what generate drew is left")
            t.eq({ l[5], l[6] }, { -INF, -INF })
            at = at:extend(id)
        end
    end
    local greedy = perilune.sampler {}
    t.eq(greedy(cache:logits()):top(5), { cache:logits():argmax() })
    t.eq(perilune.sampler { temperature = 1, top_k = 3, draft = true, k = 4 } (cache:logits()):top(9),
        cache:logits():top(3))
end)

t.test("five and five tokens are ten, with every stage that needs no state of its own", function()
    for seed = 1, 5 do
        local function run(from, n)
            return model:generate { cache = from, max_new_tokens = n, temperature = 1.2, seed = seed, xtc_probability = 0.5,
                xtc_threshold = 0.02, dry_multiplier = 0.8, dry_allowed_length = 1, typical_p = 0.97, top_n_sigma = 2,
                dynatemp_range = 0.5, frequency_penalty = 0.3 }
        end
        local ten = run(cache, 10)
        local five, middle = run(cache, 5)
        local more = run(middle, 5)
        t.eq(table.move(more, 1, 5, 6, five), ten)
    end
end)

t.test("the order of the stages is the script's", function()
    local l = cache:logits()
    local best, second = table.unpack((l:top(2)))
    local text = model:cache():extend { best }
    local options = { temperature = 1, top_k = 1, presence_penalty = 100, samplers = { "top_k", "penalties" } }
    t.eq(perilune.sampler(options)(l:copy(), text):top(2), { best })
    options.samplers = { "penalties", "top_k" }
    t.eq(perilune.sampler(options)(l:copy(), text):top(2), { second })
end)

t.test("mirostat's state goes on from call to call, and is cloned", function()
    local options = { temperature = 1, mirostat = 2, mirostat_tau = 2, mirostat_eta = 0.5 }
    local filter = perilune.sampler(options)
    local mu, at, rng = 4, cache, perilune.rng(6)
    for step = 1, 12 do
        local l = at:logits()
        local p = l:probs()
        local twin = step % 3 == 0 and filter:clone()
        if twin then t.eq(list(twin(l:copy(), at)), list(filter(l, at)))
        else filter(l, at) end
        for id = 0, VOCAB - 1 do
            local bits = -math.log(p[id], 2)
            if math.abs(bits - mu) > 1e-4 and id ~= p:logits():argmax() then t.eq(l[id] > -INF, bits <= mu) end
        end
        local id = l:sample(rng)
        mu, at = mu - 0.5 * (-math.log(p[id], 2) - 2), at:extend(id)
    end
end)

-- ---- other vocabularies: of models, in tests/c/test_lua.c ----

t.test("sets over another number of ids are taken as far as their ids exist", function()
    local few = perilune.rng(1):subset(100, 0.5)
    local l = cache:logits()
    local kept = l:copy():keep(few)
    for id = 0, VOCAB - 1 do t.eq(kept[id] > -INF, id < 100 and few[id]) end
    t.eq(#l:copy():mask(few):top(VOCAB), VOCAB - #few)
    local many = perilune.rng(1):subset(VOCAB + 64, 1)
    t.eq(t.raises(function() l:mask(many) end, ("id %d"):format(VOCAB), last).code, "argument")
    t.eq(#l:copy():mask(many & perilune.rng(1):subset(VOCAB + 64, 0)):top(VOCAB), VOCAB)
    t.eq(t.raises(function() return few & many end, "100", tostring(VOCAB + 64)).code, "mismatch")
end)

-- ---- errors ----

t.test("arguments of logits are checked", function()
    local l = cache:logits()
    local p = l:probs()
    local function bad(f, ...) t.eq(t.raises(f, ...).code, "argument") end
    bad(function() return l + 1 end, "1", "both must be logits")
    bad(function() return l + p end, "a probs", "both must be logits")
    bad(function() return p - l end, "both must be probs")
    bad(function() return l * l end, "a number is allowed")
    bad(function() return l * NAN end, "NaN", "finite")
    bad(function() return l * INF end, "finite")
    bad(function() return "2" * l end, "a number is allowed")
    bad(function() l:add(p) end, "logits expected, got a probs")
    bad(function() l:add(l, INF) end, "the weight", "finite")
    bad(function() l:temperature(-1) end, "the temperature is -1", "at least 0")
    bad(function() l:temperature() end, "the temperature is nothing")
    bad(function() l:top_k(1.5) end, "k is 1.5", "whole number")
    bad(function() l:top_p(0) end, "p is 0", "above 0")
    bad(function() l:top_p(1.1) end, "p is 1.1", "up to 1")
    bad(function() l:min_p(NAN) end, "p is NaN", "from 0 to 1")
    bad(function() l:typical_p "x" end, "p is 'x'")
    bad(function() l:top_n_sigma(-1) end, "n is -1")
    bad(function() l:xtc(0.1, 0.5) end, "an rng expected, got nothing")
    bad(function() l:mirostat(1, 1) end, "m is 1", "from 2")
    bad(function() l:bias({ VOCAB }, 1) end, "ids[1] is " .. VOCAB, last)
    bad(function() l:bias({ 1 }, INF) end, "the bias")
    bad(function() l:bias({ 1 }) end, "the bias is nothing")
    bad(function() l:mask { 1, "x" } end, "ids[2] is 'x'")
    bad(function() l:keep "x" end, "ids is 'x'", "a set")
    bad(function() l:keep(-1) end, "ids is -1")
    bad(function() l[VOCAB] = 1 end, last)
    bad(function() l[0] = INF end, "the logit", "allowed")
    bad(function() l[0] = "x" end, "the logit is 'x'")
    bad(function() l.name = 1 end, "no field 'name'")
    bad(function() l:sample(5) end, "an rng expected, got 5")
    bad(function() l:copy():keep {}:sample(perilune.rng(1)) end, "every token is masked")
    bad(function() l:kl(5) end, "logits expected")
    bad(function() l:penalties({ VOCAB }, {}) end, "ids[1]", last)
    bad(function() l:penalties(5) end, "a cache or a list of ids")
    bad(function() l:penalties({}, { temperature = 1 }) end, "unknown option 'temperature'")
    bad(function() l:dry({ 1 }, { dry_breakers = { "x" } }) end, "'x'", "cache")
    bad(function() l.top_k(5, 5) end, "logits expected, got 5")
    bad(function() p[0] = 1 end, "cannot be assigned")
    bad(function() (p - p * 2):sample(perilune.rng(1)) end, "probability -", "clamp(0)")
    bad(function() (p * 0):sample(perilune.rng(1)) end, "all probabilities are 0")
    bad(function() p:clamp() end, "the least is nothing")
    bad(function() model:set(true) end, "ids or a pattern", "true")
    bad(function() model:set "%" end, "pattern '%'", "malformed")
    bad(function() model:set { -1 } end, "ids[1] is -1", last)
    bad(function() return model:set { 1 }[VOCAB] end, last)
    bad(function() return model:set { 1 } & "x" end, "the right side is 'x'")
    bad(function() model:set({})[1] = true end, "cannot be changed")
    bad(function() perilune.rng "x" end, "'x'", "state")
    bad(function() perilune.rng(1.5) end, "1.5", "whole number")
    bad(function() perilune.rng(1):integer(0) end, "n is 0")
    bad(function() perilune.rng(1):integer(3, 2) end, "the upper end is 2", "at least 3")
    bad(function() perilune.rng(1):subset(0, 0.5) end, "n is 0")
    bad(function() perilune.rng(1):subset(5, 1.5) end, "the fraction is 1.5")
    t.eq(l.no_such_field, nil)
    t.eq(list(l), list(cache:logits())) -- nothing above changed it
end)

t.test("options of samplers are checked, in generate as well", function()
    local function bad(options, ...)
        local pieces = { ... }
        options.temperature = options.temperature or 1
        t.eq(t.raises(function() perilune.sampler(options)(cache:logits(), cache) end, table.unpack(pieces)).code, "argument")
        options.cache, options.max_new_tokens = cache, 1
        t.eq(t.raises(function() model:generate(options) end, table.unpack(pieces)).code, "argument")
    end
    bad({ typical_p = 0 }, "'typical_p' is 0", "above 0")
    bad({ top_n_sigma = -1 }, "'top_n_sigma' is -1")
    bad({ xtc_probability = 2 }, "'xtc_probability' is 2", "from 0 to 1")
    bad({ xtc_threshold = 0 }, "'xtc_threshold' is 0")
    bad({ dynatemp_range = -1 }, "'dynatemp_range' is -1")
    bad({ mirostat = 3 }, "'mirostat' is 3", "from 0 to 2")
    bad({ mirostat_tau = 0 }, "'mirostat_tau' is 0")
    bad({ dry_base = 0 }, "'dry_base' is 0")
    bad({ dry_allowed_length = 0 }, "'dry_allowed_length' is 0")
    bad({ dry_multiplier = 1, dry_breakers = "x" }, "'dry_breakers' is 'x'", "list")
    bad({ dry_multiplier = 1, dry_breakers = { VOCAB } }, "'dry_breakers'", last)
    bad({ banned_tokens = { VOCAB } }, "'banned_tokens'[1] is " .. VOCAB, last)
    bad({ logit_bias = { [VOCAB] = 1 } }, "'logit_bias' has the key", last)
    bad({ repeat_penalty = 1.1, repetition_penalty = 1.1 }, "are the same")
    bad({ repeat_penalty = 0 }, "'repeat_penalty' is 0")
    bad({ samplers = "top_k" }, "'samplers' is 'top_k'", "list")
    bad({ samplers = { "topk" } }, "'topk' at 1", "top_k, typical_p")
    bad({ samplers = { "top_k", "top_k" } }, "'top_k' twice")
    bad({ samplers = { "top_k" }, top_p = 0.5 }, "does not name top_p")
    bad({ mirostat = 1, samplers = { "mirostat", "top_k" } }, "stands last")
    bad({ rng = 5 }, "'rng' is 5")
    bad({ rng = perilune.rng(1), seed = 1 }, "'seed' and 'rng'")
    t.eq(t.raises(function() perilune.sampler(5) end, "a table of options").code, "argument")
    t.raises(function() perilune.sampler { temperature = 1, presence_penalty = 1 } (cache:logits()) end, "filter(l, cache)")
    t.raises(function() perilune.sampler {} (5) end, "logits expected")
end)

t.test("an rng is a seed that moves on", function()
    local rng = perilune.rng(9)
    local options = { cache = cache, max_new_tokens = 8, temperature = 2, rng = rng }
    local a, _, info = model:generate(options)
    local b = model:generate(options)
    t.ok(table.concat(a, " ") ~= table.concat(b, " "))
    options.rng, options.seed = nil, info.seed
    t.eq(model:generate(options), a)
end)

-- ---- memory ----

t.test("rows are closed, reused and collected", function()
    local l = cache:logits()
    local p <close> = l:probs()
    l:close()
    l:close()
    t.eq(tostring(l), "logits (closed)")
    for _, f in ipairs { function() return l[0] end, function() return #l end, function() return l + cache:logits() end,
        function() return cache:logits():add(l) end, function() l:top_k(1) end, function() l:probs() end,
        function() l[0] = 1 end, function() return l * 2 end, function() perilune.sampler {} (l) end } do
        t.eq(t.raises(f, "closed").code, "closed")
    end
    t.eq(#p, VOCAB)
end)

-- Kilobytes that the process holds, where the system tells.
local function resident()
    if (os.getenv "SANITIZE" or "") ~= "" then t.skip "sanitizers keep what was given back" end
    local file = io.open "/proc/self/statm"
    if not file then t.skip "this system does not tell how much memory a process holds" end
    local pages = tonumber(file:read "a":match "%d+ (%d+)")
    file:close()
    return pages * 4
end

t.test("a loop that makes many rows takes no more memory", function()
    local l = cache:logits()
    local function many(n)
        for _ = 1, n do
            local _ = l + l
            _ = l:probs()
        end
    end
    many(20000)
    local before = resident()
    many(100000)
    t.ok(resident() - before < 64 * 1024, "grew by " .. resident() - before .. " KiB")
    collectgarbage "generational"
    many(20000)
    collectgarbage "incremental"
    t.ok(resident() - before < 128 * 1024, "grew by " .. resident() - before .. " KiB")
end)

t.test("a finalizer may close what an operation works on", function()
    for _ = 1, 200 do
        local l = cache:logits()
        setmetatable({}, { __gc = function() l:close() end })
        pcall(function()
            for _ = 1, 20 do
                local sum = l + l
                sum = sum * 2
                sum:top(5)
                l:keep { 1, 2 }
            end
        end)
    end
    collectgarbage()
    t.eq(#cache:logits(), VOCAB)
end)

t.done()
