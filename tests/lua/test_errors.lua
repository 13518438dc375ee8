-- Bad input: every error names the argument, what it was and what is allowed, and the caches are as
-- usable after it as before.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local DEMO = "scripts/demo/demo.gguf"
local model = assert(perilune.load(DEMO, { deterministic = true }))
local cache = model:cache():extend "Once upon a time"
local vocab = model:info().vocab_size
local last = ("from 0 to %d"):format(vocab - 1)
local NAN, INF = 0 / 0, math.huge
local expected = model:generate { cache = cache, max_new_tokens = 5 }

-- An option of generate and of stream that is refused, with pieces of the message.
local function refused(options, ...)
    local err
    for _, method in ipairs { "generate", "stream" } do
        local o = { cache = cache, max_new_tokens = 2 }
        for key, value in pairs(options) do o[key] = value end
        err = t.raises(function() model[method](model, o) end, ...)
        t.eq(err.code, "argument")
    end
    return err
end

t.test("an unknown option is named, with those that exist", function()
    refused({ temprature = 1 }, "unknown option 'temprature'", "temperature", "max_new_tokens")
    refused({ [1] = "text" }, "unknown option 1", "input")
    refused({ [true] = 1 }, "unknown option true")
    t.raises(function() perilune.load(DEMO, { contxt = 1 }) end, "load: unknown option 'contxt'",
        "context")
    t.raises(function() model:encode("a", { boss = true }) end, "unknown option 'boss'",
        "special, bos")
    t.raises(function() model:decode({ 1 }, { x = true }) end, "unknown option 'x'")
    t.raises(function() model:restore("x", { x = true }) end, "unknown option 'x'", "recompute")
end)

