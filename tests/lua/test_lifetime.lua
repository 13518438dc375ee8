-- Closing and collecting, in any order: closed handles say so, what is dropped is given back, and
-- nothing that a script can do in a finalizer or a callback leaves a dangling handle.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local DEMO = "scripts/demo/demo.gguf"
local PROMPT = "Once upon a time"

local function load() return assert(perilune.load(DEMO)) end
local function collect()
    for _ = 1, 3 do collectgarbage() end
end

t.test("a closed cache says so, and the others live on", function()
    local model <close> = load()
    local cache = model:cache():extend(PROMPT):ready()
    local fork = cache:fork()
    cache:close()
    cache:close()
    for _, f in ipairs {
        function() return #cache end, function() cache:tokens() end, function() cache:text() end,
        function() cache:extend(1) end, function() cache:truncate(0) end,
            function() cache:fork() end,
        function() cache:ready() end, function() cache:logits() end,
            function() cache:logprobs() end,
        function() cache:find { 1 } end, function() cache:save "/tmp/never" end,
        function() cache:common_prefix(fork) end, function() fork:common_prefix(cache) end,
        function() return cache .. "x" end,
    } do
        t.eq(t.raises(f, "the cache is closed").code, "closed")
    end
    t.eq(t.raises(function() model:generate { cache = cache, max_new_tokens = 1 } end,
        "closed").code, "closed")
    t.eq(t.raises(function() perilune.logits { fork, cache } end, "closed").code, "closed")
    t.eq(tostring(cache), "cache (closed)")
    t.ok(cache ~= fork and cache == cache)
    t.eq(fork:text(), PROMPT)
    t.eq(#model:generate { cache = fork, max_new_tokens = 2 }, 2)
end)

t.test("closing a model closes its caches and streams", function()
    local model = load()
    local cache = model:cache():extend(PROMPT)
    local stream = model:stream { cache = cache, max_new_tokens = 5 }
    stream()
    local logits = cache:logits()
    model:close()
    model:close()
    for _, f in ipairs {
        function() model:cache() end, function() model:encode "x" end, function() model:info() end,
        function() model:stats() end, function() model:generate { input = "x",
            max_new_tokens = 1 } end,
        function() stream() end, function() return stream.cache end,
            function() return stream.tokens end,
        function() return stream.info end,
    } do
        t.eq(t.raises(f, "closed").code, "closed")
    end
    t.raises(function() return #cache end, "closed")
    t.eq(tostring(model), "model (closed)")
    stream:close()
    cache:close()
    t.ok(logits:entropy() >= 0) -- numbers of their own
    t.ok(#logits > 0 and logits[0] and logits:top(3))
end)

t.test("a collected model's caches live on", function()
    local cache = load():cache():extend(PROMPT)
    local stream = load():stream { input = PROMPT, max_new_tokens = 5 }
    collect()
    t.eq(#cache:logits() > 0, true)
    t.eq(cache:text(), PROMPT)
    local n = 0
    for _ in stream do
        n = n + 1
        collect()
    end
    t.eq(n, 5)
end)

t.test("what is dropped is given back", function()
    local model <close> = load()
    local base = model:cache():extend(PROMPT):ready()
    collect()
    local before = model:stats()
    for i = 1, 50 do
        local _, cache = model:generate { cache = base, max_new_tokens = 40, temperature = 1,
            seed = i }
        local stream = model:stream { cache = cache, max_new_tokens = 3 }
        stream()
    end
    collect()
    local after = model:stats()
    t.eq(after.blocks.used, before.blocks.used)
    t.eq(after.caches, before.caches)
end)

t.test("a thousand forks take no memory of keys and values", function()
    local model <close> = load()
    local ids = {}
    for i = 1, 1000 do ids[i] = i end
    local cache = model:cache():extend(ids):ready()
    local before, forks = model:stats(), {}
    for i = 1, 1000 do forks[i] = i % 2 == 0 and cache:fork() or cache:truncate(1000 - i) end
    t.eq(model:stats().blocks.used, before.blocks.used)
    t.eq(model:stats().bytes, before.bytes)
end)

t.test("close variables close at the end of their block, errors included", function()
    local kept_cache, kept_model
    pcall(function()
        local model <close> = load()
        local cache <close> = model:cache():extend(PROMPT)
        kept_cache, kept_model = cache, model
        error "out"
    end)
    t.raises(function() return #kept_cache end, "closed")
    t.raises(function() kept_model:cache() end, "closed")
end)

t.test("a model that is closed inside on_token ends the call with an error", function()
    local model = load()
    local err = t.raises(function()
        model:generate { input = PROMPT, max_new_tokens = 9,
            on_token = function() model:close() end }
    end, "closed")
    t.eq(err.code, "closed")
    model = load()
    local stream = model:stream { input = PROMPT, max_new_tokens = 9 }
    t.raises(function()
        for _ in stream do model:close() end
    end, "closed")
end)

t.test("handles that a finalizer closes under a call are noticed", function()
    -- Every allocation may run a finalizer, and this one closes the model: whichever call it hits
    -- raises "closed" or returns what it had. Many rounds move the place where it hits.
    local function step(model, cache)
        local stream = model:stream { cache = cache, max_new_tokens = 4, logprobs = true,
            stop = { "zz" } }
        for _ in stream do
            local _ = stream.info.before:tokens(), stream.cache:extend { 1, 2 }:truncate(3):text()
        end
        local _ = model:info(), model:stats(), cache:logits(1), cache:logprobs(), cache:find { 1 }
        _ = perilune.logits { cache, cache:extend(5) }
        model:generate { cache = cache, max_new_tokens = 3, on_token = function() end }
        return model:encode "a b c d", cache .. " x" .. "y"
    end
    collectgarbage "generational"
    for round = 1, 60 do
        local model = load()
        local cache = model:cache():extend(PROMPT)
        local countdown = round
        local function arm()
            setmetatable({}, { __gc = function()
                countdown = countdown - 1
                if countdown <= 0 then model:close() else arm() end
            end })
        end
        arm()
        for _ = 1, 200 do
            local ok, err = pcall(step, model, cache)
            if not ok then
                t.eq(err.code == "closed" or err.code == "argument", true, tostring(err))
                t.ok(tostring(err):find "closed")
                break
            end
        end
    end
    collectgarbage "incremental"
end)

t.test("a cache that is closed while it is extended is noticed", function()
    local model <close> = load()
    collectgarbage("incremental", 1, 1000) -- a cycle under way at any time
    for _ = 1, 10000 do
        local cache = model:cache():extend { 1 }
        setmetatable({}, { __gc = function() cache:close() end })
        for _ = 1, 20 do
            local ok, err = pcall(cache.extend, cache, { 1 })
            if not ok then
                t.eq(err.code, "closed")
                break
            end
        end
    end
    collectgarbage("incremental", 200, 100)
end)

t.test("a model that is closed while its new blocks are charged is noticed", function()
    local ids = {}
    for i = 1, 600 do ids[i] = i end
    for name, call in pairs {
        ready = function(cache) cache:ready() end,
        logits = function(cache) cache:logits() end,
        logprobs = function(cache) cache:logprobs() end,
        many = function(cache) perilune.logits { cache, cache:fork() } end,
        generate = function(cache, model) model:generate { cache = cache, max_new_tokens = 1 } end,
        stream = function(cache, model) model:stream({ cache = cache, max_new_tokens = 1 })() end,
    } do
        local model = load()
        local cache = model:cache():extend(ids)
        collect()
        setmetatable({}, { __gc = function() model:close() end })
        local ok, err = pcall(call, cache, model)
        t.eq(ok, false, name)
        t.eq(err.code, "closed", name)
    end
end)

t.test("finalizers in the order of lua_close are fine, whatever is open", function()
    local code = [[
        local perilune = require "perilune"
        local model = assert(perilune.load "scripts/demo/demo.gguf")
        keep = {model:cache():extend "Once", model:stream {input = "The", max_new_tokens = 9}, model}
        keep[2]()
        local thread = coroutine.wrap(function()
            model:generate {input = "A", max_new_tokens = 9, on_token = coroutine.yield}
        end)
        thread()
        keep[4] = thread
        late = setmetatable({}, {__gc = function()
            pcall(function() keep[2]() end)
            pcall(function() return keep[1]:logits() end)
            pcall(function() keep[3]:close() end)
        end})
        %s
    ]]
    local interpreter = arg[-1]
    for _, ending in ipairs { "", "os.exit(0, true)",
        "model:generate {input = 'x', max_new_tokens = 9, on_token = function() os.exit(0, true) end}" } do
        local path = os.tmpname()
        local file = assert(io.open(path, "w"))
        file:write((code:format(ending)))
        file:close()
        local ok, how, status = os.execute(("'%s' %s"):format(interpreter, path))
        os.remove(path)
        t.ok(ok, ("%s %s after %s"):format(how, status, ending))
    end
end)

t.done()
