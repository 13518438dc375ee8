-- The library of decoding strategies, against brute force, the papers' formulas in double
-- precision, and one another.
local t = dofile "tests/lua/harness.lua"
local scratch = dofile "tests/lua/scratch.lua"
local perilune = require "perilune"
local function strategy(name) return require("perilune.strategies." .. name) end

local model = assert(perilune.load "scripts/demo/demo.gguf")
local PROMPT = "Once upon a time"
local V = model:info().vocab_size

local joined, with = t.join, t.with

-- A draft: the same model in 4 bits.
local function draft_model()
    local path = scratch.keep(os.tmpname())
    local file <close> = assert(perilune.gguf "scripts/demo/demo.gguf")
    local types = {}
    for _, tensor in ipairs(file:tensors()) do
        if #tensor.shape == 2 then types[tensor.name] = "Q4_0" end
    end
    assert(file:convert(path, {types = types}))
    return assert(perilune.load(path))
end
local draft = draft_model()

-- Questions, commands, beginnings and extractions: 200 prompts of the kinds that the model knows.
local function prompts()
    local list = {}
    local names = {"Tom", "Mira", "Ana", "Kofi", "Lena", "Ravi", "Nia", "Hugo", "Ines", "Omar"}
    local cities = {"Paris", "Oslo", "Lima", "Rome", "Cairo"}
    for i, name in ipairs(names) do
        for k, city in ipairs(cities) do
            local chat = "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n"
            local extract = "Extract as JSON: %s is %d years old and lives in %s."
            local first = chat:format(extract:format("Ada", 31, "Vienna"))
                .. '{"name": "Ada", "age": 31, "city": "Vienna"}<|im_end|>\n'
            local second = chat:format(extract:format(name, 10 + i + k, city))
            local recall = ("My name is %s. What is my name?"):format(name .. k)
            table.insert(list, {first .. second, "extract"})
            table.insert(list, {chat:format(recall), "chat"})
            table.insert(list, {("Once upon a time %s of %s"):format(name, city), "story"})
            table.insert(list, {("The capital of %s is %s. %s"):format(city, name, name), "plain"})
        end
    end
    return list
end

local function prompt_ids(text) return model:encode(text, {special = true, bos = true}) end

-- ---- beams ----

