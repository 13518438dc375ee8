-- Traces: what is recorded, that nothing else changes, the page and the terminal, and replays.
local t = dofile "tests/lua/harness.lua"
local scratch = dofile "tests/lua/scratch.lua"
local chromium = dofile "tests/lua/chromium.lua"
local core = require "perilune.core"
local json = require "perilune.trace.json"
local perilune = require "perilune"
local DEMO = "scripts/demo/demo.gguf"
local PROMPT = "Once upon a time"
local model = assert(perilune.load(DEMO))

-- ---- JSON ----

-- A value of any kind, at most so deep.
local function random_value(rng, depth)
    local kind = rng:integer(depth > 0 and 8 or 6)
    if kind == 1 then return rng:integer(math.mininteger, math.maxinteger) end
    if kind == 2 then return (rng() - 0.5) * 10.0 ^ rng:integer(-300, 300) end
    if kind == 3 then return rng() < 0.5 end
    if kind == 4 then return json.null end
    if kind <= 6 then
        local bytes = {}
        for i = 1, rng:integer(0, 20) do bytes[i] = string.char(rng:integer(0, 255)) end
        return kind == 5 and table.concat(bytes)
            or utf8.char(rng:integer(0, 0xD7FF), rng:integer(0xE000, 0x10FFFF))
    end
    local items = {}
    for i = 1, rng:integer(0, 5) do
        local key = kind == 7 and i or random_value(perilune.rng(rng:integer(10 ^ 9)), 0) .. ""
        items[key] = random_value(rng, depth - 1)
    end
    return items
end

local function random_table(rng)
    local ok, value
    repeat ok, value = pcall(random_value, rng, 4) until ok -- not every value can be a key
    return value
end

t.test("JSON gives back every value, bytes that are no UTF-8 too", function()
    local rng = perilune.rng(1)
    for _ = 1, 3000 do
        local value = random_table(rng)
        local text = json.encode(value)
        t.ok(utf8.len(text))
        local back, message = json.decode(text)
        t.eq(message, nil)
        if type(value) == "number" then t.eq(math.type(back), math.type(value)) end
        t.eq(back, value)
        t.eq(json.encode(back), text)
    end
    for byte = 0, 255 do t.eq(json.decode(json.encode(string.char(byte))), string.char(byte)) end
    t.eq(json.decode(json.encode(math.huge)), math.huge)
    t.eq(json.encode { b = { 1, 2.5, "x\n" }, a = {} }, [[{"a":[],"b":[1,2.5,"x\n"]}]])
    t.eq(json.decode [["\ud83d\ude00\u00e9\/"]], "😀é/")
end)

t.test("JSON is strict: what is no JSON is refused, with the byte", function()
    for _, bad in ipairs { "", "[1,]", '{"a"}', "01", "1.", ".5", "-", "1e", '"\\ud800"',
        '"\\ud800\\u0041"', '"\\udfff"', "[1 2]",
        "nul", '"a', '"\n"', '"\\x"', "1 2", '{"a":1,}', "{1:2}", "[", "tru", "'a'", "[1}", "NaN", '"\xff"' } do
        t.refuses({ json.decode(bad) }, "JSON")
    end
    t.refuses({ json.decode "[1, 2 3]" }, "at byte 7")
    t.refuses({ json.decode(("["):rep(1000)) }, "deeper")
    for _, bad in ipairs { 0 / 0, print, { 1, x = 2 }, { [3] = 1 }, coroutine.create(print) } do
        t.eq(t.raises(function() json.encode(bad) end).code, "argument")
    end
    local loop = {}
    loop[1] = loop
    t.raises(function() json.encode(loop) end, "deeper")
end)

