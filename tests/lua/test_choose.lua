-- Samplers in Lua, what stands beside a generation, scores and selections.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"
local DEMO = "scripts/demo/demo.gguf"
local model = assert(perilune.load(DEMO))
local PROMPT = "Once upon a time"

local function plain(options)
    options.input, options.stop_at_eog = options.input or PROMPT, true
    return model:generate(options)
end

t.test("a sampler that returns nothing, its logits, or the id chooses what the core would", function()
    for _, o in ipairs { { temperature = 0 }, { temperature = 0.9, top_k = 30, top_p = 0.9, seed = 3 },
        { temperature = 1, repetition_penalty = 1.3, seed = 4 } } do
        local function options(sampler)
            local copy = { max_new_tokens = 30, logprobs = true, sampler = sampler }
            for key, value in pairs(o) do copy[key] = value end
            return copy
        end
        local want, cache, info = plain(options())
        local ways = { function() end, function(l) return l end, function(l) return l:copy() end }
        if o.temperature == 0 then ways[#ways + 1] = function(l) return l:argmax() end end
        for _, way in ipairs(ways) do
            local got, c, i = plain(options(way))
            t.eq(table.concat(got, " "), table.concat(want, " "))
            t.ok(c == cache)
            t.eq(i.text, info.text)
            t.eq(i.finish_reason, info.finish_reason)
            for k, logprob in ipairs(info.logprobs) do t.eq(i.logprobs[k], logprob) end
        end
    end
end)

t.test("what it does to the logits counts, and is not the model's log-probability", function()
    local ban = plain { max_new_tokens = 1 }[1]
    local tokens, _, info = plain { max_new_tokens = 1, logprobs = true, sampler = function(l) l:mask { ban } end }
    t.ok(tokens[1] ~= ban)
    local cache = model:cache():extend(PROMPT)
    t.near(info.logprobs[1], cache:logits():logprob(tokens[1]), 1e-5)
end)

t.test("a sampler may rewind: new tokens are what the cache holds beyond the input", function()
    local rewinds, base = 0, #model:cache():extend(PROMPT)
    local tokens, cache, info = plain { max_new_tokens = 20, sampler = function(l, c)
        if #c == base + 8 and rewinds < 3 then
            rewinds = rewinds + 1
            return c:truncate(#c - 5)
        end
        return l:mask { l:argmax() }
    end }
    t.eq(rewinds, 3)
    t.eq(#cache, base + #tokens)
    t.eq(table.concat(cache:tokens(base + 1), " "), table.concat(tokens, " "))
    t.ok(info.finish_reason == "length" and #tokens == 20 or info.finish_reason == "eog")
end)

t.test("false ends it; max_new_tokens 0 never asks", function()
    local n = 0
    local tokens, _, info = plain { max_new_tokens = 20, sampler = function()
        n = n + 1
        if n == 5 then return false end
    end }
    t.eq(#tokens, 4)
    t.eq(info.finish_reason, "callback")
    tokens = plain { max_new_tokens = 0, sampler = function() error "asked" end }
    t.eq(#tokens, 0)
end)

t.test("errors keep what there was", function()
    local n = 0
    local ok, err = pcall(plain, { max_new_tokens = 20, sampler = function()
        n = n + 1
        if n == 4 then error "no more" end
    end })
    t.ok(not ok)
    t.eq(err.code, "callback")
    t.eq(#err.tokens, 3)
    t.ok(tostring(err):find("no more", 1, true))
    for _, bad in ipairs { "text", -1, 1.5, 10 ^ 6, true } do
        ok, err = pcall(plain, { max_new_tokens = 2, sampler = function() return bad end })
        t.ok(not ok and tostring(err):find("sampler returned", 1, true))
    end
    ok, err = pcall(plain, { max_new_tokens = 2, sampler = 5 })
    t.ok(not ok and tostring(err):find("function", 1, true))
    ok, err = pcall(plain, { max_new_tokens = 2, sampler = function() end, temprature = 1 })
    t.ok(not ok and tostring(err):find("temprature", 1, true))
    local kept
    plain { max_new_tokens = 2, sampler = function(l) kept = l end }
    ok, err = pcall(kept.argmax, kept)
    t.ok(not ok and err.code == "closed")
end)

t.test("caches beside take the same tokens, in the same step", function()
    local beside = model:cache():extend "There was a"
    model:cache():extend(PROMPT):ready()
    beside:ready()
    local seen, before = {}, model:stats().steps
    local tokens, _, info = plain { max_new_tokens = 12, beside = { beside }, sampler = function(l, cache, u)
        seen[#seen + 1] = u:argmax()
        return u + (l - u) * 1.5
    end }
    t.ok(model:stats().steps - before <= #tokens + 3)
    t.eq(#info.beside[1], #beside + #tokens)
    t.eq(table.concat(info.beside[1]:tokens(#beside + 1), " "), table.concat(tokens, " "))
    for i, id in ipairs(seen) do
        t.eq(id, info.beside[1]:truncate(#beside + i - 1):logits():argmax())
    end
    -- By hand: the same formula over caches, one by one.
    local a, b = model:cache():extend(PROMPT), beside
    for i = 1, #tokens do
        local l, u = a:logits(), b:logits()
        local id = (u + (l - u) * 1.5):argmax()
        t.eq(tokens[i], id)
        a, b = a:extend(id), b:extend(id)
    end
end)

t.test("beside follows a rewind, and weight 1 of guidance is plain", function()
    local want = plain { max_new_tokens = 15 }
    local got = plain { max_new_tokens = 15, beside = { model:cache():extend " a" },
        sampler = function(l, _, u) return u + (l - u) * 1 end }
    local same = 0
    for i, id in ipairs(want) do same = same + (got[i] == id and 1 or 0) end
    t.ok(same >= #want - 3) -- a rounding may decide between two
    local gone, beside = false, model:cache():extend "There was a"
    local tokens, _, info = plain { max_new_tokens = 10, beside = { beside }, sampler = function(_, c)
        if #c == 8 and not gone then
            gone = true
            return c:truncate(6):extend "x"
        end
    end }
    t.eq(table.concat(info.beside[1]:tokens(#beside + 1), " "), table.concat(tokens, " "))
end)

t.test("streams with a sampler", function()
    local want, cache = plain { max_new_tokens = 12, temperature = 0.8, seed = 9 }
    local stream <close> = model:stream { input = PROMPT, max_new_tokens = 12, temperature = 0.8, seed = 9, stop_at_eog = true,
        sampler = function() end }
    local got = {}
    for id in stream do got[#got + 1] = id end
    t.eq(table.concat(got, " "), table.concat(want, " "))
    t.ok(stream.cache == cache)
    t.eq(#stream.tokens, #want)
    local other = model:stream { input = PROMPT, max_new_tokens = 12, sampler = function() end }
    other()
    other:close()
    t.eq(#other.tokens, 1)
    t.eq(other.info.finish_reason, "callback")
    t.eq(other(), nil)
end)

t.test("in tasks, side by side, samplers choose as alone", function()
    local function one(seed)
        return plain { max_new_tokens = 12, temperature = 1, seed = seed, beside = { model:cache():extend " a" },
            sampler = function(l, _, u) return l + u end }
    end
    local together = perilune.map(6, function(seed) return table.concat(one(seed), " ") end)
    for seed, text in ipairs(together) do t.eq(text, table.concat(one(seed), " ")) end
end)

t.test("scores are the sums of log-probabilities, and the choices share what stands before them", function()
    local cache = model:cache():extend "The capital of France is":ready()
    local choices = { " Paris.", " Rome.", " a", model:encode " London." }
    local before = model:stats()
    local sums, caches, per_token = model:score(cache, choices)
    t.ok(model:stats().steps - before.steps < #choices) -- one, unless the machine is slow: then prompts come in chunks
    for i, c in ipairs(caches) do
        local logprobs, sum = c:logprobs(#cache + 1, #c), 0
        t.eq(#logprobs, #per_token[i])
        for k, x in ipairs(logprobs) do
            t.near(x, per_token[i][k], 1e-6)
            sum = sum + x
        end
        t.near(sum, sums[i], 1e-5)
    end
    local index, chosen, values = model:select(cache, choices)
    t.eq(index, 1)
    t.ok(chosen == caches[1])
    t.near(values[2], sums[2], 1e-9)
    local _, _, means = model:select(cache, choices, { by = "mean" })
    t.near(means[1], sums[1] / #per_token[1], 1e-9)
    local empty = model:cache():extend "The"
    local _, _, calibrated = model:select(cache, choices, { by = "calibrated", without = empty })
    t.near(calibrated[2], sums[2] - (model:score(empty, choices))[2], 1e-5)
    for _, bad in ipairs { {}, 5, { "" } } do t.ok(not pcall(model.score, model, cache, bad)) end
    t.ok(not pcall(model.select, model, model:cache(), choices))
    t.ok(not pcall(model.select, model, cache, choices, { by = "best" }))
end)

t.done()
