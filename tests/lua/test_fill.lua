-- Forced text: healing where it ends, prefixes, and templates with holes.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"
local DEMO = "scripts/demo/demo.gguf"
local STORIES = "models/stories260K.gguf" -- a SentencePiece vocabulary
local model = assert(perilune.load(DEMO))
local rng = perilune.rng(5)

local join = t.join

local function each_model(fn)
    fn(model)
    local stories <close> = assert(perilune.load(t.shared(STORIES)))
    fn(stories)
end

local WORDS = { "Once", " upon", " a", " time", ",", " there", " was", " li", "ttle", "\n", " ",
    "  ", "\"", "{\"name\": \"", "12", "é", " naïve", "日本", "😀", "👩‍👩‍👧", "\xF0\x9F", "\xFF",
    "\0", "Th", "e", " sto", "ry", ".", "...", " don't", "\t", "\r\n", "x" }

local function random_text()
    local parts = {}
    for i = 1, rng:integer(6) do parts[i] = WORDS[rng:integer(#WORDS)] end
    local text = table.concat(parts)
    return text:sub(1, rng:integer(#text)) -- also in the middle of a character
end

-- Control and unknown tokens say nothing; a space that opens a text says nothing either.
local function has_text(m, id)
    return m:decode { id } ~= "" or m:piece(id) == " "
end

-- Of every piece with text, all beginnings that are not all of it.
local function beginnings(m)
    local set = {}
    for id = 0, m:info().vocab_size - 1 do
        local piece = has_text(m, id) and m:piece(id) or ""
        for n = 1, #piece - 1 do set[piece:sub(1, n)] = true end
    end
    return set
end

t.test("healing takes the longest end that is the beginning of a longer piece", function()
    each_model(function(m)
        local set, healed, long, bos = beginnings(m), 0, 0, m:info().tokenizer.bos
        for _ = 1, 1500 do
            local text = random_text()
            local cache = rng:uniform() < 0.2 and m:cache():extend { bos, text }
                or m:cache():extend(text)
            local head, rest = cache:heal()
            local ids, run, joined = cache:tokens(), 0, ""
            for k = 1, #ids - 1 do
                local id = ids[#ids - k + 1]
                if not has_text(m, id) then break end
                joined = m:piece(id) .. joined
                if set[joined] then run = k end
            end
            if rest == "" and run > 0 then -- a leading space alone says nothing
                t.eq(cache:text(), cache:truncate(#cache - run):text())
                run = 0
            end
            t.eq(#head, #cache - run)
            t.eq(head:text() .. rest, cache:text())
            t.ok(head == cache:truncate(#head))
            healed, long = healed + (run > 0 and 1 or 0), long + (run > 1 and 1 or 0)
        end
        t.ok(healed > 250 and long > 10, healed .. " " .. long)
    end)
end)

t.test("nothing is taken of one token, of an empty cache, and of control tokens", function()
    local empty = model:cache()
    local head, rest = empty:heal()
    t.ok(head == empty and rest == "")
    local one = empty:extend(model:encode "a"[1])
    head, rest = one:heal()
    t.ok(head == one and rest == "")
    local control = empty:extend { "Once upon", model:info().tokenizer.eog[1] }
    head, rest = control:heal()
    t.ok(head == control and rest == "")
    t.raises(function() empty.heal() end, "cache")
    local closed = empty:extend "a"
    closed:close()
    t.eq(t.raises(function() closed:heal() end, "closed").code, "closed")
end)

t.test("what was healed is always spelled again, and the text goes on behind it", function()
    each_model(function(m)
        local longer = 0
        for round = 1, 200 do
            local cache = m:cache():extend(random_text())
            local head, rest = cache:heal()
            local pieces = {}
            local tokens, after, info = m:generate { cache = head, prefix = rest,
                max_new_tokens = #rest + 3, seed = round, temperature = round % 3 * 0.6,
                top_k = round % 4 * 10, repetition_penalty = 1 + round % 2 * 0.3,
                on_token = function(_, piece) pieces[#pieces + 1] = piece end }
            t.eq(after:text(), cache:text() .. info.text)
            t.eq(info.before:text(), cache:text() .. info.text)
            t.eq(table.concat(pieces), info.text)
            t.ok(after == head:extend(tokens))
            t.eq(#tokens, #rest + 3)
            local same = after:common_prefix(cache)
            longer = longer + (same < #cache and 1 or 0)
        end
        t.ok(longer > 20, longer) -- other tokens than the text's own
    end)
end)

t.test("a prefix that the model would say anyway changes no token", function()
    each_model(function(m)
        for round = 1, 60 do
            local cache = m:cache():extend(round % 2 == 0 and "Once upon a" or "The")
            local o = { cache = cache, max_new_tokens = 12, logprobs = true, seed = round,
                temperature = round % 3 == 0 and 0.01 or 0 }
            if round % 2 == 1 then o.repetition_penalty = 1.3 end
            local want, _, plain = m:generate(o)
            o.prefix = plain.text:sub(1, rng:integer(#plain.text))
            local got, _, info = m:generate(o)
            t.eq(join(got), join(want))
            t.eq(o.prefix .. info.text, plain.text)
            for i, logprob in ipairs(plain.logprobs) do t.eq(info.logprobs[i], logprob) end
        end
    end)
end)

t.test("each token of a prefix is the most probable of those that lead to its end", function()
    local texts = {}
    for id = 0, model:info().vocab_size - 1 do
        local text = model:decode { id }
        if text ~= "" then texts[id] = text end
    end
    for round = 1, 12 do
        local cache, left = model:cache():extend "There was a", random_text()
        local tokens = model:generate { cache = cache, prefix = left, max_new_tokens = #left }
        for _, id in ipairs(tokens) do
            if left == "" then break end
            local l, best = cache:logits(), nil
            for other, text in pairs(texts) do -- bytes are tokens: whatever is left can be spelled
                local n = math.min(#text, #left)
                if text:sub(1, n) == left:sub(1, n) and (not best or l[other] > l[best]
                    or l[other] == l[best] and other < best) then best = other end
            end
            t.eq(id, best)
            left, cache = left:sub(#texts[id] + 1), cache:extend(id)
        end
    end
end)

t.test("stops are searched behind the prefix, and its tokens count", function()
    local cache = model:cache():extend "Once upon a time"
    local _, _, info = model:generate { cache = cache, prefix = ", there, was", stop = ",",
        max_new_tokens = 30 }
    t.ok(not info.text:find(",", 1, true))
    t.eq(info.before:text(), "Once upon a time, there, was" .. info.text)
    local tokens, after, short = model:generate { cache = cache, prefix = (" so"):rep(20),
        max_new_tokens = 3 }
    t.eq(#tokens, 3)
    t.eq(short.text, "")
    t.eq(short.finish_reason, "length")
    t.eq(after:text(), "Once upon a time" .. (" so"):rep(20):sub(1, #after:text() - 16))
    local eog = model:info().tokenizer.eog[1]
    local all = model:generate { cache = cache, prefix = " so", max_new_tokens = 5,
        stop_at_eog = true, logit_bias = { [eog] = 1000 } }
    t.eq(model:decode(all):sub(1, 3), " so") -- it ends behind the prefix at the earliest
    t.eq(all[#all], eog)
    t.eq(#model:generate { cache = cache, prefix = "", max_new_tokens = 2 }, 2)
    t.raises(function() model:generate { cache = cache, prefix = 5, max_new_tokens = 2 } end,
        "prefix", "5")
    t.raises(function()
        model:generate { cache = cache, prefix = " so", max_new_tokens = 2,
            stop_tokens = model:set(".*"):ids() }
    end, "byte 1 of 3")
end)

t.test("a script's sampler chooses among what spells the prefix, and may leave it", function()
    local cache = model:cache():extend "Once upon a time"
    local seen, o = {}, { cache = cache, prefix = ", there was", max_new_tokens = 12 }
    local want = model:generate(o)
    o.sampler = function(l)
        local n = 0
        for _, x in ipairs { l:top(1000) } do n = #x break end
        seen[#seen + 1] = n
    end
    t.eq(join(model:generate(o)), join(want))
    t.ok(seen[1] < 10 and seen[#seen] > 200)
    o.sampler = function(l, c) return c:logits() end -- not masked: the prefix is not left
    t.eq(join(model:generate(o)), join(want))
    local id, n = model:encode " x"[1], 0
    o.sampler = function()
        n = n + 1
        if n == 2 then return id end
    end
    local tokens, _, info = model:generate(o)
    t.eq(tokens[2], id)
    t.eq(#tokens, 12)
    t.eq(model:decode(tokens):sub(-#info.text), info.text)
    t.ok(info.text:sub(1, #model:piece(id)) == model:piece(id))
    local rewound = false
    o.sampler = function(_, c)
        if #c == #cache + 4 and not rewound then
            rewound = true
            return c:truncate(#cache + 1)
        end
    end
    t.eq(join(model:generate(o)), join(want)) -- rewound into it, it goes on
    t.ok(rewound)
end)

t.test("in tasks, side by side, and in streams, prefixes are spelled as alone", function()
    local cache = model:cache():extend "There was a"
    local function one(seed)
        return join((model:generate { cache = cache, prefix = " little gi", max_new_tokens = 12,
            temperature = 1, seed = seed }))
    end
    for seed, text in ipairs(perilune.map(8, one)) do t.eq(text, one(seed)) end
    local ids, pieces = {}, {}
    local stream = model:stream { cache = cache, prefix = " little gi", max_new_tokens = 12,
        temperature = 1, seed = 3 }
    for id, piece in stream do ids[#ids + 1], pieces[#pieces + 1] = id, piece end
    t.eq(join(ids), one(3))
    t.eq(table.concat(pieces), stream.info.text)
    t.eq(stream.cache:text(), "There was a little gi" .. stream.info.text)
end)

-- ---- templates ----

local EXAMPLES = '{"name": "Tom", "age": 12, "city": "Paris"}\n'
local CARD = '{{"name": "{name}", "age": {age:max=3}, "city": "{city:stop=\'"\'}"}}\n'

t.test("a template's holes are filled, and the cache ends with its text", function()
    for seed = 1, 30 do
        local card, order = perilune.template(CARD), {}
        local fields, cache, info = card:fill(model, { input = EXAMPLES, max_new_tokens = 20,
            temperature = 0.8, seed = seed,
            on_field = function(name, text) order[#order + 1] = name .. "=" .. text end })
        t.eq(card.names, { "name", "age", "city" })
        t.eq(cache:text(), ('%s{"name": "%s", "age": %s, "city": "%s"}\n'):format(EXAMPLES,
            fields.name, fields.age, fields.city))
        t.eq(order, { "name=" .. fields.name, "age=" .. fields.age, "city=" .. fields.city })
        t.ok(not fields.name:find('", "age": ', 1, true) and not fields.city:find '"')
        t.ok(fields.age:sub(-1) ~= ",")
        for name in pairs(fields) do t.ok(info[name].finish_reason) end
        local again = card(model, { input = EXAMPLES, max_new_tokens = 20, temperature = 0.8,
            seed = seed })
        t.eq(again, fields)
    end
end)

t.test("text around holes is kept byte for byte, whatever tokens it ends in", function()
    each_model(function(m)
        for round = 1, 40 do
            local parts, want = {}, {}
            for i = 1, 3 do
                local text = random_text()
                parts[#parts + 1] = text:gsub("[{}]", "%0%0")
                want[#want + 1] = text
                if i < 3 then
                    parts[#parts + 1] = ("{h%d:max=%d}"):format(i, rng:integer(5) - 1)
                    want[#want + 1] = i
                end
            end
            local fields, cache = perilune.template(table.concat(parts)):fill(m,
                { temperature = 0.9, seed = round })
            for i, part in ipairs(want) do
                if type(part) == "number" then want[i] = fields["h" .. part] end
            end
            t.eq(cache:text(), table.concat(want))
        end
    end)
end)

t.test("choices are what select says; values are forced; the rest sees both", function()
    local card = perilune.template "The {animal:choices='dog'|'cat'|'elephant'} is {adjective}."
    local fields, cache, info = card:fill(model, { values = { adjective = "small" } })
    t.eq(cache:text(), ("The %s is small."):format(fields.animal))
    t.eq(info.adjective.finish_reason, "given")
    t.eq(info.animal.finish_reason, "choice")
    local head, rest = model:cache():extend "The ":heal()
    local list = {}
    for i, text in ipairs { "dog", "cat", "elephant" } do list[i] = rest .. text end
    local index, _, logprobs = model:select(head, list)
    t.eq(info.animal.index, index)
    t.eq(info.animal.logprobs, logprobs)
    local given = card:fill(model, { values = { animal = "moon" }, max_new_tokens = 5 })
    t.eq(given.animal, "moon")
    t.ok(given.adjective ~= "")
end)

t.test("options of fill are for every hole, its own come first; decode may stand in", function()
    local card, seen = perilune.template "a{x}b{y:temperature=0.5,max=2,stop='q'|'r'}\nc{z}", {}
    local fields, cache = card:fill(model, { temperature = 0.9, top_p = 0.8, max_new_tokens = 7,
        stop = "!", seed = 4, mine = true,
        decode = function(m, o)
            seen[#seen + 1] = o
            t.eq(m, model)
            t.ok(o.mine)
            local text = "<" .. #seen .. ">"
            local whole = o.cache:extend((o.prefix or "") .. text)
            return {}, whole, { text = text, before = whole, finish_reason = "length" }
        end })
    t.eq(fields, { x = "<1>", y = "<2>", z = "<3>" })
    t.eq(cache:text(), "a<1>b<2>\nc<3>")
    t.eq(seen[1].temperature, 0.9)
    t.eq(seen[2].temperature, 0.5)
    t.eq(seen[1].stop, { "b", "!" })
    t.eq(seen[2].stop, { "q", "r", "!" })
    t.eq(seen[3].stop, { "!" })
    t.ok(seen[1].max_new_tokens >= 7 and seen[2].max_new_tokens <= 3)
    for _, o in ipairs(seen) do t.ok(o.top_p == 0.8 and o.seed == 4 and o.stop_at_eog) end
end)

t.test("what stands in a template is read as it says, and mistakes name their column", function()
    local card = perilune.template "{{a}} {n : stop = '\\n' | \"x\\\"\", max=3} '{m:stop='\n'}'"
    t.eq(card.parts[1], "{a} ")
    t.eq(card.parts[2].options, { stop = { "\n", "x\"" }, max = 3 })
    t.eq(card.parts[4].options, { stop = { "\n" } })
    t.eq(perilune.template "{m:stop='\r\n'}".parts[2].options, { stop = { "\r\n" } })
    t.eq(perilune.template "{a:stop='x',stop='y'}".parts[2].options.stop, { "x", "y" })
    t.eq(perilune.template "{a:stop_at_eog=false,top_k=3}".parts[2].options,
        { stop_at_eog = false, top_k = 3 })
    for text, pieces in pairs {
        ["abc {na-me}"] = { "column 8", "'-'" },
        ["abc\n {name:foo=3}"] = { "line 2, column 8", "foo" },
        ["abc } x"] = { "column 5" }, ["{a:stop='x} y"] = { "column 9", "end" },
        ["{a} {a}"] = { "column 5", "'a'" }, ["{a:stop='\\q'}"] = { "column 9", "escape" },
        ["{a:stop=x}"] = { "column 9", "quotes" }, ["{a:max=x}"] = { "column 8", "number" },
        ["{a:max=-1}"] = { "column 8" }, ["{a:stop=''}"] = { "empty" }, ["{a"] = { "the end" },
        ["{}"] = { "column 2", "name" }, ["{a:max=1,max=2}"] = { "column 10", "twice" },
        ["{1}"] = { "column 2" },
        ["{a:stop=é}"] = { "column 9", "'é'" }, ["{a:stop=\xA9}"] = { "column 9", "'\xA9'" },
    } do
        local err = t.raises(function() perilune.template(text) end, table.unpack(pieces))
        t.eq(err.code, "argument")
        t.ok(tostring(err):find("test_fill.lua", 1, true))
    end
    t.raises(function() perilune.template(5) end, "number")
    for _, bad in ipairs { { foo = 1 }, { prefix = "x" }, { values = { b = "x" } },
        { values = { a = 5 } }, { beside = {} } } do
        t.eq(t.raises(function() perilune.template "x{a:max=1}":fill(model, bad) end, "fill").code,
            "argument")
    end
end)

t.test("templates begin and end with holes, stand behind caches, and run in tasks", function()
    local card = perilune.template "{a:max=4} and {b:max=2}{c:max=3}"
    local fields, cache = card:fill(model, { input = "Once upon a time" })
    t.eq(cache:text(), "Once upon a time" .. fields.a .. " and " .. fields.b .. fields.c)
    local before = model:cache():extend "Once upon a time"
    local again, same = card(model, { cache = before })
    t.eq(again, fields)
    t.ok(same == cache)
    local alone = perilune.template "{a:max=4}"
    t.raises(function() alone(model) end, "test_fill.lua", "nothing to continue from")
    t.eq(alone(model, { values = { a = "x" } }), { a = "x" })
    local many = perilune.map(6, function(seed)
        return (card(model, { cache = before, temperature = 1, seed = seed }))
    end)
    for seed, list in ipairs(many) do
        t.eq(list, (card(model, { cache = before, temperature = 1, seed = seed })))
    end
    local called = perilune.template "no holes {{}}"
    local none, end_ = called(model)
    t.eq(none, {})
    t.eq(end_:text(), "no holes {}")
end)

t.done()