-- A small world: only these tokens, the last of which ends.
local END = model:id "<|im_end|>"
local function world(n, seed)
    local rng, ids, taken = perilune.rng(seed), {}, {[END] = true, [END - 1] = true}
    while #ids < n - 1 do
        local id = rng:integer(300, V - 1)
        if not model:is_eog(id) and not taken[id] then
            ids[#ids + 1], taken[id] = id, true
        end
    end
    ids[n] = END
    return ids
end
local function logprobs_in(ids, cache)
    local l, most, sum, of = cache:logits(), -math.huge, 0.0, {}
    for _, id in ipairs(ids) do most = math.max(most, l[id]) end
    for _, id in ipairs(ids) do sum = sum + math.exp(l[id] - most) end
    for _, id in ipairs(ids) do of[id] = l[id] - most - math.log(sum) end
    return of
end

t.test("a beam as wide as all sequences finds the best of them", function()
    local beam = strategy "beam"
    for seed = 1, 6 do
        local n, length = 4, 3
        local ids, power = world(n, seed), ({0.0, 0.5, 1.0, 2.0, -0.5, 1.0})[seed]
        local root, best = model:cache():extend(PROMPT), {score = -math.huge}
        local function go(cache, sum, depth)
            for id, logprob in pairs(logprobs_in(ids, cache)) do
                local after = cache:extend(id)
                if id == END or depth == length then
                    local score = (sum + logprob) / depth ^ power
                    if score > best.score then
                        best = {score = score, tokens = after:tokens(#root + 1)}
                    end
                else
                    go(after, sum + logprob, depth + 1)
                end
            end
        end
        go(root, 0, 1)
        local tokens, cache, info = beam(model, {
            input = PROMPT, max_new_tokens = length, beams = n ^ length // 1 | 0,
            length_penalty = power, stop_at_eog = true,
            sampler = function(l) return l:keep(ids) end,
        })
        t.eq(joined(tokens), joined(best.tokens))
        t.near(info.beams[1].score, best.score, 1e-5)
        t.eq(joined(cache:tokens(#root + 1)), joined(tokens))
    end
end)

-- Diverse beam search as the paper says it (Algorithm 1), on logits read out one by one, to the
-- last token; one group is beam search.
local function reference_beams(ids, root, o)
    local groups, width = {}, o.beams // o.groups
    for g = 1, o.groups do groups[g] = {{cache = root, sum = 0}} end
    for _ = 1, o.max_new_tokens do
        local counts = {}
        for g = 1, o.groups do
            local all = {}
            for _, b in ipairs(groups[g]) do
                for id, logprob in pairs(logprobs_in(ids, b.cache)) do
                    local sum = b.sum + logprob
                    local cost = o.diversity * (counts[id] or 0)
                    table.insert(all, {from = b.cache, id = id, sum = sum, key = sum - cost})
                end
            end
            table.sort(all, function(a, b) return a.key > b.key end)
            groups[g] = {}
            for i = 1, math.min(width, #all) do
                groups[g][i] = {cache = all[i].from:extend(all[i].id), sum = all[i].sum}
            end
            for i = 1, #groups[g] do counts[all[i].id] = (counts[all[i].id] or 0) + 1 end
        end
    end
    local all = {}
    for _, group in ipairs(groups) do table.move(group, 1, #group, #all + 1, all) end
    table.sort(all, function(a, b) return a.sum > b.sum end)
    return all
end

t.test("beams and diverse beams are those of the formulas", function()
    local root = model:cache():extend(PROMPT)
    for seed = 1, 10 do
        local ids = world(7, seed)
        ids[7] = ids[7] - 1 -- nothing ends
        local way = seed % 5 + 1
        local o = {beams = ({1, 2, 4, 6, 6})[way], groups = ({1, 2, 2, 3, 6})[way],
            diversity = 0.3 * seed, max_new_tokens = 5}
        if seed <= 5 then o.groups = 1 end
        local want = reference_beams(ids, root, o)
        local _, _, info = strategy(seed <= 5 and "beam" or "diverse_beam")(model, with(o, {
            input = PROMPT, length_penalty = 0.0, sampler = function(l) return l:keep(ids) end}))
        t.eq(#info.beams, #want)
        for i, b in ipairs(info.beams) do
            t.near(b.sum, want[i].sum, 1e-4)
            t.eq(joined(b.tokens), joined(want[i].cache:tokens(#root + 1)))
        end
    end
end)

t.test("one beam is greedy, and sums are the model's scores", function()
    local beam = strategy "beam"
    local o = {input = PROMPT, max_new_tokens = 30, stop_at_eog = true}
    local tokens = beam(model, with(o, {beams = 1}))
    t.eq(joined(tokens), joined((model:generate(o))))
    local root = model:cache():extend(PROMPT)
    local _, _, info = beam(model, with(o, {beams = 5}))
    t.eq(#info.beams, 5)
    local continuations = {}
    for i, b in ipairs(info.beams) do continuations[i] = b.tokens end
    for i, sum in ipairs((model:score(root, continuations))) do
        t.near(info.beams[i].sum, sum, 1e-3)
        t.near(info.beams[i].score, sum / #info.beams[i].tokens, 1e-3)
        t.ok(i == 1 or info.beams[i - 1].score >= info.beams[i].score)
    end
end)

t.test("beams end at stops, and what is told is settled and adds up to the text", function()
    local beam = strategy "beam"
    for _, stop in ipairs {{"."}, {" who", "ed"}, {"\n"}} do
        local told, text = {}, ""
        local tokens, cache, info = beam(model, {
            input = PROMPT, max_new_tokens = 40, beams = 4, stop = stop, stop_at_eog = true,
            logprobs = true,
            on_token = function(id, piece, c)
                told[#told + 1] = id
                text = text .. piece
                t.eq(c:tokens(#c)[1], id)
            end,
        })
        t.eq(joined(told), joined(tokens))
        t.eq(text, info.text)
        t.eq(#info.logprobs, #tokens)
        for _, s in ipairs(stop) do t.ok(not info.text:find(s, 1, true)) end
        t.ok(({stop = true, length = true, eog = true})[info.finish_reason])
        t.eq(joined(cache:tokens(#cache - #tokens + 1)), joined(tokens))
    end
    local n = 0
    local o = {input = PROMPT, max_new_tokens = 40, beams = 3}
    function o.on_token()
        n = n + 1
        return n < 4
    end
    local tokens, _, info = beam(model, o)
    t.eq(#tokens, 4)
    t.eq(info.finish_reason, "callback")
end)

-- ---- formulas ----

t.test("hidden states: products, norms and cosines are those of their numbers", function()
    local cache = model:cache():extend "Once upon a time there was a dog."
    local list = cache:hidden(1, #cache)
    t.eq(#list, #cache)
    local function dot(a, b)
        local sum = 0
        for i = 1, #a do sum = sum + a[i] * b[i] end
        return sum
    end
    for i, h in ipairs(list) do
        t.eq(#h, model:info().n_embd)
        t.near(h:norm(), math.sqrt(dot(h, h)), 1e-9)
        local cosines = h:cosine(list)
        for k, g in ipairs(list) do
            t.near(h:dot(g), dot(h, g), 1e-9)
            t.near(cosines[k], dot(h, g) / math.sqrt(dot(h, h) * dot(g, g)), 1e-9)
        end
    end
    t.eq(cache:hidden():dot(list[#list]), list[#list]:dot(list[#list]))
    t.raises(function() return list[1]:cosine(5) end, "hidden state")
    t.raises(function() return list[1][0] end, "index")
    t.raises(function() return model:cache():hidden() end, "empty")
end)

t.test("contrastive search takes what the formula says", function()
    for _, o in ipairs {{k = 4, alpha = 0.6}, {k = 6, alpha = 0.3}, {k = 2, alpha = 0.9}} do
        local cache = model:cache():extend(PROMPT)
        local want, root = {}, #cache
        for i = 1, 12 do
            local l, ids = cache:logits(), nil
            local most, sum = -math.huge, 0
            for id = 0, V - 1 do most = math.max(most, l[id]) end
            for id = 0, V - 1 do sum = sum + math.exp(l[id] - most) end
            ids = l:top(o.k)
            local best = {score = -math.huge}
            for _, id in ipairs(ids) do
                local tried = cache:extend(id)
                local states, alike = tried:hidden(1, #tried), -math.huge
                local h = states[#tried]
                for k = 1, #tried - 1 do
                    local xy, xx, yy = 0, 0, 0
                    for d = 1, #h do
                        local x, y = h[d], states[k][d]
                        xy, xx, yy = xy + x * y, xx + x * x, yy + y * y
                    end
                    alike = math.max(alike, xy / math.sqrt(xx * yy))
                end
                local score = (1 - o.alpha) * math.exp(l[id] - most) / sum - o.alpha * alike
                if score > best.score then best = {score = score, cache = tried, id = id} end
            end
            want[i], cache = best.id, best.cache
        end
        local before = model:stats()
        local tokens, result = strategy "contrastive_search"(model, with(o, {
            input = PROMPT, max_new_tokens = 12}))
        t.eq(joined(tokens), joined(want))
        t.eq(#result, root + 12)
        t.ok(model:stats().steps - before.steps <= 12 + 3) -- candidates share steps
    end
    local o = {input = PROMPT, max_new_tokens = 20}
    local greedy = joined((model:generate(o)))
    t.eq(joined((strategy "contrastive_search"(model, with(o, {k = 1})))), greedy)
    t.eq(joined((strategy "contrastive_search"(model, with(o, {alpha = 0.0})))), greedy)
end)

t.test("guidance and contrastive decoding take what the formulas say, a step per token", function()
    local root, without = model:cache():extend(PROMPT), model:cache():extend " a dog"
    local function best(score)
        local id, most = nil, -math.huge
        for i = 0, V - 1 do
            local s = score(i)
            if s > most then id, most = i, s end
        end
        return id
    end
    local function walk(choose)
        local a, b, tokens = root, without, {}
        for i = 1, 15 do
            tokens[i] = choose(a:logits(), b:logits())
            a, b = a:extend(tokens[i]), b:extend(tokens[i])
        end
        return tokens
    end
    for _, scale in ipairs {0.5, 1.0, 1.5, 3.0} do
        local want = walk(function(l, u)
            return best(function(id) return u[id] + scale * (l[id] - u[id]) end)
        end)
        root:ready()
        local before = model:stats().steps
        local tokens, _, info = strategy "guidance"(model, {
            cache = root, without = without, scale = scale, max_new_tokens = 15})
        t.eq(joined(tokens), joined(want))
        t.ok(model:stats().steps - before <= 16)
        t.eq(joined(info.beside[1]:tokens(#without + 1)), joined(tokens))
    end
    for _, alpha in ipairs {0.05, 0.1, 0.5} do
        local want = walk(function(e, a)
            local most, zero = -math.huge, 0
            for id = 0, V - 1 do most = math.max(most, e[id]) end
            for id = 0, V - 1 do zero = zero + math.exp(a[id]) end
            return best(function(id)
                if math.exp(e[id] - most) < alpha then return -math.huge end
                return e[id] - (a[id] - math.log(zero))
            end)
        end)
        local before = model:stats().steps
        local tokens = strategy "contrastive_decoding"(model, {
            cache = root, amateur = without, alpha = alpha, max_new_tokens = 15})
        t.eq(joined(tokens), joined(want))
        t.ok(model:stats().steps - before <= 16)
    end
    local tokens = strategy "contrastive_decoding"(model, {
        input = PROMPT, amateur = draft, max_new_tokens = 8})
    t.eq(#tokens, 8)
end)

t.test("minimum Bayes risk, best of n and self-consistency choose what a count chooses", function()
    local o = {input = PROMPT, max_new_tokens = 16, temperature = 1, seed = 5, n = 7}
    local tokens, _, info = strategy "mbr"(model, o)
    local best, most = nil, -1
    for i, a in ipairs(info.samples) do
        local plain = model:generate {
            input = PROMPT, max_new_tokens = 16, temperature = 1, seed = 4 + i}
        t.eq(joined(a.tokens), joined(plain)) -- as each alone
        local mean = 0
        for k, b in ipairs(info.samples) do
            if k ~= i then
                local common, left = 0, table.move(b.tokens, 1, #b.tokens, 1, {})
                for _, id in ipairs(a.tokens) do
                    for place, other in ipairs(left) do
                        if other == id then
                            common = common + 1
                            table.remove(left, place)
                            break
                        end
                    end
                end
                local precision, recall = common / #a.tokens, common / #b.tokens
                mean = mean + (common > 0 and 2 * precision * recall / (precision + recall) or 0)
            end
        end
        t.near(a.utility, mean / 6, 1e-12)
        if mean > most + 1e-12 then best, most = a, mean end
    end
    t.eq(joined(tokens), joined(best.tokens))

    tokens, _, info = strategy "best_of_n"(model, with(o, {logprobs = true}))
    local root = model:cache():extend(PROMPT)
    for i, sample in ipairs(info.samples) do
        t.near(sample.score, (model:score(root, {sample.tokens}))[1] / #sample.tokens, 1e-4)
        t.ok(i == 1 or info.samples[i - 1].score >= sample.score)
    end
    t.eq(joined(tokens), joined(info.samples[1].tokens))
    t.eq(#info.logprobs, #tokens)

    _, _, info = strategy "self_consistency"(model, with(o, {answer = function(text)
        return text:match "%l+"
    end}))
    local votes, top = {}, 0
    for _, sample in ipairs(info.samples) do
        votes[sample.answer] = (votes[sample.answer] or 0) + 1
        top = math.max(top, votes[sample.answer])
    end
    t.eq(info.votes, votes)
    t.eq(votes[info.answer], top)
end)

-- ---- guesses ----

t.test("speculative and prompt-lookup decoding, greedy: the same tokens on 200 prompts", function()
    local speculative, lookup = strategy "speculative", strategy "prompt_lookup"
    local sums, n = {}, 0
    for i, prompt in ipairs(prompts()) do
        local o = {input_ids = prompt_ids(prompt[1]), max_new_tokens = 24, stop_at_eog = true}
        local want, cache, info = model:generate(o)
        for name, tokens, c, extra in (function()
            local a, ca, ia = speculative(model, with(o, {draft = draft, k = 2 + i % 5}))
            local b, cb, ib = lookup(model, o)
            local k, results = 0, {{"speculative", a, ca, ia}, {"lookup", b, cb, ib}}
            return function()
                k = k + 1
                if results[k] then return table.unpack(results[k]) end
            end
        end)() do
            t.eq(joined(tokens), joined(want))
            t.ok(c == cache)
            t.eq(extra.text, info.text)
            t.eq(extra.finish_reason, info.finish_reason)
            local key = name .. ", " .. prompt[2]
            sums[key] = sums[key] or {passes = 0, tokens = 0, accepted = 0, drafted = 0}
            local sum = sums[key]
            sum.passes, sum.tokens = sum.passes + extra.passes, sum.tokens + #tokens
            sum.accepted, sum.drafted = sum.accepted + extra.accepted, sum.drafted + extra.drafted
        end
        n = n + 1
    end
    t.eq(n, 200)
    local keys = {}
    for key in pairs(sums) do keys[#keys + 1] = key end
    table.sort(keys)
    for _, key in ipairs(keys) do
        local sum = sums[key]
        print(("# %-22s %.2f steps per token, %.0f %% of guesses right"):format(
            key, sum.passes / sum.tokens, 100 * sum.accepted / math.max(sum.drafted, 1)))
    end
    t.ok(sums["lookup, extract"].passes <= 0.6 * sums["lookup, extract"].tokens)
end)

t.test("prompt lookup draws what generate draws", function()
    for i, prompt in ipairs(prompts()) do
        if i % 4 == 0 then
            local o = {input_ids = prompt_ids(prompt[1]), max_new_tokens = 20, temperature = 1.1,
                top_k = 50, top_p = 0.9, seed = i, repetition_penalty = i % 8 == 0 and 1.2 or nil}
            t.eq(joined((strategy "prompt_lookup"(model, o))), joined((model:generate(o))))
        end
    end
end)

t.test("speculative decoding, sampled: a chi-square test over 100,000 draws", function()
    -- Two tokens of five, over a target that the draft differs from: the model, tilted.
    local rng, ids, bias = perilune.rng(3), {}, {}
    local root = model:cache():extend(PROMPT)
    local top = root:logits():top(5)
    for i, id in ipairs(top) do ids[i] = id end
    for id = 0, V - 1 do bias[id] = -math.huge end
    for _, id in ipairs(ids) do bias[id] = 0.0 end
    local o = {cache = root, max_new_tokens = 2, temperature = 1.5, logit_bias = bias}
    -- The exact distribution.
    local want, filter = {}, perilune.sampler(o)
    for _, a in ipairs(ids) do
        local p = filter(root:logits(), root):probs()[a]
        local after = root:extend(a)
        local q = filter(after:logits(), after):probs()
        for _, b in ipairs(ids) do want[a << 32 | b] = p * q[b] end
    end
    -- The draft stands behind other words, so that it is often wrong.
    local speculative, other = strategy "speculative", model:cache():extend " a"
    local wrong = setmetatable({
        cache = function() return {extend = function() return other end} end,
        info = function() return model:info() end,
    }, {__index = model})
    local counts, pairs_drawn, accepted, drafted = {}, 50000, 0, 0
    for first = 1, pairs_drawn, 250 do
        local drawn = perilune.map(250, function()
            local tokens, _, info = speculative(model, with(o, {
                draft = wrong, k = 2, rng = rng:fork()}))
            accepted, drafted = accepted + info.accepted, drafted + info.drafted
            return tokens
        end)
        for _, tokens in ipairs(drawn) do
            local key = tokens[1] << 32 | tokens[2]
            counts[key] = (counts[key] or 0) + 1
        end
        if first % 5000 == 1 then collectgarbage() end
    end
    local chi, cells = 0, 0
    for key, p in pairs(want) do
        local expected = p * pairs_drawn
        chi, cells = chi + ((counts[key] or 0) - expected) ^ 2 / expected, cells + 1
    end
    print(("# chi-square %.1f over %d cells; %.0f %% of guesses right"):format(
        chi, cells, 100 * accepted / drafted))
    t.eq(cells, 25)
    t.ok(accepted < 0.95 * drafted and accepted > 0.05 * drafted)
    t.ok(chi < 42.98) -- 24 degrees of freedom, 1 %
end)

-- ---- watermark, tree search ----

t.test("the detector finds the watermark with its key alone", function()
    local watermark, sum = strategy "watermark", 0
    for key = 1, 4 do
        local o = {input = PROMPT, max_new_tokens = 200, temperature = 1, seed = key}
        local marked = watermark(model, with(o, {key = key, delta = 3.0}))
        local plain = model:generate(o)
        local right = watermark.detect(model, marked, {key = key})
        local wrong = watermark.detect(model, marked, {key = key + 100})
        sum = sum + right.z
        t.ok(right.z > 2, "z " .. right.z)
        t.ok(math.abs(wrong.z) < 3.5)
        t.ok(math.abs(watermark.detect(model, plain, {key = key}).z) < 3.5)
        t.near(right.z, (right.green - 0.25 * right.n) / math.sqrt(right.n * 0.25 * 0.75), 1e-12)
    end
    t.ok(sum / 2 > 4, "z " .. sum / 2) -- of all four (Stouffer)
    -- Of the normal distribution's tables.
    local normal = {[0] = 0.5, [1.6448536] = 0.05, [2.3263479] = 0.01, [3.0902323] = 0.001,
        [-1.6448536] = 0.95}
    for z, p in pairs(normal) do
        t.near(watermark.tail(z), p, 2e-7)
    end
end)

t.test("tree search counts every visit, and its result is the best line", function()
    local mcts, values, n = strategy "mcts", {}, 0
    local o = {
        input = PROMPT, max_new_tokens = 16, simulations = 30, leaves = 5, seed = 2,
        stop_at_eog = true,
        reward = function(line)
            n = n + 1
            t.eq(#line.tokens, #line.logprobs)
            local _, dots = line.text:gsub("a", "")
            values[n] = dots / 10
            return values[n]
        end,
    }
    local tokens, cache, info = mcts(model, o)
    t.eq(n, 30)
    t.eq(info.value, math.max(table.unpack(values)))
    local _, dots = cache:text(#cache - #tokens + 1):gsub("a", "")
    t.near(info.value, dots / 10, 1e-12)
    local sum = 0
    for _, value in ipairs(values) do sum = sum + value end
    t.near(info.tree.w, sum, 1e-9)
    t.eq(info.tree.n, 30)
    local function check(node)
        local visits, w = 0, 0
        for _, kid in ipairs(node.kids or {}) do
            visits, w = visits + kid.n, w + kid.w
            check(kid)
        end
        t.ok(visits <= node.n and w <= node.w + 1e-9)
    end
    check(info.tree)
    t.eq(joined((mcts(model, o))), joined(tokens)) -- of its seed
end)

-- ---- together ----

t.test("strategies compose, and say in tasks what they say alone", function()
    local speculative, best_of_n = strategy "speculative", strategy "best_of_n"
    local function nested(m, o)
        return speculative(m, with(o, {draft = draft, k = 3}))
    end
    local function drawn(seed, n, more)
        return with({input = PROMPT, max_new_tokens = n, temperature = 1, seed = seed}, more)
    end
    local function greedy(n, more) return with({input = PROMPT, max_new_tokens = n}, more) end
    local function marked(m, o) return strategy "watermark"(m, with(o, {key = 7})) end
    local ways = {
        function(seed) return best_of_n(model, drawn(seed, 10, {n = 3, decode = nested})) end,
        function() return strategy "beam"(model, greedy(10, {beams = 3})) end,
        function(seed) return strategy "guidance"(model, drawn(seed, 10, {decode = marked})) end,
        function() return strategy "contrastive_search"(model, greedy(8)) end,
        function(seed) return strategy "mcts"(model, drawn(seed, 6, {simulations = 6})) end,
        function() return strategy "prompt_lookup"(model, greedy(10)) end,
        function(seed) return strategy "mbr"(model, drawn(seed, 8, {n = 3})) end,
    }
    local alone = {}
    for i, way in ipairs(ways) do alone[i] = joined((way(i))) end
    local together = perilune.map(#ways * 2, function(i)
        i = (i - 1) % #ways + 1
        return joined((ways[i](i)))
    end)
    for i, tokens in ipairs(together) do t.eq(tokens, alone[(i - 1) % #ways + 1]) end
end)

t.test("strategies fill the holes of templates", function()
    local form = perilune.template [[{{"name": "{name}", "age": {age:max=3}, "city": "{city}"}}]]
    local function chat(text)
        return model:cache():extend(prompt_ids("<|im_start|>user\nExtract as JSON: " .. text
            .. "<|im_end|>\n<|im_start|>assistant\n"))
    end
    local root = chat "Tom is 12 years old and lives in Paris."
    local plain, cache = form:fill(model, {cache = root})
    t.eq(plain, {name = "Tom", age = "12", city = "Paris"})
    -- A scale of 1 is plain; of 0, what the other text says.
    for scale, want in pairs {[1.0] = plain, [0.0] = {name = "Mira", age = "30", city = "Oslo"}} do
        local other = chat "Mira is 30 years old and lives in Oslo."
        local fields, c = form:fill(model, {cache = root, decode = function(m, o)
            local without = other:extend(o.cache:tokens(#root + 1)) -- what stands before the hole
            return strategy "guidance"(m, with(o, {without = without, scale = scale}))
        end})
        t.eq(fields, want)
        t.ok(scale == 0 or c == cache)
    end
    local fields = form:fill(model, {
        cache = root, decode = strategy "best_of_n", n = 3, temperature = 0.5, seed = 1})
    t.eq(fields.name, "Tom")
end)

-- ---- the sink ----

t.test("a sink ends where generate ends", function()
    for seed = 1, 40 do
        local o = {max_new_tokens = 30, temperature = 1, seed = seed, stop_at_eog = seed % 2 == 0,
            stop = ({nil, {"."}, {" a", "ed"}, {"\n"}})[seed % 4 + 1], logprobs = seed % 3 == 0}
        local root = model:cache():extend(PROMPT)
        local want, wanted, info = model:generate(with(o, {cache = root}))
        local all = model:generate {cache = root, max_new_tokens = 30, temperature = 1, seed = seed}
        local cache, heard, text = root, {}, ""
        local out = model:sink(with(o, {k = 3, on_token = function(id, piece)
            heard[#heard + 1], text = id, text .. piece
        end}), root)
        for i = 1, #all, 3 do
            local some = table.move(all, i, math.min(i + 2, #all), 1, {})
            cache = cache:extend(some)
            if out:push(some, seed % 2 == 0 and cache or nil) then break end
        end
        local tokens, result, got = out:finish(cache)
        t.eq(joined(tokens), joined(want))
        t.eq(joined(heard), joined(want))
        t.ok(result == wanted)
        t.eq(got.text, info.text)
        t.eq(text, info.text)
        t.eq(got.finish_reason, info.finish_reason)
        t.eq(got.stop, info.stop)
        t.ok(got.before == info.before)
        for i, logprob in ipairs(info.logprobs or {}) do t.near(got.logprobs[i], logprob, 1e-4) end
    end
end)

t.test("what a sink is not given right is an error, and nothing is lost", function()
    local root = model:cache():extend(PROMPT)
    t.raises(function() model:sink({max_new_tokens = 3}) end, "cache")
    t.raises(function() model:sink({}, root) end, "stop condition")
    t.raises(function() model:sink({max_new_tokens = 3}, model:cache()) end,
        "nothing to continue from")
    local out = model:sink({max_new_tokens = 3}, root)
    t.raises(function() out:push(V) end, tostring(V), tostring(V - 1))
    t.raises(function() out:push(-1) end, "-1")
    t.ok(not out:push(5))
    t.raises(function() out:finish(root:extend {6}) end, "differs")
    out = model:sink({max_new_tokens = 3}, root)
    t.ok(out:push {5, 6, 7, 8})
    t.ok(out:push(9))
    local tokens, cache, info = out:finish()
    t.eq(tokens, {5, 6, 7})
    t.eq(#cache, #root + 3)
    t.eq(info.finish_reason, "length")
    out = model:sink({max_new_tokens = 3, on_token = function() return root end}, root)
    t.raises(function() out:push(5) end, "on_token returned", "false")
    out = model:sink({max_new_tokens = 3, on_token = function() error "no" end}, root)
    t.raises(function() out:push(5) end, "on_token", "no")
    tokens, _, info = model:sink({max_new_tokens = 3}, root):finish()
    t.eq(#tokens, 0)
    t.eq(info.finish_reason, "callback")
end)

t.test("options that a strategy cannot honour are errors that name them", function()
    local cases = {
        {"beam", {temperature = 1}, "temperature"}, {"beam", {beams = 0}, "beams", "0"},
        {"beam", {beams = 5, groups = 2}, "groups"}, {"diverse_beam", {beams = 2.5}, "beams"},
        {"speculative", {}, "draft"}, {"speculative", {draft = model, mirostat = 2}, "mirostat"},
        {"prompt_lookup", {k = "x"}, "k"}, {"contrastive_search", {alpha = "x"}, "alpha"},
        {"contrastive_search", {sampler = print}, "sampler"},
        {"contrastive_decoding", {}, "amateur"}, {"guidance", {beside = {}}, "beside"},
        {"best_of_n", {nn = 3}, "nn"}, {"mcts", {width = -1}, "width"},
        {"watermark", {gammma = 1}, "gammma"}, {"mbr", {n = 0}, "n"},
    }
    for _, case in ipairs(cases) do
        t.raises(function()
            strategy(case[1])(model, with({input = PROMPT, max_new_tokens = 4}, case[2]))
        end, table.unpack(case, 3))
    end
    t.raises(function() strategy "beam"(model, 5) end, "table")
    for _, name in ipairs {"beam", "diverse_beam", "contrastive_search", "prompt_lookup",
        "guidance", "mbr"} do
        local tokens, cache = strategy(name)(model, {input = PROMPT, max_new_tokens = 0})
        t.eq(#tokens, 0, name)
        t.ok(cache == model:cache():extend(PROMPT), name)
        local err = t.raises(function() strategy(name)(model, {max_new_tokens = 3}) end,
            "nothing to continue from")
        t.eq(err.code, "argument", name)
    end
end)

scratch.clean()
t.done()