t.test("cut and changed JSON is read or refused, and nothing else", function()
    local rng = perilune.rng(2)
    local text = json.encode { a = { 1, -2.5e10, "é\xff\n", { b = true, c = json.null } }, d = "x" }
    for _ = 1, 5000 do
        local at = rng:integer(#text)
        local value, message = json.decode(text:sub(1, at - 1) .. string.char(rng:integer(0, 255))
            .. text:sub(at + rng:integer(0, 3)))
        t.ok((value == nil) == (message ~= nil))
    end
end)

-- ---- scripts to trace ----

-- Beam search; losing beams are extended and never computed.
local function beam(model, say)
    local root = model:cache():extend(PROMPT)
    local live = { { cache = root, score = 0 } }
    for _ = 1, 12 do
        local grown = {}
        perilune.map(live, function(b)
            local ids, logprobs = b.cache:logits():top(8)
            for k, id in ipairs(ids) do
                grown[#grown + 1] = { from = b.cache, id = id, score = b.score + logprobs[k] }
            end
        end)
        table.sort(grown, function(a, b) return a.score > b.score end)
        live = {}
        for i = 1, 4 do
            grown[i].cache = grown[i].from:extend(grown[i].id)
            live[i] = grown[i]
        end
    end
    for i, b in ipairs(live) do say(i, b.score, b.cache:text()) end
end

-- Monte Carlo tree search (PUCT), four leaves at a time.
local function mcts(model, say)
    local root = { cache = model:cache():extend(PROMPT), n = 0, w = 0 }
    local best = { value = -math.huge }
    local function rank(kid, parent)
        return (kid.n > 0 and kid.w / kid.n or 0) + kid.prior * math.sqrt(parent.n) / (1 + kid.n)
    end
    local function expand(node)
        local ids, logprobs = node.cache:logits():top(4)
        node.kids = {}
        for i, id in ipairs(ids) do
            node.kids[i] = { parent = node, cache = node.cache:extend(id),
                prior = math.exp(logprobs[i]), n = 0, w = 0 }
        end
    end
    local rng = perilune.rng(1)
    for _ = 1, 6 do
        local leaves = {}
        for i = 1, 4 do
            local node = root
            while node.kids do
                node.n = node.n + 1
                local pick = node.kids[1]
                for _, kid in ipairs(node.kids) do
                    if rank(kid, node) > rank(pick, node) then pick = kid end
                end
                node = pick
            end
            node.n, leaves[i] = node.n + 1, node
        end
        perilune.map(leaves, function(node)
            if not node.kids then expand(node) end
            local tokens, cache, info = model:generate { cache = node.cache, max_new_tokens = 8,
                temperature = 1,
                rng = rng:fork(), stop_at_eog = true, logprobs = true }
            local sum = 0
            for _, logprob in ipairs(info.logprobs) do sum = sum + logprob end
            local value = math.exp(sum / #tokens)
            if value > best.value then best = { value = value, cache = cache } end
            while node do node.w, node = node.w + value, node.parent end
        end)
    end
    local path = scratch.temporary()
    assert(best.cache:save(path))
    say(best.value, assert(model:restore(path)):text(#root.cache + 1), rng:integer(1000))
end

local function best_of_n(model, say)
    local prompt = model:cache():extend(PROMPT)
    for _, s in ipairs(perilune.map(8, function(seed)
        local tokens, _, info = model:generate { cache = prompt, max_new_tokens = 20,
            temperature = 0.8, seed = seed,
            stop_at_eog = true, logprobs = true }
        return { #tokens, info.text, info.logprobs[#tokens] }
    end)) do say(table.unpack(s)) end
end

-- Without a seed: what it says differs from run to run.
local function chat(model, say)
    local open, close = model:id "<|im_start|>", model:id "<|im_end|>"
    local cache = model:cache()
    for _, line in ipairs { "Hello!", "Who are you?", "Tell me a story." } do
        local stream = model:stream { input = { open, "user\n" .. line, close, "\n", open,
            "assistant\n" }, cache = cache,
            temperature = 1, max_new_tokens = 20, stop_at_eog = true }
        for id, piece in stream do say(id, piece) end
        cache = stream.cache
        say(stream.info.finish_reason, #stream.tokens, #cache)
        if stream.info.finish_reason ~= "eog" then cache = cache:extend { close } end
        cache = cache .. "\n"
    end
end

-- A sampler that looks at the logits and goes back, another that mixes in those of a cache beside.
local function samplers(model, say)
    local doubt, rewinds = 0, 0
    local tokens, _, info = model:generate { input = PROMPT, max_new_tokens = 20, temperature = 1,
        seed = 7, sampler = function(l, c)
        doubt = l:entropy() > 0.2 and doubt + 1 or 0
        if doubt == 5 and rewinds < 3 then
            doubt, rewinds = 0, rewinds + 1
            return c:truncate(#c - 5)
        end
        return l:temperature(0.5)
    end }
    say(info.text, rewinds, #tokens)
    local seen = {}
    tokens = model:generate { input = PROMPT, max_new_tokens = 6,
        beside = { model:cache():extend " a" }, sampler = function(l, _, u)
        seen[#seen + 1] = u:argmax()
        return u + (l - u) * 1.5
    end, on_token = function(id, piece, cache) say(id, piece, #cache) end }
    say(table.concat(tokens, " "), table.concat(seen, " "))
end

-- Filters, sets, and draws by a generator of the script's own.
local function draws(model, say)
    local filter, rng = perilune.sampler { temperature = 0.9, top_k = 40,
        repetition_penalty = 1.1 }, perilune.rng(7)
    local cache, twin = model:cache():extend(PROMPT), filter:clone()
    for _ = 1, 10 do
        local l = cache:logits()
        say(l:argmax(), l[5], l:copy():temperature(2):entropy(), twin(l:copy(), cache):top(2)[1])
        cache = cache:extend(filter(l, cache):sample(rng))
    end
    local digits = model:set "^%d$"
    say(cache:text(), #digits, (digits | { 5 })[5], rng:state())
    local mixed = cache:logits() + cache:truncate(#cache - 1):logits() * 0.5
    say(mixed:argmax(), mixed:logsumexp(), cache:logits():kl(mixed))
    say(table.concat(model:generate { cache = cache, max_new_tokens = 4,
        banned_tokens = ~digits & ~model:set "e" }, " "))
end

-- Tasks that others cancel, and a generation that its script ends by an error.
local function races(model, say)
    local function length(n)
        return function()
            return #model:generate { input = PROMPT, max_new_tokens = n,
                on_token = function(id) say(n, id) end }
        end
    end
    say(perilune.race { length(30), length(5), length(20) })
    say(table.unpack(perilune.parallel { length(2), length(4), length(3) }))
    local ok, err = pcall(perilune.parallel, { length(8), function()
        model:generate { input = "The", max_new_tokens = 4,
            on_token = function() error "stop all" end }
    end })
    say(ok, err.code, #err.tokens)
end

local SCRIPTS = { draws = draws, races = races, beam = beam, mcts = mcts, best_of_n = best_of_n,
    chat = chat, samplers = samplers }

-- Runs a script, which may say things; everything that it said.
local function run(script, on)
    local said = {}
    script(on, function(...)
        for i = 1, select("#", ...) do said[#said + 1] = tostring((select(i, ...))) end
    end)
    return table.concat(said, "|")
end

-- The same under a trace. A model of its own, closed at once: what is replayed does not need it.
local function record(script)
    local own <close> = assert(perilune.load(DEMO))
    local trace <close> = perilune.trace()
    local said = run(script, own)
    return trace, said
end

-- ---- recording ----

t.test("a trace changes nothing: tokens, texts, endings, callbacks", function()
    local function heard(list)
        return function(id, piece) list[#list + 1] = id .. piece end
    end
    local prefix = model:cache():extend(PROMPT)
    local cases = {
        { max_new_tokens = 20 }, { max_new_tokens = 0 },
        { max_new_tokens = 30, temperature = 1, seed = 5, logprobs = true },
        { max_new_tokens = 30, temperature = 1.2, top_p = 0.9, min_p = 0.02,
            repetition_penalty = 1.2, seed = 6 },
        { stop = { ".", "lived" }, temperature = 0.8, seed = 7, max_new_tokens = 60 },
        { stop = "village", max_new_tokens = 40 },
        { stop_tokens = { 326 }, max_new_tokens = 20 },
        { stop_at_eog = true, max_new_tokens = 60, temperature = 1.5, seed = 8 },
        { max_new_tokens = 10, temperature = 1, mirostat = 2, seed = 9 },
        { max_new_tokens = 12, sampler = function(l) return l:argmax() end },
        { max_new_tokens = 12, sampler = function(l, c)
            if #c > 9 then return false end
            return l:mask { l:argmax() }
        end },
        { max_new_tokens = 12, beside = { model:cache():extend " a" },
            sampler = function(l, _, u) return l + u end },
    }
    local function go(options, base, told)
        local o = { on_token = told and heard(told) or nil }
        for key, value in pairs(options) do o[key] = value end
        o.input, o.cache = not base and PROMPT or nil, base
        local tokens, cache, info = model:generate(o)
        return { table.concat(tokens, " "), table.concat(cache:tokens(), " "), info.text,
            info.finish_reason,
            tostring(info.stop), table.concat(info.before:tokens(), " "), tostring(info.seed),
            table.concat(info.logprobs or {}, " "), told and table.concat(told, "|") }
    end
    for i, options in ipairs(cases) do
        for _, base in ipairs { false, prefix } do
            for _, told in ipairs { true, false } do
                local want = go(options, base or nil, told and {})
                local trace <close> = perilune.trace()
                t.eq(go(options, base or nil, told and {}), want, "case " .. i)
            end
        end
    end
end)

t.test("nor what streams give, what a generator gives, and what on_token decides", function()
    local function go()
        local said = {}
        local function say(...) for _, x in ipairs { ... } do said[#said + 1] = tostring(x) end end
        local rng = perilune.rng(3)
        for _ = 1, 3 do say(table.unpack((model:generate { input = PROMPT, max_new_tokens = 5,
            temperature = 1, rng = rng }))) end
        say(rng:state())
        local stream = model:stream { input = PROMPT, max_new_tokens = 30, temperature = 1,
            seed = 4, stop = "." }
        for id, piece in stream do
            say(id, piece)
            if #stream.tokens == 6 then break end
        end
        stream.cache = stream.cache:truncate(#stream.cache - 2):extend " a dog"
        for id, piece in stream do say(id, piece, #stream.cache) end
        say(stream.info.finish_reason, stream.info.text, #stream.tokens)
        local early = model:stream { input = PROMPT, max_new_tokens = 5 }
        early()
        early:close()
        say(early.info.finish_reason, #early.tokens, early())
        local gone = false
        local tokens, cache = model:generate { input = PROMPT, max_new_tokens = 12,
            on_token = function(_, _, c)
            if #c == 8 and not gone then
                gone = true
                return c:truncate(6):extend " big"
            end
            return #c < 12
        end }
        say(table.concat(tokens, " "), cache:text())
        say(table.unpack((model:generate(model:encode(PROMPT), 4))))
        say(table.unpack((model:generate(nil, 4, cache))))
        say(table.unpack((model:score(cache, { " a", " the" }))))
        say(table.concat(cache:logprobs(), " "))
        local ok, err = pcall(model.generate, model,
            { input = PROMPT, max_new_tokens = 9, on_token = function(id)
            if id == 462 then error "enough" end
        end })
        say(ok, err.code, table.concat(err.tokens, " "), err.cache:text(), err.cause)
        for _, bad in ipairs { { inptu = 1 }, { input = PROMPT, sampler = 5 },
            { input = PROMPT, on_token = 5, max_new_tokens = 1 },
            { input = PROMPT, beside = {}, max_new_tokens = 1 } } do
            say((pcall(model.generate, model, bad)))
        end
        return said
    end
    local want = go()
    local trace <close> = perilune.trace()
    t.eq(go(), want)
end)

t.test("outside of a trace nothing is wrapped; there is one at a time", function()
    local function functions()
        local all = {}
        for _, name in ipairs { "model_methods", "cache_methods", "cache_meta", "logits_methods",
            "logits_meta" } do
            for key, value in pairs(core[name]) do all[name .. "." .. tostring(key)] = value end
        end
        all.logits, all.sampler = core.logits, core.sampler
        all.module_logits, all.module_sampler = perilune.logits, perilune.sampler
        return all
    end
    local before = functions()
    do
        local trace <close> = perilune.trace { alternatives = 2 }
        t.ok(core.model_methods.generate ~= before["model_methods.generate"])
        t.eq(t.raises(perilune.trace, "another one is active").code, "argument")
        local generate = model.generate
        trace:stop()
        trace:stop()
        generate(model, { input = PROMPT, max_new_tokens = 1 })
        t.eq(#trace.nodes, 0)
    end
    t.eq(functions(), before)
    t.raises(function() perilune.trace { alternative = 2 } end, "alternative", "test_trace.lua")
    t.raises(function() perilune.trace { alternatives = 0 } end, "at least 1")
    t.eq(functions(), before)
end)

t.test("a trace may stop while generations are under way, and keeps no model alive", function()
    local function go(stop)
        local stream = model:stream { input = PROMPT, max_new_tokens = 12, temperature = 1,
            seed = 2 }
        local said = {}
        local task = perilune.spawn(function()
            return table.concat(model:generate { input = "The", max_new_tokens = 12,
                on_token = function() end }, " ")
        end)
        for id, piece in stream do
            said[#said + 1] = id .. piece
            if #said == 5 then stop() end
        end
        said[#said + 1] = task:join()
        return said
    end
    local trace = perilune.trace()
    t.eq(go(function() trace:stop() end), go(function() end))
    local nodes = #trace.nodes
    model:generate { input = "No more", max_new_tokens = 2 }
    t.eq(#trace.nodes, nodes)
    t.eq(trace:save(scratch.keep(os.tmpname() .. ".html")), true)

    local other = assert(perilune.load(DEMO, { context = 32 }))
    local kept = setmetatable({ other }, { __mode = "v" })
    local again = perilune.trace()
    other:generate { input = PROMPT, max_new_tokens = 2 }
    again:stop()
    other = nil
    collectgarbage()
    collectgarbage()
    t.eq(kept[1], nil)
    t.ok(again:data())
end)

t.test("probabilities and candidates are the model's own, whatever was done to them", function()
    local trace = perilune.trace { alternatives = 5 }
    local tokens, cache = model:generate { input = PROMPT, max_new_tokens = 15, temperature = 1.5,
        seed = 3, top_k = 50,
        logit_bias = { [462] = 5 } }
    trace:stop()
    local node = trace.models[1].root
    for i, id in ipairs(cache:tokens()) do
        local parent = node
        node = node.by_id[id]
        local sampled = i > #cache - #tokens
        t.eq(node.kind, sampled and "sampled" or "forced")
        if sampled then
            local l = cache:truncate(i - 1):logits()
            local ids, logprobs = l:top(5)
            t.near(node.logprob, l:logprob(id), 1e-6)
            t.eq(parent.next.ids, ids)
            for k, logprob in ipairs(logprobs) do t.near(parent.next.logprobs[k], logprob, 1e-6) end
            t.near(parent.next.entropy, l:entropy(), 1e-6)
        end
    end
    t.eq(#trace.nodes, 1 + #cache)
end)

t.test("all branches are there, with those that nobody computed", function()
    local trace = perilune.trace()
    local root = model:cache():extend(PROMPT)
    local l = root:logits()
    local ids, logprobs = l:top(12)
    for _, id in ipairs(ids) do root:extend(id) end
    local open = model:id "<|im_start|>"
    perilune.logits { root:extend(ids[1]), root .. " was" }
    root:truncate(2):extend { open, "x" }
    trace:stop()
    local node = trace.models[1].root
    for _, id in ipairs(root:tokens()) do node = node.by_id[id] end
    t.eq(#node.next.ids, 12) -- as many as the script asked for
    t.eq(#node.kids, 13 - (node.by_id[model:encode(" was")[1]].kind == "x" and 1 or 0))
    for i, id in ipairs(ids) do
        t.eq(node.by_id[id].logprob, logprobs[i])
        t.eq(node.by_id[id].next ~= nil, i == 1)
    end
    t.eq(trace.models[1].control, { open })
    t.eq(trace.models[1].pieces[open], "<|im_start|>")
end)

-- ---- replays ----

for name, script in pairs(SCRIPTS) do
    t.test("a replay of " .. name .. " says the same, with no model", function()
        local trace, said = record(script)
        local path = scratch.keep(os.tmpname() .. ".json")
        t.eq(trace:save(path), true)
        t.ok(#said > 50)
        -- Without a seed, or where it counts which of several tasks is faster, no run is like
        -- another.
        if name ~= "chat" and name ~= "races" then
            t.eq(said, run(script, model), "without a trace")
        end
        local load = core.load
        core.load = function() error "a model was loaded" end
        local replayed <close> = assert(perilune.replay(path))
        local ok, again = pcall(run, script, replayed)
        core.load = load
        t.ok(ok, tostring(again))
        t.eq(again, said)
    end)
end

t.test("scripts of the manual's patterns and strategies, recorded and replayed", function()
    local paths = {}
    for _, file in ipairs { "03_beam", "12_mcts", "04_best_of_n", "01_chat", "09_rewind",
        "02_however", "05_tree_of_thoughts", "08_guidance", "13_perplexity" } do
        paths[#paths + 1] = t.shared("paper/" .. file .. ".lua")
    end
    for _, file in ipairs { "beam", "diverse_beam", "best_of_n", "self_consistency", "mbr",
        "guidance", "contrastive_decoding", "prompt_lookup", "mcts", "rewind", "select", "fill" } do
        paths[#paths + 1] = "scripts/" .. file .. ".lua"
    end
    for _, path in ipairs(paths) do
        local function script(on, say)
            local module = setmetatable({ load = function() return on end }, { __index = perilune })
            local lines = { "Hello there", "Who are you?" }
            local world = setmetatable({
                print = say, arg = {},
                require = function(name) return name == "perilune" and module or require(name) end,
                io = setmetatable({ write = say,
                    lines = function() return function() return table.remove(lines, 1) end end },
                    { __index = io }),
            }, { __index = _G })
            assert(loadfile(path, "t", world))()
        end
        local trace, said = record(script)
        local saved = scratch.keep(os.tmpname() .. ".json")
        assert(trace:save(saved))
        t.eq(run(script, assert(perilune.replay(saved))), said, path)
    end
end)

-- A recording of a few calls, to be asked in other ways.
local function small()
    local trace <close> = perilune.trace { alternatives = 3 }
    local root = model:cache():extend(PROMPT)
    model:generate { cache = root, max_new_tokens = 4 }
    model:generate { cache = root, max_new_tokens = 4, temperature = 1 }
    pcall(model.generate, model, { cache = root, max_new_tokens = 4,
        on_token = function() error "no" end })
    root:logits()
    trace:stop()
    local path = scratch.keep(os.tmpname() .. ".json")
    assert(trace:save(path))
    return path, root
end

t.test("what was not recorded is an error that says what was asked", function()
    local path, root = small()
    local replayed = assert(perilune.replay(path))
    local cache = replayed:cache():extend(PROMPT)
    t.eq(cache:tokens(), root:tokens())
    for what, ask in pairs {
        ["encode model 1 \"x\""] = function() replayed:encode "x" end,
        ["extend #1 \"x\""] = function() replayed:cache():extend "x" end,
        ["max_new_tokens = 5"] = function() replayed:generate { cache = cache, max_new_tokens = 5 } end,
        ["top #5 4"] = function() cache:logits():top(4) end,
        ["logprob #5 1"] = function() cache:logits():logprob(1) end,
        ["argmax changed #5"] = function() cache:logits():mask { 1 }:argmax() end,
        ["text #5"] = function() cache:text() end,
        ["logits #4"] = function() cache:truncate(3):logits() end,
        ["score"] = function() replayed:score(cache, { " a" }) end,
        ["stats"] = function() replayed:stats() end,
        ["piece 2000"] = function() replayed:piece(2000) end,
    } do
        local err = t.raises(ask, what, "not in the recording", "test_trace.lua")
        t.eq(err.code, "argument")
    end
    local hot = { cache = cache, max_new_tokens = 4, temperature = 1 }
    replayed:generate(hot)
    t.raises(function() replayed:generate(hot) end, "1 times in the recording", "once more")
    -- a value, however often
    for _ = 1, 3 do replayed:generate { cache = cache, max_new_tokens = 4 } end
    local err = t.raises(function()
        replayed:generate { cache = cache, max_new_tokens = 4,
            on_token = function() error "no" end }
    end, "on_token", "no")
    t.eq(err.code, "callback")
    t.eq(#err.tokens, 1)
    t.eq(#err.cache, #cache + 1)
    cache:close()
    t.eq(t.raises(function() cache:tokens() end).code, "closed")
end)

t.test("caches of a replay are values", function()
    local path, root = small()
    local replayed = assert(perilune.replay(path))
    local cache = replayed:cache():extend(PROMPT)
    local tokens, longer = replayed:generate { cache = cache, max_new_tokens = 4 }
    local want = select(2, model:generate { cache = root, max_new_tokens = 4 })
    t.eq(longer:tokens(), want:tokens())
    t.eq(#longer, #cache + #tokens)
    for _, at in ipairs { 1, 3, -1, -3 } do t.eq(longer:tokens(at), want:tokens(at)) end
    t.eq(longer:tokens(2, 3), want:tokens(2, 3))
    t.ok(longer:truncate(#cache) == cache and longer ~= cache and cache:fork() == cache)
    t.eq(longer:common_prefix(cache), #cache)
    t.eq(longer:find(tokens), want:find(tokens))
    t.eq(longer:find({ 5, 5 }), nil)
    t.ok(cache:extend(tokens) == longer and cache:extend(tokens[1]) == longer:truncate(#cache + 1))
    t.eq(cache:ready():logits():argmax(), tokens[1])
    t.eq({ cache:logits():top(2) }, { root:logits():top(2) })
    local file = scratch.temporary()
    t.eq(longer:save(file), true)
    t.ok(replayed:restore(file) == longer)
    t.eq(replayed:info().vocab_size, model:info().vocab_size)
    t.eq(replayed:piece(tokens[1]), model:piece(tokens[1]))
    t.ok(replayed:is_eog(model:info().tokenizer.eog[1]))
end)

t.test("several models, each with a stand-in", function()
    local other <close> = assert(perilune.load(DEMO, { context = 64 }))
    local function script(a, b)
        return a:generate { input = PROMPT, max_new_tokens = 3 }, b:generate { input = "The",
            max_new_tokens = 3 }
    end
    local trace = perilune.trace()
    local said = { script(model, other) }
    trace:stop()
    local path = scratch.keep(os.tmpname() .. ".json")
    assert(trace:save(path))
    local a, b = perilune.replay(path)
    local again = { script(a, b) }
    t.eq(again[1], said[1])
    t.eq(again[2], said[2])
    t.eq(b:info().context, 64)
end)

t.test("files that are no recordings are refused", function()
    t.refuses({ perilune.replay "/nonexistent/x.json" }, "No such file")
    for _, text in ipairs { "", "{", "[]", "5", '{"format":"x"}',
        '{"format":"perilune trace","version":99}' } do
        t.refuses({ perilune.replay(scratch.temporary(text)) }, "a recording")
    end
    local trace = perilune.trace()
    trace:stop()
    t.refuses({ trace:save "/nonexistent/x.json" }, "No such file")
    local old = scratch.write(scratch.keep(os.tmpname() .. ".json"), "old")
    os.execute("mkdir " .. old .. ".part") -- so that it cannot be written
    t.eq((trace:save(old)), nil)
    t.eq(scratch.read(old), "old")
    os.execute("rmdir " .. old .. ".part")
    for _, bad in ipairs { "x.txt", "html", 5 } do
        t.eq(t.raises(function() trace:save(bad) end, ".html or .json").code, "argument")
    end
end)

-- ---- drawings ----

local function leaves(trace)
    local n = 0
    for _, node in ipairs(trace.nodes) do if node.parent and #node.kids == 0 then n = n + 1 end end
    return n
end

-- A trace whose tokens look dangerous.
local HOSTILE = { "</script><script>window.hacked = 1</script>", "<b>bold</b>",
    "<img src=x onerror='window.hacked=1'>",
    "\"'&amp;", "\xff\xfe", "\0\27[31m", "\u{202E}abc", "<!--<script>", "]]>", "\n\n", "\t", " ", "日本語", "", "\\u003c" }
local function hostile()
    local trace <close> = perilune.trace()
    local root = model:cache():extend(PROMPT)
    for i = 1, #HOSTILE do root:extend(100 + i) end
    local ids = root:logits():top(3)
    root:extend(ids[1])
    for i, piece in ipairs(HOSTILE) do trace.models[1].pieces[100 + i] = piece end
    trace.models[1].info = { name = "</title><script>window.hacked=1</script>" }
    return trace
end

t.test("in a terminal: every branch, colours where asked for, and no piece moves the cursor",
    function()
    local trace = record(mcts)
    local path = scratch.temporary()
    local function printed(of, options)
        local file <close> = assert(io.open(path, "wb"))
        of:print(file, options)
        file:close()
        return scratch.read(path)
    end
    local plain = printed(trace)
    t.ok(not plain:find "\27")
    local _, branches = plain:gsub("─ %[after", "")
    t.eq(branches, leaves(trace) - 1)
    t.ok(plain:find(PROMPT, 1, true))
    local coloured = printed(trace, { colour = true })
    t.eq((coloured:gsub("\27%[[%d;]*m", "")), plain)
    local forced = 0
    for _, node in ipairs(trace.nodes) do if node.kind == "forced" then forced = forced + 1 end end
    t.eq(select(2, coloured:gsub("\27%[4m", "")), forced)
    local text = printed(hostile())
    t.ok(not text:find "[\0-\9\11-\31\127]" and utf8.len(text))
    t.ok(text:find("\\x00\\x1b[31m", 1, true) and text:find("\\xff\\xfe", 1, true))
    t.raises(function() trace:print(io.stdout, { color = true }) end, "color", "test_trace.lua")
end)

t.test("scripts/trace.lua draws what another script does", function()
    local program = arg[-1]
    if not program or not program:find "perilune" then t.skip "runs with the program alone" end
    local page = scratch.keep(os.tmpname() .. ".html")
    for out, piece in pairs { [page] = "4 beams", ["-"] = "─ [after " } do
        local command = ("'%s' scripts/trace.lua %s scripts/beam.lua"):format(program, out)
        local pipe <close> = assert(io.popen(command))
        local said = pipe:read "a"
        t.ok(said:find(piece, 1, true), said)
    end
    t.ok(scratch.read(page):find("</html>", 1, true))
end)

-- Opens the page of a trace.
local function visit(browser, trace)
    local path = scratch.keep(os.tmpname() .. ".html")
    assert(trace:save(path))
    browser:visit(path)
end

local function browse(options)
    if not chromium.installed() then
        if os.getenv "CI" == "true" then error "CI=true, and there is no chromium" end
        t.skip "needs chromium, which is not installed"
    end
    return chromium.open(options)
end

for _, name in ipairs { "beam", "mcts" } do
    t.test("the page of " .. name .. " draws every branch; a click shows alternatives", function()
        local trace = record(SCRIPTS[name])
        local browser <close> = browse()
        visit(browser, trace)
        t.eq(browser:eval "document.querySelectorAll('.token').length", #trace.nodes - 1)
        t.eq(browser:eval "document.querySelectorAll('.line').length", leaves(trace))
        t.ok(leaves(trace) > 12)
        -- Each token by itself: where it is, how it looks, and what hangs together.
        local drawn = browser:eval [=[Object.fromEntries(
            [...document.querySelectorAll('.token')].map(b =>
            [b.dataset.node, [b.className, b.textContent, b.title, b.getClientRects().length > 0]]))]=]
        for _, node in ipairs(trace.nodes) do
            if node.parent then
                local class, text, title, seen = table.unpack(drawn[tostring(node.place)])
                local p = node.logprob and math.exp(node.logprob)
                local step = p and (p < 0.05 and 0 or p < 0.2 and 1 or p < 0.5 and 2 or p < 0.9
                    and 3 or 4)
                t.eq(class:match "p(%d)", step and tostring(step))
                t.eq(class:find "forced" ~= nil, node.kind == "forced")
                t.ok(seen and title:find(p and "%%" or "unknown"))
                local piece = trace.models[1].pieces[node.id]
                if utf8.len(piece) then t.eq((text:gsub("·", " "):gsub("↵", "\n")), piece) end
            end
        end
        -- Branches begin at the token that they name.
        local jumps = browser:eval "document.querySelectorAll('.jump').length"
        t.eq(jumps, leaves(trace) - 1)

        local clicked = 0
        for place, node in ipairs(trace.nodes) do
            if node.parent and node.parent.next and clicked < 12 and place % 3 == 0 then
                clicked = clicked + 1
                browser:click(('.token[data-node="%d"]'):format(place))
                local rows = browser:eval [[
                    [...document.querySelectorAll('#panel .alternatives li')].map(r =>
                    [+r.dataset.id, r.className, r.querySelector('.percent').textContent])]]
                local next, marked = node.parent.next, 0
                for i, id in ipairs(next.ids) do
                    t.eq(rows[i][1], id)
                    local percent = 100 * math.exp(next.logprobs[i])
                    if percent >= 0.0001 then
                        t.near(tonumber(rows[i][3]:match "^[%d.]+"), percent,
                            percent * 0.05 + 0.05 * (percent >= 10 and 1 or 0))
                    end
                end
                for _, row in ipairs(rows) do
                    if row[2] == "is-chosen" then
                        marked = marked + 1
                        t.eq(row[1], node.id)
                    end
                end
                t.eq(marked, 1)
                t.eq(browser:eval "document.querySelectorAll('.token.chosen').length", 1)
            end
        end
        t.eq(clicked, 12)
        t.eq(browser.logged, {})
    end)
end

t.test("by the keyboard: arrows go from token to token, Enter opens one", function()
    local browser <close> = browse()
    visit(browser, (record(beam)))
    browser:eval "document.querySelector('.token').focus()"
    for _ = 1, 5 do browser:press "ArrowRight" end
    browser:press "ArrowLeft"
    local at = browser:eval [=[[...document.querySelectorAll('.token')]
        .indexOf(document.activeElement)]=]
    t.eq(at, 4)
    browser:press("Enter", "\r")
    t.ok(browser:eval "document.activeElement.classList.contains('chosen')")
    t.ok(browser:eval "document.querySelectorAll('#panel .alternatives li').length" >= 8)
    browser:click "#panel button.tag" -- to another branch
    t.ok(browser:eval "document.querySelector('.token.chosen') === document.activeElement")
    browser:click ".jump"
    t.ok(browser:eval "document.activeElement.classList.contains('token')")
    t.eq(browser.logged, {})
end)

t.test("pieces are shown, whatever they are, and never run; nothing is loaded", function()
    local browser <close> = browse { dark = true }
    local trace = hostile()
    visit(browser, trace)
    t.eq(browser:eval "window.hacked === undefined", true)
    t.eq(browser:eval "document.scripts.length", 2)
    t.eq(browser:eval "document.querySelectorAll('b, img').length", 0)
    t.eq(browser:eval "document.querySelectorAll('.token').length", #trace.nodes - 1)
    t.ok(browser:eval("document.getElementById('facts').textContent"):find("</title><script>", 1,
        true))
    local shown = browser:eval [=[[...document.querySelectorAll('.token')]
        .map(b => b.textContent).join('|')]=]
    for _, piece in ipairs { HOSTILE[2], HOSTILE[4], HOSTILE[8], HOSTILE[9], HOSTILE[13],
        HOSTILE[15], "\\xff\\xfe", "\\x00\\x1b[31m",
        "U+202Eabc", "↵↵", "→" } do
        t.ok(shown:find(piece, 1, true), piece)
    end
    t.ok(shown:find(HOSTILE[1]:gsub(" ", "·"), 1, true))
    t.eq(browser.logged, {})
end)

scratch.clean()
t.done()
