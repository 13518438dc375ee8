-- Banned phrases: what completes one is taken back, and nobody is told of it.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"
local model = assert(perilune.load "scripts/demo/demo.gguf")
local PROMPT = "Once upon a time"
local prompt = model:cache():extend(PROMPT):ready()
local rng = perilune.rng(11)

local join, copy = t.join, t.with

-- Texts of 1 to `most` bytes out of a text.
local function pick(text, n, most)
    local list = {}
    for i = 1, n do
        local at = rng:integer(#text)
        list[i] = text:sub(at, math.min(#text, at + rng:integer(most) - 1))
    end
    return list
end

local function first(text, phrases)
    local begin, which
    for i, phrase in ipairs(phrases) do
        local at = text:find(phrase, 1, true)
        if at and (not begin or at < begin) then begin, which = at, i end
    end
    return begin, which
end

-- The same by hand: a token at a time, from the logits of caches. `o` may have temperature, seed,
-- stop, stop_at_eog, max_new_tokens, repetition_penalty.
local function naive(o, phrases)
    local filter = perilune.sampler(o)
    local tokens, bans, rewinds = {}, {}, 0
    while true do
        local cache = prompt:extend(tokens)
        local banned, id = bans[#tokens] or {}, nil
        if (o.temperature or 0) == 0 then
            id = filter(cache:logits():mask(banned), cache):argmax()
        else -- a draw depends on the seed and the position alone
            id = model:generate { cache = cache, max_new_tokens = 1, temperature = o.temperature,
                seed = o.seed, top_p = o.top_p, repetition_penalty = o.repetition_penalty,
                sampler = function(l) return l:mask(banned) end }[1]
        end
        tokens[#tokens + 1] = id
        local eog = o.stop_at_eog and model:is_eog(id)
        local text = model:decode(tokens)
        local cut = o.stop and first(text, o.stop)
        local visible = cut and text:sub(1, cut - 1) or text
        local begin = first(visible, phrases)
        if begin then
            local i, n = 0, 0 -- the token in which it begins
            repeat
                i = i + 1
                n = #model:decode(table.move(tokens, 1, i, 1, {}))
            until n >= begin
            local at = i - 1
            for k in pairs(bans) do if k > at then bans[k] = nil end end
            bans[at] = bans[at] or {}
            table.insert(bans[at], tokens[i])
            tokens = table.move(tokens, 1, at, 1, {})
            rewinds = rewinds + 1
        elseif eog or cut or #tokens >= o.max_new_tokens then
            return tokens, visible, eog and "eog" or cut and "stop" or "length", rewinds
        end
    end
end

local function check(o, phrases)
    local want, text, reason, rewinds = naive(o, phrases)
    local told, pieces, caches = {}, {}, true
    local tokens, cache, info = model:generate(copy(o, { cache = prompt, banned_phrases = phrases,
        on_token = function(id, piece, c)
            told[#told + 1], pieces[#pieces + 1] = id, piece
            caches = caches and #c == #prompt + #told and c:tokens(-1)[1] == id
        end }))
    t.eq(join(tokens), join(want))
    t.eq(info.text, text)
    t.eq(info.finish_reason, reason)
    t.eq(join(told), join(tokens))
    t.eq(table.concat(pieces), info.text)
    t.ok(caches)
    t.ok(cache == prompt:extend(tokens))
    t.eq(info.before:text(#prompt + 1), info.text)
    for _, phrase in ipairs(phrases) do t.ok(not info.text:find(phrase, 1, true)) end

    -- A stream says the same, and is true at any moment.
    local stream <close> = model:stream(copy(o, { cache = prompt, banned_phrases = phrases }))
    local n, said = 0, ""
    for id, piece in stream do
        n, said = n + 1, said .. piece
        t.eq(id, tokens[n])
        t.eq(#stream.tokens, n)
        t.ok(stream.cache == prompt:extend(table.move(tokens, 1, n, 1, {})))
        t.eq(stream.info.text:sub(1, #said), said)
        t.eq(stream.info.finish_reason ~= nil, n == #tokens)
    end
    t.eq(said, info.text)
    return rewinds
end

t.test("banned phrases never occur; what is said instead is what a loop by hand says", function()
    local rewinds = 0
    for round = 1, 40 do
        local o = { max_new_tokens = 4 + round % 30, seed = round,
            temperature = round % 3 == 0 and 0 or 0.7 + round % 2 * 0.4 }
        if round % 4 == 0 then o.stop_at_eog = true end
        if round % 5 == 0 then o.repetition_penalty = 1.2 end
        local plain = select(3, model:generate(copy(o, { cache = prompt }))).text
        if round % 2 == 0 then o.stop = pick(plain, 2, 4) end
        local phrases = pick(plain, 1 + round % 3, round % 7 == 0 and 1 or 10)
        rewinds = rewinds + check(o, phrases)
    end
    t.ok(rewinds > 100, rewinds)
end)

t.test("a phrase that the last token completes is taken back, too", function()
    local _, _, info = model:generate { cache = prompt, max_new_tokens = 10 }
    local phrase = info.text:sub(-4)
    local tokens, _, other = model:generate { cache = prompt, max_new_tokens = 10,
        banned_phrases = phrase }
    t.eq(#tokens, 10)
    t.ok(not other.text:find(phrase, 1, true))
    t.eq(other.finish_reason, "length")
end)

t.test("it finds phrases that span tokens, in their case, and in new text only", function()
    local _, _, info = model:generate { cache = prompt, max_new_tokens = 30 }
    local word = info.text:match " %l+ %l+ "
    local _, _, same = model:generate { cache = prompt, max_new_tokens = 30,
        banned_phrases = { word:upper(), PROMPT, "time" .. info.text:sub(1, 3) } }
    t.eq(same.text, info.text)
    local _, _, other = model:generate { cache = prompt, max_new_tokens = 30,
        banned_phrases = word }
    t.ok(not other.text:find(word, 1, true))
    local at = info.text:find(word, 1, true)
    t.eq(other.text:sub(1, at - 1), info.text:sub(1, at - 1))
end)

t.test("it goes with a sampler, caches beside, prefixes and log-probabilities", function()
    local beside = model:cache():extend "There was a"
    for seed = 1, 8 do
        local o = { cache = prompt, max_new_tokens = 16, temperature = 0.9, seed = seed,
            beside = { beside }, logprobs = true,
            sampler = function(l, _, u) return u + (l - u) * 1.5 end }
        local _, _, plain = model:generate(o)
        local phrases = pick(plain.text, 3, 6)
        local tokens, cache, info = model:generate(copy(o, { banned_phrases = phrases }))
        for _, phrase in ipairs(phrases) do t.ok(not info.text:find(phrase, 1, true)) end
        t.eq(#tokens, 16)
        t.eq(join(info.beside[1]:tokens(#beside + 1)), join(tokens))
        for i, logprob in ipairs(cache:logprobs(#prompt + 1)) do
            t.near(info.logprobs[i], logprob, 1e-4)
        end
    end
    for seed = 1, 8 do
        local o = { cache = prompt, max_new_tokens = 16, temperature = 0.9, seed = seed,
            prefix = ", there wa" }
        local _, _, plain = model:generate(o)
        local phrases, pieces = pick(plain.text, 2, 5), {}
        local tokens, _, info = model:generate(copy(o, { banned_phrases = phrases,
            on_token = function(_, piece) pieces[#pieces + 1] = piece end }))
        for _, phrase in ipairs(phrases) do t.ok(not info.text:find(phrase, 1, true)) end
        t.eq(model:decode(tokens), o.prefix .. info.text)
        t.eq(table.concat(pieces), info.text)
    end
end)

t.test("with masked tokens, a sampler that insists, and nothing left, it ends with what there is",
    function()
        local ok, err = pcall(model.generate, model, { cache = prompt, max_new_tokens = 8,
            banned_phrases = "a", sampler = function(l) return l:keep { 270, model:id "a" } end })
        t.ok(ok or err.code == "banned")
        local id = model:encode " a"[1]
        err = t.raises(function()
            model:generate { cache = prompt, max_new_tokens = 8, banned_phrases = { " a" },
                sampler = function() return id end }
        end, "position " .. #prompt + 1, "returned " .. id)
        t.eq(err.code, "banned")
        t.eq(#err.tokens, 0)
        t.ok(err.cache == prompt)
        t.ok(tostring(err):find("test_phrases.lua", 1, true))
        err = t.raises(function()
            model:generate { cache = prompt, max_new_tokens = 8, banned_phrases = { " a" },
                sampler = function(l) l:keep { id } end }
        end, "every token")
        t.eq(err.code, "banned")
        err = t.raises(function()
            model:generate { cache = prompt, max_new_tokens = 8, banned_phrases = { " a" },
                banned_tokens = ~model:set { id } }
        end, "every token")
        t.eq(#err.tokens, 0)
        for _, bad in ipairs { 5, true, { "" }, { 5 } } do
            err = t.raises(function()
                model:generate { cache = prompt, max_new_tokens = 2, banned_phrases = bad }
            end, "banned_phrases")
            t.eq(err.code, "argument")
        end
        t.eq(#model:generate { cache = prompt, max_new_tokens = 3, banned_phrases = {} }, 3)
    end)

t.test("callbacks know of certain tokens alone, and may end, rewind and force", function()
    for seed = 1, 12 do
        local o = { cache = prompt, max_new_tokens = 20, temperature = 0.9, seed = seed }
        local _, _, plain = model:generate(o)
        local phrases = pick(plain.text, 3, 8)
        local n, said = 0, ""
        local tokens, cache, info = model:generate(copy(o, { banned_phrases = phrases,
            on_token = function(_, piece)
                n, said = n + 1, said .. piece
                return n < 7
            end }))
        t.eq(#tokens, 7)
        t.eq(info.finish_reason, "callback")
        t.ok(cache == prompt:extend(tokens))
        t.eq(info.text:sub(1, #said), said)

        -- Forced in the middle; behind it, the phrases are still banned.
        n = 0
        tokens, cache, info = model:generate(copy(o, { banned_phrases = phrases,
            on_token = function(_, _, c)
                n = n + 1
                if n == 5 then return c:extend " However," end
                if n == 9 then return c:truncate(#c - 2) end
            end }))
        local _, behind = info.text:find(" However,", 1, true)
        t.ok(behind)
        for _, phrase in ipairs(phrases) do
            local from = 1
            while true do -- none but in what was forced
                local i, j = info.text:find(phrase, from, true)
                if not i then break end
                t.ok(i > behind - 9 and j <= behind, phrase)
                from = i + 1
            end
        end
        t.ok(cache == prompt:extend(tokens))
        t.eq(#tokens, 20)

        -- The sampler rewinds, also into what was told, and forces.
        local told, calls = {}, 0
        tokens, cache, info = model:generate(copy(o, { banned_phrases = phrases,
            on_token = function(_, piece) told[#told + 1] = piece end,
            sampler = function(_, c)
                calls = calls + 1
                if calls % 8 == 0 and calls < 40 and #c > #prompt + 4 then
                    return calls % 16 == 0 and c:truncate(#c - 3) or c:truncate(#c - 1):extend "so"
                end
            end }))
        t.ok(cache == prompt:extend(tokens))
        t.eq(info.before:text(#prompt + 1), info.text)
        for _, phrase in ipairs(phrases) do
            if not ("so"):find(phrase, 1, true) then
                t.ok(not info.text:find(phrase, 1, true), phrase)
            end
        end
    end
end)

t.test("a stream that is closed or sent elsewhere forgets what it held", function()
    local _, _, plain = model:generate { cache = prompt, max_new_tokens = 20 }
    local long = plain.text:sub(2, 40) -- most of it is held
    local stream = model:stream { cache = prompt, max_new_tokens = 20, banned_phrases = { long } }
    stream()
    t.eq(#stream.tokens, 1)
    t.eq(#stream.cache, #prompt + 1)
    stream.cache = stream.cache:extend " and"
    local n = #stream.tokens
    stream()
    t.eq(#stream.tokens, n + 1)
    stream:close()
    t.eq(#stream.tokens, n + 1)
    t.ok(stream.cache == prompt:extend(stream.tokens))
    t.eq(stream.info.finish_reason, "callback")
    t.eq(stream(), nil)
end)

t.test("in tasks, side by side, they say what each says alone", function()
    local function one(seed)
        return join((model:generate { cache = prompt, max_new_tokens = 16, temperature = 1,
            seed = seed, banned_phrases = { " the", " a ", "ed" } }))
    end
    for seed, text in ipairs(perilune.map(6, one)) do t.eq(text, one(seed)) end
end)

t.done()