t.test("numbers out of their range are refused", function()
    refused({ temperature = -1 }, "'temperature' is -1", "at least 0")
    refused({ temperature = NAN }, "'temperature' is NaN", "at least 0")
    refused({ temperature = INF }, "'temperature'", "at least 0")
    refused({ temperature = "hot" }, "'temperature' is 'hot'")
    refused({ top_k = -1 }, "'top_k' is -1", "at least 0")
    refused({ top_k = 1.5 }, "'top_k' is 1.5", "whole number")
    refused({ top_p = 0 }, "'top_p' is 0", "above 0")
    refused({ top_p = 1.01 }, "'top_p' is 1.01", "up to 1")
    refused({ top_p = NAN }, "'top_p' is NaN")
    refused({ min_p = -0.1 }, "'min_p' is -0.1", "from 0 to 1")
    refused({ min_p = 2 }, "'min_p' is 2")
    refused({ repetition_penalty = 0 }, "'repetition_penalty' is 0")
    refused({ repetition_penalty = NAN }, "'repetition_penalty' is NaN")
    refused({ presence_penalty = INF }, "'presence_penalty'", "finite")
    refused({ frequency_penalty = {} }, "'frequency_penalty' is a table", "finite")
    refused({ penalty_last_n = -1 }, "'penalty_last_n' is -1")
    refused({ max_new_tokens = -1 }, "'max_new_tokens' is -1", "at least 0")
    refused({ max_new_tokens = 2.5 }, "'max_new_tokens' is 2.5", "whole number")
    refused({ max_new_tokens = INF }, "'max_new_tokens'", "whole number")
    refused({ max_new_tokens = "many" }, "'max_new_tokens' is 'many'")
    refused({ seed = 0.5 }, "'seed' is 0.5", "whole number")
    refused({ logit_bias = { [vocab] = 1 } }, "'logit_bias' has the key " .. vocab, last)
    refused({ logit_bias = { x = 1 } }, "'logit_bias' has the key 'x'", last)
    refused({ logit_bias = { [1] = NAN } }, "'logit_bias' gives token 1 NaN")
    refused({ logit_bias = { [1] = INF } }, "'logit_bias' gives token 1")
    refused({ logit_bias = { [1] = "x" } }, "'logit_bias' gives token 1 'x'")
    refused({ logit_bias = 3 }, "'logit_bias' is 3")
    -- whole floats are whole numbers, as everywhere in Lua
    t.eq(#model:generate { cache = cache, max_new_tokens = 2.0, top_k = 5.0 }, 2)
end)

t.test("options of the wrong type are refused", function()
    refused({ stop = { "" } }, "'stop' has '' at 1", "not empty")
    refused({ stop = "" }, "'stop'", "not empty")
    refused({ stop = { "a", 5 } }, "'stop' has 5 at 2")
    refused({ stop = true }, "'stop' is true")
    refused({ stop_tokens = { 1, vocab } }, "stop_tokens[2] is " .. vocab, last)
    refused({ stop_tokens = "x" }, "stop_tokens is 'x'")
    refused({ stop_at_eog = 1 }, "'stop_at_eog' is 1", "true or false")
    refused({ logprobs = "yes" }, "'logprobs' is 'yes'", "true or false")
    refused({ on_token = {} }, "'on_token' is a table", "function")
    refused({ cache = 5 }, "'cache' is 5", "a cache")
    refused({ cache = model }, "'cache' is a model", "a cache")
    refused({ input = "a", input_ids = { 1 } }, "input", "input_ids", "one of them")
end)

t.test("token ids are checked against the vocabulary, and their place is named", function()
    refused({ input_ids = { 1, 2, vocab } }, "input_ids[3] is " .. vocab, last)
    refused({ input_ids = { -1 } }, "input_ids[1] is -1", last)
    refused({ input_ids = { 1.5 } }, "input_ids[1] is 1.5", last)
    refused({ input_ids = { NAN } }, "input_ids[1] is NaN", last)
    refused({ input_ids = { 2 ^ 40 } }, "input_ids[1]", last)
    refused({ input_ids = { "text" } }, "input_ids[1] is 'text'", "a token id")
    refused({ input_ids = "text" }, "input_ids is 'text'")
    refused({ input = { 1, {} } }, "input[2] is a table", "a token id or a text")
    refused({ input = { 1, true } }, "input[2] is true")
    refused({ input = true }, "input is true")
    refused({ input = cache }, "input is a cache")
    for _, f in ipairs {
        function(x) return cache:extend(x) end, function(x) return cache:extend { 1, x } end,
        function(x) return model:decode { 1, x } end, function(x) return model:piece(x) end,
        function(x) return model:is_eog(x) end, function(x) return cache:find(x) end,
        function(x) return cache:logits():logprob(x) end, function(x) return cache:logits()[x] end,
    } do
        t.raises(function() f(vocab) end, tostring(vocab), last)
        t.raises(function() f(-1) end, "-1", last)
        t.raises(function() f(0.5) end, "0.5")
    end
    t.ok(cache:extend { 1.0, 2.0 } == cache:extend { 1, 2 })
end)

t.test("the edges of promise 1 that are errors", function()
    t.eq(t.raises(function() model:generate { max_new_tokens = 1 } end,
        "nothing to continue from").code, "argument")
    t.raises(function() model:generate { input = "", max_new_tokens = 1 } end,
        "nothing to continue from")
    t.raises(function() model:generate { input = "a" } end, "max_new_tokens", "stop")
    t.raises(function() model:generate() end, "options")
    t.raises(function() model:generate({ 1 }) end, "unknown option 1")
end)

t.test("a cache is not longer than the context", function()
    local small <close> = assert(perilune.load(DEMO, { context = 8 }))
    local c = small:cache():extend { 1, 2, 3, 4, 5, 6 }
    local err = t.raises(function() c:extend { 1, 2, 3 } end, "8")
    t.eq(err.code, "context")
    err = t.raises(function() small:generate { cache = c, input = { 1, 2, 3 },
        max_new_tokens = 1 } end, "8")
    t.eq(err.code, "context")
    t.eq(#small:generate { cache = c, max_new_tokens = 9 }, 2)
end)

t.test("a full pool says so, and what stands is usable", function()
    local small <close> = assert(perilune.load(DEMO,
        { cache_bytes = 3 * 32 * model:info().kv_bytes_per_token }))
    t.eq(small:stats().blocks.limit, 3)
    local keep = {}
    for i = 1, 3 do keep[i] = small:cache():extend { i, i, i }:ready() end
    local err = t.raises(function() small:cache():extend { 9, 9 }:ready() end, "cache_bytes")
    t.eq(err.code, "pool")
    local more <const> = small:generate { cache = keep[1], max_new_tokens = 3 }
    t.eq(#more, 3)
    -- a generation hands over what it had
    keep[3]:close()
    local long
    err = t.raises(function() long = small:generate { cache = keep[2], max_new_tokens = 90 } end,
        "cache_bytes")
    t.eq(err.code, "pool")
    t.ok(#err.tokens > 20)
    t.eq(#err.cache, 3 + #err.tokens)
    t.eq(err.cache:tokens(4), err.tokens)
    keep[1]:close()
    keep[1] = nil
    local rest, whole = small:generate { cache = err.cache, max_new_tokens = 90 - 60 }
    t.eq(#rest, 30)
    err.cache, err.tokens = nil, nil
    -- what is dropped is found before a full pool is reported
    keep, whole = nil, nil
    for i = 1, 20 do t.eq(#small:cache():extend { i, i }:ready(), 2) end
end)

t.test("caches and handles of the wrong kind are refused", function()
    local other <close> = assert(perilune.load(DEMO))
    local foreign = other:cache():extend "x"
    for _, f in ipairs {
        function() model:generate { cache = foreign, max_new_tokens = 1 } end,
        function() cache:common_prefix(foreign) end,
        function() perilune.logits { cache, foreign } end,
        function() model:stream { cache = cache, max_new_tokens = 1 }.cache = foreign end,
        function() model:generate { cache = cache, max_new_tokens = 1,
            on_token = function() return foreign end } end,
    } do
        t.eq(t.raises(f, "another model").code, "mismatch")
    end
    t.raises(function() cache.tokens(model) end, "a cache expected", "a model")
    t.raises(function() cache.tokens() end, "a cache expected", "nothing")
    t.raises(function() model.encode(cache, "x") end, "a model expected")
    t.raises(function() cache:common_prefix "x" end, "a cache expected", "'x'")
    t.raises(function() perilune.logits { cache, 5 } end, "item 2", "5")
    t.raises(function() perilune.logits(cache) end, "a list of caches")
    t.raises(function() perilune.logits { model:cache() } end, "cache 1", "empty")
    t.raises(function() model:cache():logits() end, "empty")
    t.raises(function() cache:logits().argmax(cache) end, "logits expected", "a cache")
    t.raises(function() model:stream({ cache = cache, max_new_tokens = 1 }).tokens = {} end,
        "only cache can")
    t.raises(function() model:stream({ cache = cache, max_new_tokens = 1 }).cache = 7 end,
        "7: a cache is allowed")
    t.raises(function() model:encode {} end, "a text expected", "a table")
    t.raises(function() model:encode(5) end, "a text expected", "5")
    t.raises(function() model:id(5) end, "5")
end)

t.test("positions and lengths are checked", function()
    t.raises(function() cache:truncate(-1) end, "-1", ("from 0 to %d"):format(#cache))
    t.raises(function() cache:truncate(#cache + 1) end, tostring(#cache + 1))
    t.raises(function() cache:truncate(1.5) end, "1.5")
    t.raises(function() cache:truncate() end, "nothing")
    t.raises(function() cache:logits(0) end, "position 0", ("1 to %d"):format(#cache))
    t.raises(function() cache:logits(#cache + 1) end, "position")
    t.raises(function() cache:logits(1, #cache + 1) end, "position")
    t.raises(function() cache:logprobs(1) end, "position 1", ("2 to %d"):format(#cache))
    t.raises(function() cache:tokens "x" end, "'x'")
    t.raises(function() cache:logits():top(-1) end, "-1")
end)

t.test("load refuses bad options, and returns nil for bad files", function()
    t.raises(function() perilune.load(DEMO, { context = 0 }) end, "'context' is 0")
    t.raises(function() perilune.load(DEMO, { threads = 0 }) end, "'threads' is 0")
    t.raises(function() perilune.load(DEMO, { threads = 1e9 }) end, "'threads'", "from 1 to")
    t.raises(function() perilune.load(DEMO, { kv_type = "q4_0" }) end, "'kv_type' is 'q4_0'",
        "'f32', 'f16' or 'q8_0'")
    t.raises(function() perilune.load(DEMO, { kv_type = 5 }) end, "'kv_type' is 5")
    t.raises(function() perilune.load(DEMO, { cache_bytes = -1 }) end, "'cache_bytes' is -1")
    t.raises(function() perilune.load(DEMO, { mmap = 1 }) end, "'mmap' is 1")
    t.raises(function() perilune.load(DEMO, { progress = 1 }) end, "'progress' is 1")
    t.raises(function() perilune.load(DEMO, 5) end, "a table of options")
    t.raises(function() perilune.load() end, "a path", "nothing")
    t.raises(function() perilune.load(5) end, "a path", "5")
    t.raises(function() perilune.load "a\0b" end, "NUL")
    local small = t.raises(function() perilune.load(DEMO, { cache_bytes = 10 }) end, "cache_bytes")
    t.eq(small.code, "argument")
    t.eq(select(3, perilune.load "/no/such/file.gguf"), "io")
    t.refuses({ perilune.load "/no/such/file.gguf" }, "/no/such/file.gguf")
    t.refuses({ perilune.load "/" }, "/")
    t.refuses({ perilune.load "tests/lua/harness.lua" }, "harness.lua")
    t.refuses({ model:restore "/no/such/file" }, "/no/such/file")
    t.refuses({ cache:save "/no/such/folder/file" }, "/no/such/folder")
end)

t.test("error objects read well, and can be thrown on", function()
    local err = t.raises(function() cache:truncate(-1) end)
    t.eq(err.code, "argument")
    t.ok(tostring(err):find("^tests/lua/test_errors.lua:%d+: bad argument #1 to 'truncate'"))
    t.ok(not err.message:find "test_errors")
    t.eq("so: " .. err, "so: " .. tostring(err))
    local again = t.raises(function() error(err) end)
    t.ok(again == err)
    again = t.raises(function() assert(pcall(cache.truncate, cache, -1)) end)
end)

t.test("after all that, the caches say what they said", function()
    t.eq(cache:text(), "Once upon a time")
    t.eq((model:generate { cache = cache, max_new_tokens = 5 }), expected)
end)

t.done()
