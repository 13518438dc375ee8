-- Generations: sampling and its options, stops, callbacks, streams. What is expected comes from
-- greedy decoding done by hand with logits, from brute force over texts, and from invariants.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

-- Its weights are floats: deterministic, so that a sequence has the same logits however it came.
local model = assert(perilune.load("scripts/demo/demo.gguf", { deterministic = true }))
local PROMPT = "Once upon a time"

local function slice(list, i, j) return table.move(list, i, j or #list, 1, {}) end
local function joined(a, b) return table.move(b, 1, #b, #a + 1, table.move(a, 1, #a, 1, {})) end

-- Generates as the options say, by stream; returns the same as generate, and the pieces.
local function pull(options)
    local stream, ids, pieces = model:stream(options), {}, {}
    for id, piece in stream do
        ids[#ids + 1], pieces[#pieces + 1] = id, piece
    end
    return ids, stream.cache, stream.info, pieces
end

t.test("temperature 0 is the argmax, token by token", function()
    local cache = model:cache():extend(PROMPT)
    local ids, whole, info = model:generate { input = PROMPT, max_new_tokens = 12, logprobs = true }
    for i, id in ipairs(ids) do
        local l = cache:logits()
        t.eq(id, l:argmax())
        t.near(info.logprobs[i], l:logprob(id), 1e-4)
        cache = cache:extend(id)
    end
    t.ok(cache == whole)
    t.eq(info.finish_reason, "length")
    t.eq(info.seed, nil)
    t.eq(info.stop, nil)
    t.ok(info.before == whole)
    t.eq(info.timings.new_tokens, 12)
    t.eq(info.timings.prompt_tokens, #whole - 12)
    t.ok(info.timings.seconds >= 0 and info.timings.prompt_seconds > 0)
end)

t.test("a stream gives what generate gives", function()
    for _, o in ipairs {
        { max_new_tokens = 30 }, { max_new_tokens = 30, temperature = 1, seed = 3,
            logprobs = true },
        { max_new_tokens = 60, stop = { "the", "." } }, { max_new_tokens = 0 },
            { stop_at_eog = true },
    } do
        o.input = PROMPT
        local a, cache_a, info_a = model:generate(o)
        local b, cache_b, info_b, pieces = pull(o)
        t.eq(b, a)
        t.ok(cache_a == cache_b)
        t.eq(table.concat(pieces), info_a.text)
        info_a.timings, info_b.timings = nil, nil
        t.ok(info_a.before == info_b.before)
        t.eq(info_b, info_a)
    end
end)

t.test("one seed draws alike in one call, in ten, and in halves", function()
    local o = { input = PROMPT, temperature = 1.2, seed = 11, max_new_tokens = 10 }
    local ten, cache10, info = model:generate(o)
    t.eq(info.seed, 11)
    local ones, cache = {}, model:cache():extend(PROMPT)
    for _ = 1, 10 do
        local one
        one, cache = model:generate { cache = cache, temperature = 1.2, seed = 11,
            max_new_tokens = 1 }
        ones[#ones + 1] = one[1]
    end
    t.eq(ones, ten)
    t.ok(cache == cache10)
    local a, half = model:generate { input = PROMPT, temperature = 1.2, seed = 11,
        max_new_tokens = 5 }
    local b = model:generate { cache = half, temperature = 1.2, seed = 11, max_new_tokens = 5 }
    t.eq(joined(a, b), ten)
end)

t.test("without a seed one is drawn, and says itself", function()
    local o = { input = PROMPT, temperature = 2, max_new_tokens = 20 }
    local a, _, info = model:generate(o)
    local b, _, second = model:generate(o)
    t.ok(info.seed ~= second.seed)
    o.seed = info.seed
    t.eq((model:generate(o)), a)
    o.seed = second.seed
    t.eq((model:generate(o)), b)
    o.seed = -1
    t.eq(select(3, model:generate(o)).seed, -1)
end)

t.test("draws follow the softmax", function()
    local l = model:cache():extend(PROMPT):logits()
    local counts, n = {}, 600
    local cache = model:cache():extend(PROMPT):ready()
    for seed = 1, n do
        local id = model:generate({ cache = cache, temperature = 1, seed = seed,
            max_new_tokens = 1 })[1]
        counts[id] = (counts[id] or 0) + 1
    end
    for i, id in ipairs((l:top(3))) do
        local p = math.exp(l:logprob(id))
        -- five standard deviations of a binomial
        t.near((counts[id] or 0) / n, p, 5 * math.sqrt(p * (1 - p) / n) + 1e-9, "rank " .. i)
    end
end)

t.test("top_k, top_p and min_p leave only what they should", function()
    local cache = model:cache():extend(PROMPT):ready()
    local l = cache:logits()
    local function drawn(o)
        local seen = {}
        for seed = 1, 60 do
            o.cache, o.seed, o.max_new_tokens, o.temperature = cache, seed, 1, 3
            seen[model:generate(o)[1]] = true
        end
        return seen
    end
    local ids, logprobs = l:top(#l)
    local rank, before = {}, {}
    local sum = 0
    for i, id in ipairs(ids) do
        rank[id], before[id] = i, sum
        sum = sum + math.exp(logprobs[i])
    end
    for id in pairs(drawn { top_k = 3 }) do t.ok(rank[id] <= 3) end
    for id in pairs(drawn { top_k = 1 }) do t.eq(id, ids[1]) end
    for id in pairs(drawn { top_p = 0.6 }) do t.ok(before[id] < 0.6 + 1e-4) end
    for id in pairs(drawn { min_p = 0.2 }) do
        t.ok(l:logprob(id) >= logprobs[1] + math.log(0.2) - 1e-4) end
    t.eq(drawn { top_p = 1e-30 }, { [ids[1]] = true })
end)

t.test("logit_bias forces and forbids", function()
    local first = model:generate({ input = PROMPT, max_new_tokens = 1 })[1]
    local other = model:generate({ input = PROMPT, max_new_tokens = 1,
        logit_bias = { [first] = -math.huge } })[1]
    t.ok(other ~= first)
    local ids = model:cache():extend(PROMPT):logits():top(2)
    t.eq(other, ids[2])
    t.eq((model:generate { input = PROMPT, max_new_tokens = 3, logit_bias = { [7] = 1000 } }),
        { 7, 7, 7 })
end)

t.test("penalties look at the cache's tokens", function()
    local bias = { [7] = 1000 }
    local o = { input = PROMPT, max_new_tokens = 2, logit_bias = bias, presence_penalty = 3000 }
    local ids = model:generate(o)
    t.eq(ids[1], 7)
    t.ok(ids[2] ~= 7)
    o.penalty_last_n = 0
    t.eq((model:generate(o)), { 7, 7 })
    o.penalty_last_n, o.presence_penalty, o.frequency_penalty = nil, nil, 400
    o.max_new_tokens = 5
    local counted = model:generate(o)
    t.eq(slice(counted, 1, 3), { 7, 7, 7 }) -- 1000, 600, 200, then below the others
    t.ok(counted[4] ~= 7)
    o.frequency_penalty, o.repetition_penalty = nil, 1e6
    o.max_new_tokens = 2
    ids = model:generate(o)
    t.eq(ids[1], 7)
    t.ok(ids[2] ~= 7)
end)

-- ---- stops ----

t.test("a stop string is found wherever it stands, and is not in the text", function()
    local ids, whole, info = model:generate { input = PROMPT, max_new_tokens = 40 }
    local text = info.text
    for from = 2, #text - 6, 5 do
        for length = 1, 6 do
            local stop = text:sub(from, from + length - 1)
            local at = text:find(stop, 1, true)
            local new, cache, i = model:generate { input = PROMPT, max_new_tokens = 40,
                stop = stop }
            t.eq(i.finish_reason, "stop")
            t.eq(i.stop, stop)
            t.eq(i.text, text:sub(1, at - 1))
            t.eq(new, slice(ids, 1, #new))
            t.eq(#cache, #whole - #ids + #new)
            t.ok(model:decode(joined(model:encode(PROMPT), new)):find(stop, #PROMPT + 1, true))
            t.eq(i.before:text(), PROMPT .. i.text)
        end
    end
end)

t.test("no piece of a stream holds text of a stop", function()
    local _, _, info = model:generate { input = PROMPT, max_new_tokens = 40 }
    local stop = info.text:sub(20, 31)
    local _, _, i, pieces = pull { input = PROMPT, max_new_tokens = 40, stop = { "zzz", stop } }
    t.eq(i.stop, stop)
    t.eq(table.concat(pieces), info.text:sub(1, info.text:find(stop, 1, true) - 1))
end)

t.test("pieces are whole UTF-8 characters, whatever is drawn", function()
    local LENGTHS = { [0xC] = 2, [0xD] = 2, [0xE] = 3, [0xF] = 4 } -- by the first four bits
    -- Does the text end inside a character?
    local function is_cut(text)
        for back = 1, math.min(3, #text) do
            local byte = text:byte(-back)
            if byte & 0xC0 ~= 0x80 then return back < (LENGTHS[byte >> 4] or 1) end
        end
        return false
    end
    for seed = 1, 12 do
        local _, _, info, pieces = pull {
            input = PROMPT, max_new_tokens = 60, temperature = 100, seed = seed, stop = "\u{1F600}",
        }
        t.eq(table.concat(pieces), info.text)
        for i = 1, #pieces - 1 do
            local byte = (pieces[i + 1]:byte() or 0)
            t.ok(not (is_cut(pieces[i]) and byte & 0xC0 == 0x80))
        end
    end
end)

t.test("stop tokens and end of generation", function()
    local ids = model:generate { input = PROMPT, max_new_tokens = 12 }
    local at
    for i, id in ipairs(ids) do if id == ids[6] then at = at or i end end
    local new, _, info = model:generate { input = PROMPT, max_new_tokens = 12,
        stop_tokens = { 1, ids[6] } }
    t.eq(new, slice(ids, 1, at))
    t.eq(info.finish_reason, "stop")
    t.eq(info.stop, ids[6])
    t.eq(info.text, model:decode(joined({ 0 }, slice(ids, 1, at - 1))):sub(#model:decode { 0 } + 1))
    local eog = model:info().tokenizer.eog[1]
    new, _, info = model:generate {
        input = PROMPT, max_new_tokens = 5, logit_bias = { [eog] = 1000 }, stop_at_eog = true,
    }
    t.eq(new, { eog })
    t.eq(info.finish_reason, "eog")
    t.eq(info.text, "")
    new = model:generate { input = PROMPT, max_new_tokens = 3, logit_bias = { [eog] = 1000 } }
    t.eq(new, { eog, eog, eog })
end)

t.test("a full context ends a generation", function()
    local small <close> = assert(perilune.load("scripts/demo/demo.gguf", { context = 24 }))
    local new, cache, info = small:generate { input = PROMPT, max_new_tokens = 100 }
    t.eq(info.finish_reason, "context")
    t.eq(#cache, 24)
    t.eq(#new, 24 - #small:cache():extend(PROMPT))
    local none, same, again = small:generate { cache = cache, max_new_tokens = 4 }
    t.eq(none, {})
    t.ok(same == cache)
    t.eq(again.finish_reason, "context")
end)

-- ---- on_token ----

t.test("on_token sees every token, its piece and the cache so far", function()
    local seen, pieces, lengths = {}, {}, {}
    local ids, cache, info = model:generate {
        input = PROMPT, max_new_tokens = 9,
        on_token = function(id, piece, at)
            seen[#seen + 1], pieces[#pieces + 1], lengths[#lengths + 1] = id, piece, #at
            t.eq(at:tokens(-1), { id })
        end,
    }
    t.eq(seen, ids)
    t.eq(table.concat(pieces), info.text)
    t.eq(lengths[#lengths], #cache)
    t.eq((model:generate { input = PROMPT, max_new_tokens = 9 }), ids)
end)

t.test("false from on_token ends the generation", function()
    local n = 0
    local ids, cache, info = model:generate {
        input = PROMPT, max_new_tokens = 50,
        on_token = function()
            n = n + 1
            return n < 4
        end,
    }
    t.eq(#ids, 4)
    t.eq(info.finish_reason, "callback")
    t.eq(cache:tokens(-4), ids)
end)

t.test("a cache from on_token is gone on from", function()
    local forced = model:encode " However,"
    local n = 0
    local ids, cache, info = model:generate {
        input = PROMPT, max_new_tokens = 20, logprobs = true,
        on_token = function(_, _, at)
            n = n + 1
            if n == 3 then return at:extend(forced) end
        end,
    }
    t.eq(#ids, 20)
    t.eq(slice(ids, 4, 3 + #forced), forced)
    t.ok(info.text:find(" However,", 1, true))
    t.ok(info.logprobs[4] ~= info.logprobs[4]) -- NaN: the model was not asked
    local plain = model:generate { cache = cache:truncate(#cache - 20 + 3 + #forced),
        max_new_tokens = 17 - #forced }
    t.eq(slice(ids, 4 + #forced), plain)
end)

t.test("on_token may yield, generate, and collect", function()
    local plain = model:generate { input = PROMPT, max_new_tokens = 6 }
    local thread = coroutine.wrap(function()
        local ids = model:generate {
            input = PROMPT, max_new_tokens = 6,
            on_token = function(id, _, at)
                coroutine.yield(id)
                model:generate { cache = at, max_new_tokens = 2, temperature = 1 }
                collectgarbage()
            end,
        }
        return ids
    end)
    for i = 1, 6 do t.eq(thread(), plain[i]) end
    t.eq(thread(), plain)
end)

t.test("an error in on_token arrives with its cause, the tokens and the cache", function()
    for _, yields in ipairs { false, true } do
        local cause = { "mine" }
        local n = 0
        local thread = coroutine.wrap(function()
            return pcall(model.generate, model, {
                input = PROMPT, max_new_tokens = 9,
                on_token = function()
                    n = n + 1
                    if yields then coroutine.yield() end
                    if n == 3 then error(cause) end
                end,
            })
        end)
        local ok, err
        repeat ok, err = thread() until ok ~= nil
        t.eq(ok, false)
        t.eq(err.code, "callback")
        t.ok(err.cause == cause)
        t.eq(#err.tokens, 3)
        t.eq(err.cache:tokens(-3), err.tokens)
        t.ok(err.traceback:find "test_generate.lua")
        t.eq(#model:generate { cache = err.cache, max_new_tokens = 2 }, 2)
    end
    local err = t.raises(function()
        model:generate { input = PROMPT, max_new_tokens = 9,
            on_token = function() error "broken" end }
    end, "on_token: ", "test_generate.lua", "broken")
    t.ok(tostring(err.cause):find "broken")
    t.raises(function()
        model:generate { input = PROMPT, max_new_tokens = 9, on_token = function() return 5 end }
    end, "on_token returned 5")
end)

t.test("a coroutine that is closed inside on_token leaves nothing open", function()
    local before = model:stats().caches
    for _ = 1, 20 do
        local thread = coroutine.create(function()
            model:generate { input = PROMPT, max_new_tokens = 9, on_token = coroutine.yield }
        end)
        coroutine.resume(thread)
        coroutine.close(thread)
    end
    collectgarbage()
    collectgarbage()
    t.ok(model:stats().caches <= before + 1)
end)

-- ---- streams ----

t.test("a stream is true at any moment, also after a break", function()
    local plain = model:generate { input = PROMPT, max_new_tokens = 8 }
    local stream, n = model:stream { input = PROMPT, max_new_tokens = 8 }, 0
    local start = #stream.cache
    t.eq(stream.tokens, {})
    t.eq(stream.info.text, "")
    t.eq(stream.info.finish_reason, nil)
    for id in stream do
        n = n + 1
        t.eq(stream.tokens, slice(plain, 1, n))
        t.eq(#stream.cache, start + n)
        if n == 5 then break end
    end
    t.eq(stream.tokens, slice(plain, 1, 5))
    t.ok(stream.info.before == stream.cache)
    t.eq((model:generate { cache = stream.cache, max_new_tokens = 3 }), slice(plain, 6))
    for _ in stream do n = n + 1 end -- goes on where it was
    t.eq(n, 8)
    t.eq(stream.tokens, plain)
    t.eq(stream.info.finish_reason, "length")
    t.eq(stream(), nil)
    t.eq(stream(), nil)
    t.eq(stream.nothing, nil)
end)

t.test("assigning stream.cache goes on from there", function()
    local stream = model:stream { input = PROMPT, max_new_tokens = 20 }
    local n, forced = 0, " However,"
    for _ in stream do
        n = n + 1
        if n == 2 then stream.cache = stream.cache .. forced end
    end
    t.eq(#stream.tokens, 20)
    t.ok(stream.info.text:find(forced, 1, true))
    -- elsewhere: new tokens count from its end
    local other = model:cache():extend "The cat"
    stream = model:stream { input = PROMPT, max_new_tokens = 6 }
    stream()
    stream.cache = other
    t.eq(stream.tokens, {})
    local ids = {}
    for id in stream do ids[#ids + 1] = id end
    t.eq(ids, (model:generate { cache = other, max_new_tokens = 6 }))
    t.eq(stream.cache:tokens(), joined(other:tokens(), ids))
end)

t.test("a finished stream goes on when its cache is assigned", function()
    local stream = model:stream { input = PROMPT, max_new_tokens = 4 }
    for _ in stream do end
    t.eq(stream.info.finish_reason, "length")
    local other = model:cache():extend "The cat"
    stream.cache = other
    t.eq(stream.info.finish_reason, nil)
    local n = 0
    for _ in stream do n = n + 1 end
    t.eq(n, 4)
end)

t.test("a stream's cache may be assigned before its first token", function()
    local stream = model:stream { input = PROMPT, max_new_tokens = 4 }
    local other = model:cache():extend "The cat"
    stream.cache = other
    local ids = {}
    for id in stream do ids[#ids + 1] = id end
    t.eq(ids, (model:generate { cache = other, max_new_tokens = 4 }))
end)

t.test("a closed stream keeps what it came to", function()
    local stream = model:stream { input = PROMPT, max_new_tokens = 9 }
    stream()
    stream()
    local tokens, cache = stream.tokens, stream.cache
    stream:close()
    stream:close()
    t.eq(stream(), nil)
    t.eq(stream.tokens, tokens)
    t.ok(stream.cache == cache)
    t.eq(stream.info.finish_reason, "cancelled")
    t.eq(tostring(stream), "stream (closed)")
    t.raises(function() stream.cache = cache end, "closed")
    do
        local scoped <close> = model:stream { input = PROMPT, max_new_tokens = 9 }
        scoped()
        stream = scoped
    end
    t.eq(#stream.tokens, 1)
end)

t.test("streams side by side do not mix", function()
    local prompts, plain, streams, got = { "The cat", "One day", PROMPT }, {}, {}, {}
    for i, prompt in ipairs(prompts) do
        plain[i] = model:generate { input = prompt, max_new_tokens = 10, temperature = 0.8,
            seed = i }
        streams[i] = model:stream { input = prompt, max_new_tokens = 10, temperature = 0.8,
            seed = i }
        got[i] = {}
    end
    for round = 1, 11 do
        for i, stream in ipairs(streams) do
            if (round + i) % 2 == 0 then model:generate { input = "Hello", max_new_tokens = 2 } end
            got[i][#got[i] + 1] = stream()
        end
    end
    t.eq(got, plain)
end)

t.test("on_token of a stream is called as the stream is pulled", function()
    local seen, pulled = {}, {}
    local stream = model:stream {
        input = PROMPT, max_new_tokens = 9,
        on_token = function(id)
            seen[#seen + 1] = id
            return #seen < 3
        end,
    }
    for id in stream do pulled[#pulled + 1] = id end
    t.eq(pulled, seen)
    t.eq(#pulled, 3)
    t.eq(stream.info.finish_reason, "callback")
end)

t.test("greedy decoding gives a trained model's published text", function()
    local path = t.shared "models/stories260K.gguf"
    local file = assert(io.open((t.shared "models/stories260K.greedy.txt")))
    local expected = file:read "a"
    file:close()
    local stories <close> = assert(perilune.load(path))
    local bos = stories:info().tokenizer.bos
    local _, whole, info = stories:generate { input = { bos }, max_new_tokens = 200 }
    t.eq(info.text, expected:sub(1, #info.text))
    t.ok(#info.text >= #expected)
    local pieces, cache = {}, stories:cache():extend(bos)
    for _, piece in stories:stream { cache = cache, max_new_tokens = 200 } do
        pieces[#pieces + 1] = piece end
    t.eq(table.concat(pieces), info.text)
    for _ = 1, 20 do
        local _
        _, cache = stories:generate { cache = cache, max_new_tokens = 10 }
    end
    t.ok(cache == whole)
    t.eq(cache:text(), info.text)
end)

t.done()
