-- The module as a script sees it: models, text, caches as values, logits. The bundled model is the
-- subject; what is expected comes from invariants and from the same thing said another way.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local DEMO = "scripts/demo/demo.gguf"
local model = assert(perilune.load(DEMO, { deterministic = true })) -- its weights are floats
local STORY = "Once upon a time there was a little dog. He liked to run in the park."
local story = model:encode(STORY)

local function slice(list, i, j) return table.move(list, i, j or #list, 1, {}) end
local function joined(...)
    local all = {}
    for _, list in ipairs { ... } do table.move(list, 1, #list, #all + 1, all) end
    return all
end
-- All logits of a userdata, as a list from id 0.
local function row(l)
    local values = {}
    for id = 0, #l - 1 do values[id + 1] = l[id] end
    return values
end

-- ---- models and text ----

t.test("'demo' is the bundled model", function()
    local demo <close> = assert(perilune.load "demo")
    t.eq(demo:info().n_params, model:info().n_params)
    t.eq(demo:encode(STORY), story)
end)

t.test("info says what the file holds", function()
    local info = model:info()
    t.eq(info.arch, "llama")
    t.eq(info.context, info.context_trained)
    t.ok(info.n_params > 0 and info.n_bytes > 0 and info.n_layers > 0 and info.threads > 0)
    t.eq(info.kv_type, "f16")
    t.ok(next(info.weight_types))
    t.ok(model:is_eog(info.tokenizer.eog[1]))
    t.ok(info.vocab_size > 256)
    t.eq(info.n_embd % info.n_heads, 0)
end)

t.test("load options are honoured", function()
    local small <close> = assert(perilune.load(DEMO, {
        context = 64, threads = 1, kv_type = "f32", cache_bytes = 2 ^ 22, mmap = false,
        repack = false, deterministic = true,
    }))
    local info = small:info()
    t.eq(info.context, 64)
    t.eq(info.threads, 1)
    t.eq(info.kv_type, "f32")
    t.eq(info.kv_bytes_per_token, 2 * model:info().kv_bytes_per_token)
    t.ok(small:stats().blocks.limit * small:stats().blocks.bytes <= 2 ^ 22)
    local a = small:generate { input = STORY, max_new_tokens = 5 }
    t.eq(#a, 5)
end)

t.test("progress climbs to 1, and what it raises or refuses ends the loading", function()
    local last, calls = 0, 0
    local m <close> = assert(perilune.load(DEMO, {
        progress = function(f)
            t.ok(f >= last and f <= 1)
            last, calls = f, calls + 1
        end,
    }))
    t.ok(calls > 0)
    t.eq(last, 1.0)
    local mark = {}
    local ok, err = pcall(perilune.load, DEMO, { progress = function() error(mark) end })
    t.ok(not ok and err == mark)
    local none, message, code = perilune.load(DEMO, { progress = function() return false end })
    t.eq(none, nil)
    t.eq(code, "cancelled")
    t.ok(message)
end)

--- A file of metadata alone, as the format is defined: {key, type, value}, ...
local function write_gguf(pairs_of)
    local form = { u32 = "<I4I4", bool = "<I4I1", string = "<I4s8" }
    local number = { u32 = 4, bool = 7, string = 8, strings = 9, i32s = 9 }
    local out = { "GGUF", string.pack("<I4I8I8", 3, 0, #pairs_of) }
    for _, pair in ipairs(pairs_of) do
        local key, kind, value = table.unpack(pair)
        out[#out + 1] = string.pack("<s8", key)
        if form[kind] then
            if kind == "bool" then value = value and 1 or 0 end
            out[#out + 1] = string.pack(form[kind], number[kind], value)
        else
            out[#out + 1] = string.pack("<I4I4I8", 9, kind == "strings" and 8 or 5, #value)
            for _, v in ipairs(value) do
                out[#out + 1] = string.pack(kind == "strings" and "<s8" or "<i4", v)
            end
        end
    end
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(table.concat(out))
    file:close()
    return path
end

t.test("info shows every id of the tokenizer, and encode adds what it wants", function()
    local names = { "<unk>", "<s>", "</s>", "<|im_end|>", "<|fim_pad|>", "<tag>", "a" }
    local function open(more)
        local list = {
            { "general.architecture", "string", "llama" }, { "tokenizer.ggml.model", "string", "llama" },
            { "tokenizer.ggml.tokens", "strings", names },
            { "tokenizer.ggml.token_type", "i32s", { 2, 3, 3, 3, 3, 4, 1 } },
        }
        table.move(more, 1, #more, #list + 1, list)
        local path = write_gguf(list)
        local words = assert(perilune.load(path, { vocab_only = true }))
        os.remove(path)
        return words
    end
    local words <close> = open {}
    local info = words:info().tokenizer
    t.eq(info, {
        model = "llama", pre = "", add_bos = true, add_eos = false, add_sep = false, add_space_prefix = true,
        unk = 0, bos = 1, eos = 2, eot = 3, fim_pad = 4, eog = { 2, 3, 4 },
    })
    t.eq(words:encode("<tag>a", { bos = true, eos = true }), { 1, 5, 6 })
    t.eq(words:encode("</s><tag>", { special = true }), { 2, 5 })

    local other <close> = open {
        { "tokenizer.ggml.add_bos_token", "bool", false }, { "tokenizer.ggml.add_eos_token", "bool", true },
        { "tokenizer.ggml.add_space_prefix", "bool", false }, { "tokenizer.ggml.mask_token_id", "u32", 6 },
        { "tokenizer.ggml.seperator_token_id", "u32", 2 }, { "tokenizer.ggml.padding_token_id", "u32", 7 },
        { "tokenizer.chat_template", "string", "{{ x }}" },
    }
    info = other:info().tokenizer
    t.eq({ info.add_bos, info.add_eos, info.add_space_prefix }, { false, true, false })
    t.eq({ info.mask, info.sep, info.cls, info.pad }, { 6, 2 })
    t.eq(other:info().chat_template, "{{ x }}")
    t.eq(other:encode("a", { bos = true, eos = true }), { 6, 2 })
    t.eq(other:encode("a", { bos = true }), { 6 })
end)

t.test("vocab_only has the tokenizer and nothing to compute with", function()
    local words <close> = assert(perilune.load(DEMO, { vocab_only = true }))
    t.eq(words:encode(STORY), story)
    t.eq(words:decode(story), STORY)
    t.eq(words:info().n_layers, 0)
    t.eq(words:stats().tokens, 0)
    t.raises(function() words:cache() end, "vocab_only")
    t.raises(function() words:generate { input = "a", max_new_tokens = 1 } end, "vocab_only")
    t.raises(function() words:stream { input = "a", max_new_tokens = 1 } end, "vocab_only")
    t.raises(function() words:restore "/nowhere" end, "vocab_only")
end)

t.test("decode undoes encode, for any bytes", function()
    math.randomseed(3)
    for _ = 1, 200 do
        local bytes = {}
        for i = 1, math.random(0, 40) do bytes[i] = string.char(math.random(0, 255)) end
        local text = table.concat(bytes)
        t.eq(model:decode(model:encode(text)), text)
    end
    t.eq(model:decode {}, "")
    t.eq(model:encode "", {})
end)

t.test("text turns into control tokens only when asked", function()
    local id = model:info().tokenizer.eos
    local name = model:piece(id)
    t.eq(model:id(name), id)
    t.eq(model:encode(name, { special = true }), { id })
    for _, got in ipairs(model:encode(name)) do t.ok(got ~= id) end
    for _, got in ipairs(model:cache():extend({ name, name }):tokens()) do t.ok(got ~= id) end
    t.eq(model:decode { id }, "")
    t.eq(model:decode({ id }, { special = true }), name)
    t.eq(model:id "no such token at all", nil)
end)

t.test("pieces concatenate to the text", function()
    local parts = {}
    for i, id in ipairs(story) do parts[i] = model:piece(id) end
    t.eq(table.concat(parts):match "^ ?(.*)$", STORY)
end)

-- ---- promise 1 ----

t.test("generate returns new tokens alone, and the arithmetic holds", function()
    local base = model:cache():extend(slice(story, 1, 7))
    for _, n in ipairs { 0, 1, 2, 33 } do
        local new, cache = model:generate { input = slice(story, 8), cache = base,
            max_new_tokens = n }
        t.eq(#new, n)
        t.eq(#cache, #base + #story - 7 + n)
        t.eq(cache:tokens(), joined(story, new))
        t.eq(#base, 7)
    end
end)

t.test("no input continues from the cache; 5 + 5 is 10", function()
    local ten, cache10 = model:generate { input = STORY, max_new_tokens = 10 }
    local five, cache = model:generate { input = STORY, max_new_tokens = 5 }
    local more, cache5 = model:generate { cache = cache, max_new_tokens = 5 }
    t.eq(joined(five, more), ten)
    t.ok(cache5 == cache10)
    for _, empty in ipairs { "", {} } do
        t.eq((model:generate { cache = cache, input = empty, max_new_tokens = 5 }), more)
    end
end)

t.test("max_new_tokens = 0 only processes the input", function()
    local new, cache, info = model:generate { input = STORY, max_new_tokens = 0 }
    t.eq(new, {})
    t.eq(cache:text(), STORY)
    t.eq(tostring(cache), ("cache (%d tokens)"):format(#cache))
    t.eq(info.finish_reason, "length")
    t.eq(info.text, "")
end)

t.test("nothing and nothing is an empty list and an equal cache", function()
    local new, cache = model:generate { max_new_tokens = 0 }
    t.eq(new, {})
    t.ok(cache == model:cache())
    local again, same = model:generate { cache = cache, input = "", max_new_tokens = 0 }
    t.eq(again, {})
    t.eq(#same, 0)
end)

t.test("the short form says the same as the options", function()
    local a, cache_a = model:generate { input_ids = story, max_new_tokens = 6 }
    local b, cache_b = model:generate(story, 6)
    t.eq(a, b)
    t.ok(cache_a == cache_b)
    local c = model:generate(nil, 3, cache_a)
    local d = model:generate({}, 3, cache_a)
    t.eq(c, d)
    t.eq((model:generate(STORY, 6)), a)
end)

t.test("input as text is text and BOS rules, as parts it is ids and texts", function()
    local bos = model:info().tokenizer.add_bos
    local cache = model:cache():extend(STORY)
    t.eq(#cache, #model:encode(STORY, { bos = true }))
    t.eq(cache:text(), STORY)
    local parts = model:cache():extend { story[1], " and then", story[2] }
    t.eq(parts:tokens(1, 1), { story[1] })
    t.eq(parts:tokens(-1), { story[2] })
    t.ok(parts:text():find(" and then", 1, true))
    t.eq(#model:cache():extend(story) + (bos and 1 or 0), #cache)
end)

-- ---- promises 2 and 3 ----

t.test("generate leaves the cache it was given as it was, and computes nothing twice", function()
    local _, cache = model:generate { input = STORY, max_new_tokens = 4 }
    local tokens, logits = cache:tokens(), row(cache:logits())
    local before = model:stats()
    local a = model:generate { cache = cache, input = " He", max_new_tokens = 3 }
    local b = model:generate { cache = cache, input = " He", max_new_tokens = 3 }
    local after = model:stats()
    t.eq(a, b)
    t.eq(cache:tokens(), tokens)
    t.eq(row(cache:logits()), logits)
    -- at most the last generated token's keys were pending, then input and new tokens, twice
    t.ok(after.tokens - before.tokens <= 1 + 2 * (#model:encode " He" + 3))
end)

t.test("rewinding and forking cost no token", function()
    local cache = model:cache():extend(story):ready()
    local before = model:stats()
    for i = 1, 100 do
        local fork = cache:fork()
        t.ok(fork == cache)
        local back = fork:truncate(#cache - i % 5)
        t.eq(back:tokens(), slice(story, 1, #story - i % 5))
    end
    local after = model:stats()
    t.eq(after.tokens, before.tokens)
    t.eq(after.steps, before.steps)
    t.ok(after.blocks.used <= before.blocks.used)
end)

t.test("a rewound cache goes on as one that was never longer", function()
    local long = model:cache():extend(story):extend " and then something else":ready()
    local back = long:truncate(#story)
    local fresh = model:cache():extend(story)
    t.eq(row(back:logits()), row(fresh:logits()))
    t.eq((model:generate { cache = back, max_new_tokens = 8 }),
         (model:generate { cache = fresh, max_new_tokens = 8 }))
    t.ok(#long > #story)
end)

t.test("extending computes nothing until something asks", function()
    local before = model:stats().steps
    local cache = model:cache()
    for _, id in ipairs(story) do cache = cache:extend(id) end
    t.eq(model:stats().steps, before)
    t.eq(tostring(cache), ("cache (%d tokens, %d pending)"):format(#story, #story))
    t.ok(cache:ready() == cache)
    t.eq(model:stats().steps, before + 1)
    t.eq(tostring(cache), ("cache (%d tokens)"):format(#story))
end)

-- ---- cache methods ----

t.test("positions of tokens and text are those of string.sub", function()
    local cache = model:cache():extend(story)
    local n = #story
    local letters = {} -- position as a character, for string.sub to choose from
    for i = 1, n do letters[i] = string.char(i) end
    letters = table.concat(letters)
    for _, range in ipairs {
        { 1 }, { 2, 3 }, { -3 }, { -3, -2 }, { n }, { n + 1 }, { 0 }, { -n }, { -n - 5, 2 },
        { 5, 4 }, { 3, 0 }, { 1, n + 9 }, { 4, -4 }, { 2, -n - 3 },
    } do
        local expected = {}
        for at in letters:sub(range[1], range[2]):gmatch "." do
            expected[#expected + 1] = story[at:byte()]
        end
        t.eq(cache:tokens(range[1], range[2]), expected)
    end
    t.eq(cache:text(2), model:decode(story):sub(#model:decode { story[1] } + 1))
    t.eq(cache:text(), STORY)
end)

t.test("equality is the same model and tokens", function()
    local a, b = model:cache():extend(story),
        model:cache():extend(slice(story, 1, 3)):extend(slice(story, 4))
    t.ok(a == b)
    t.ok(a ~= a:truncate(3))
    t.ok(a ~= a:extend(story[1]))
    t.ok(a:truncate(#a - 1):extend(story[1]) ~= a)
    local other <close> = assert(perilune.load(DEMO))
    t.ok(other:cache() ~= model:cache())
    t.ok(a ~= 1 and a ~= "x" and a ~= {})
end)

t.test("common_prefix counts, find finds", function()
    local a = model:cache():extend(story)
    t.eq(a:common_prefix(a), #story)
    t.eq(a:common_prefix(a:truncate(5)), 5)
    t.eq(a:truncate(5):extend(story):common_prefix(a), 5 + (story[1] == story[6] and 1 or 0))
    t.eq(model:cache():common_prefix(a), 0)
    for at = 1, #story - 2 do
        local found = a:find(slice(story, at, at + 2))
        t.ok(found <= at)
        t.eq(a:tokens(found, found + 2), slice(story, at, at + 2))
        t.eq(a:find(slice(story, at, at + 2), at), at)
    end
    t.eq(a:find(story), 1)
    t.eq(a:find(story, 2), nil)
    t.eq(a:find(story[#story], -1), #story)
    t.eq(a:find({}, 3), 3)
    t.eq(a:find(joined(story, { 1 })), nil)
    t.eq(model:cache():find { 1 }, nil)
end)

t.test("concatenation extends", function()
    local a = model:cache() .. STORY
    t.ok(a == model:cache():extend(STORY))
    local b = a .. " And" .. " so"
    t.ok(b == a:extend " And so")
    t.eq(#(a .. ""), #a)
    t.raises(function() return "x" .. a end, "cache .. text")
    t.raises(function() return a .. 5 end, "extend(5)")
end)

-- ---- logits ----

t.test("logits of positions are those of the truncated caches", function()
    local cache = model:cache():extend(story)
    local list = cache:logits(3, 6)
    t.eq(#list, 4)
    for i = 3, 6 do t.eq(row(list[i - 2]), row(cache:truncate(i):logits())) end
    t.eq(row(cache:logits(#story)[1]), row(cache:logits()))
    t.eq(row(cache:logits(-1)[1]), row(cache:logits()))
    t.eq(#cache:logits(1), #story)
    t.eq(cache:logits(5, 4), {})
end)

t.test("logits at a cache and after each guess take one pass", function()
    local cache = model:cache():extend(story):ready()
    local before = model:stats().steps
    local list = cache:extend { 1, 2, 3 }:logits(#cache)
    t.eq(#list, 4)
    t.eq(model:stats().steps, before + 1)
end)

t.test("logits of many caches come in one step, each as alone", function()
    local caches = {}
    for i = 1, 5 do caches[i] = model:cache():extend(slice(story, 1, 4)):extend { i, i + 1 } end
    caches[6] = caches[1]
    local before = model:stats().steps
    local many = perilune.logits(caches)
    t.eq(model:stats().steps, before + 1)
    for i = 1, 6 do
        t.eq(row(many[i]), row(model:cache():extend(caches[i]:tokens()):logits()))
    end
    t.eq(perilune.logits {}, {})
end)

t.test("reductions over the vocabulary agree with the same arithmetic in Lua", function()
    local l = model:cache():extend(story):logits()
    local n = #l
    t.eq(n, model:info().vocab_size)
    local best, sum = 0, 0.0
    for id = 1, n - 1 do if l[id] > l[best] then best = id end end
    t.eq(l:argmax(), best)
    for id = 0, n - 1 do sum = sum + math.exp(l[id] - l[best]) end
    local logsumexp = l[best] + math.log(sum)
    local entropy = 0.0
    for id = 0, n - 1 do
        local lp = l[id] - logsumexp
        entropy = entropy - math.exp(lp) * lp
    end
    t.near(l:entropy(), entropy, 1e-4)
    for _, id in ipairs { 0, 1, best, n - 1 } do t.near(l:logprob(id), l[id] - logsumexp, 1e-5) end
    local ids = {}
    for id = 0, n - 1 do ids[id + 1] = id end
    table.sort(ids, function(a, b) return l[a] > l[b] or (l[a] == l[b] and a < b) end)
    local top, logprobs = l:top(50)
    t.eq(top, slice(ids, 1, 50))
    for i, id in ipairs(top) do t.near(logprobs[i], l:logprob(id), 1e-5) end
    t.eq(#l:top(n + 100), n)
    t.eq(l:top(0), {})
    t.eq(l.no_such_field, nil)
end)

t.test("logprobs are those of the logits before each token", function()
    local cache = model:cache():extend(story)
    local list, rows = cache:logprobs(), cache:logits(1)
    t.eq(#list, #story - 1)
    for i = 2, #story do t.near(list[i - 1], rows[i - 1]:logprob(story[i]), 1e-5) end
    t.eq(cache:logprobs(4, 6), slice(list, 3, 5))
    t.eq(cache:logprobs(-2), slice(list, #list - 1))
    t.eq(model:cache():logprobs(), {})
    t.eq(model:cache():extend(5):logprobs(), {})
end)

t.done()
