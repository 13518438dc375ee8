-- Tasks that wait, in all the ways there are, and what may become of them meanwhile: cancelled, closed, starved, meddled with.
-- Whatever happens, the others have the tokens, logits and log-probabilities that they have alone, and nothing is left behind.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local DEMO = "scripts/demo/demo.gguf"
local PROMPT = "Once upon a time"
local model = assert(perilune.load(DEMO))
-- Another engine, on which nothing else ever runs: what sequences are alone.
local alone = assert(perilune.load(DEMO, { sequences = 1 }))
local base = model:cache():extend(PROMPT):ready()

local function collect()
    for _ = 1, 3 do collectgarbage() end
end

local function slice(list, i, j) return table.move(list, i, j, 1, {}) end

-- Polls until no task is left.
local function finish()
    local till = perilune.clock() + 300
    while perilune.poll(20) > 0 do
        if perilune.clock() > till then error "tasks do not come to an end" end
    end
end

-- A task that gives way for ever, and how often it did.
local function counter()
    local n = 0
    local task = perilune.spawn(function()
        while true do
            n = n + 1
            coroutine.yield()
        end
    end)
    return task, function() return n end
end

-- Options of generations that differ: greedy and sampled ones, of several lengths.
local function options(i)
    local prompts = { PROMPT, "The capital of France is", "Hello", PROMPT .. " there was",
        ("The cat sat on the mat. "):rep(i % 9 + 1) }
    return { input = prompts[i % #prompts + 1], max_new_tokens = 3 + i * 7 % 19, logprobs = true,
        temperature = i % 3 ~= 0 and 1 or nil, top_p = i % 2 == 0 and 0.9 or nil, seed = 100 + i }
end

local expected = {} -- by number: what that generation gives alone
for i = 1, 48 do
    local tokens, cache, info = alone:generate(options(i))
    expected[i] = { tokens = tokens, logprobs = info.logprobs, all = cache:tokens(),
        last = table.pack(cache:logits():top(5)), own = cache:logprobs() }
end
local GREEDY = alone:generate { input = PROMPT, max_new_tokens = 12 }

-- What a task may wait in for ever, by name.
local function long() model:generate { cache = base, max_new_tokens = 900 } end
local function sleep() perilune.sleep(1e6) end
local ENDLESS = {
    generate = long,
    sleep = sleep,
    yield = function()
        while true do coroutine.yield() end
    end,
    stream = function()
        for _ in model:stream { cache = base, max_new_tokens = 900 } do end
    end,
    on_token = function()
        model:generate { cache = base, max_new_tokens = 900, on_token = function() coroutine.yield() end }
    end,
    sampler = function()
        model:generate { cache = base, max_new_tokens = 900, sampler = function(l) return l:argmax() end }
    end,
    prefill = function() model:generate { input = ("A long prompt. "):rep(80), max_new_tokens = 600 } end,
    join = function()
        local other <close> = setmetatable({ task = perilune.spawn(sleep) },
            { __close = function(self) self.task:cancel() end })
        other.task:join()
    end,
    map = function() perilune.map(3, sleep) end,
    race = function() perilune.race { long, long } end,
    wrap = function() perilune.wrap(long)() end,
}

-- ---- cancelling ----

t.test("a task is cancelled whatever it waits for, and what it spawned for itself with it", function()
    for name, fn in pairs(ENDLESS) do
        local went_on = false
        local task = perilune.spawn(function()
            pcall(fn)
            went_on = true
        end)
        for _ = 1, 6 do perilune.poll(3) end
        t.eq(task.status, "running", name)
        task:cancel()
        t.eq(task.status, "cancelled", name)
        task:cancel()
        t.eq(task.error, nil)
        t.eq(t.raises(function() task:join() end, "cancelled").code, "cancelled")
        t.eq(perilune.poll(), 0, name)
        t.eq(went_on, false, name)
    end
end)

t.test("close variables of a cancelled task are inside it, and may compute", function()
    local got, task
    local other, turns = counter()
    task = perilune.spawn(function()
        local _ <close> = setmetatable({}, { __close = function()
            local before = turns()
            got = model:generate { cache = base, max_new_tokens = 5 }
            task:cancel() -- nothing: it is over
            got.moved = turns() - before
            got.poll = select(2, pcall(perilune.poll)).code
        end })
        sleep()
    end)
    for _ = 1, 4 do perilune.poll() end
    task:cancel()
    local want = slice(GREEDY, 1, 5)
    want.moved, want.poll = 0, "argument"
    t.eq(got, want)
    t.eq(task.status, "cancelled")
    -- one that cancels the task that cancels it
    local went_on
    task = perilune.spawn(function()
        local inner = perilune.spawn(function()
            local _ <close> = setmetatable({}, { __close = function() task:cancel() end })
            sleep()
        end)
        coroutine.yield()
        coroutine.yield()
        inner:cancel()
        coroutine.yield()
        went_on = true
    end)
    for _ = 1, 20 do perilune.poll() end
    t.eq(task.status, "cancelled")
    t.eq(went_on, nil)
    other:cancel()
    t.eq(perilune.poll(), 0)
end)

t.test("close variables of a failed task get its error", function()
    local seen
    local task = perilune.spawn(function()
        local _ <close> = setmetatable({}, { __close = function(_, err) seen = err end })
        error { code = "mine" }
    end)
    t.eq(select(2, pcall(task.join, task)).code, "mine")
    t.eq(seen.code, "mine")
end)

t.test("cancelling frees blocks without a collection", function()
    collect()
    collectgarbage "stop"
    local ok, err = pcall(function()
        for _, name in ipairs { "generate", "prefill", "race", "wrap", "on_token", "sampler" } do
            local used = model:stats().blocks.used
            local task = perilune.spawn(ENDLESS[name])
            while model:stats().blocks.used <= used do perilune.poll(3) end
            task:cancel()
            model:generate({ cache = base, max_new_tokens = 1 }) -- and the step that was under way ends
            t.ok(model:stats().blocks.used <= used + 1, name)
            collectgarbage()
            collectgarbage "stop"
        end
        local used = model:stats().blocks.used
        for _, call in ipairs { "logits", "logprobs", "ready" } do
            local cache = model:cache():extend(("Words of " .. call .. ". "):rep(40))
            local task = perilune.spawn(cache[call], cache)
            perilune.poll()
            task:cancel()
            cache:close()
            model:generate({ cache = base, max_new_tokens = 1 })
            t.ok(model:stats().blocks.used <= used + 3, call)
        end
    end)
    collectgarbage "restart"
    if not ok then error(err, 0) end
end)

t.test("a stream that a cancelled task pulled keeps what it came to, and can be gone on with", function()
    for _, o in ipairs { { temperature = 1, seed = 4 }, { sampler = function(l) return l:argmax() end } } do
        local want = alone:generate { input = PROMPT, max_new_tokens = 40, temperature = o.temperature, seed = o.seed }
        o.cache, o.max_new_tokens = base, 40
        local stream = model:stream(o)
        local task = perilune.spawn(function()
            for _ in stream do coroutine.yield() end
        end)
        while #stream.tokens < 5 do perilune.poll(1) end
        task:cancel()
        local n = #stream.tokens
        t.eq(stream.tokens, slice(want, 1, n))
        t.eq(#stream.cache, #base + n)
        for _ in stream do end
        t.eq(stream.tokens, want)
        stream:close()
    end
end)

t.test("cancelling one does not disturb another that wants the same", function()
    local text = ("A prompt that two of them read. "):rep(20)
    local function read() return (model:generate { input = text, max_new_tokens = 6 }) end
    local want = alone:generate { input = text, max_new_tokens = 6 }
    for n = 1, 8 do
        local a, b = perilune.spawn(read), perilune.spawn(read)
        for _ = 1, n do perilune.poll(1) end
        a:cancel()
        t.eq(b:join(), want)
    end
end)

t.test("an error in a map inside a task cancels the rest, too", function()
    local begun, ended = 0, 0
    local task = perilune.spawn(perilune.map, 20, function(i)
        begun = begun + 1
        if i == 3 then
            coroutine.yield()
            error { code = "third" }
        end
        perilune.sleep(i == 1 and 0 or 1e6)
        ended = ended + 1
    end, { limit = 5 })
    t.eq(select(2, pcall(task.join, task)).code, "third")
    t.eq(perilune.poll(), 0)
    t.ok(begun <= 6 and ended <= 1)
end)

t.test("what spawn and the others do not take leaves no task", function()
    t.eq(t.raises(function() perilune.spawn() end, "'spawn'", "a function expected, got nothing").code, "argument")
    t.raises(function() perilune.spawn(7) end, "a function expected, got 7")
    local sleeper = perilune.spawn(sleep)
    t.raises(function() sleeper.join(model) end, "a task expected")
    t.raises(function() sleeper.status = "done" end, "'status'", "only priority can")
    t.raises(function() perilune.sleep(-1) end, "seconds")
    t.raises(function() perilune.sleep(0 / 0) end, "seconds")
    t.raises(function() perilune.poll(-1) end, "milliseconds")
    t.raises(function() perilune.on_error(5) end, "a function expected, got 5")
    local n = perilune.poll()
    t.eq(n, 1)
    t.raises(function() perilune.map("abc", print) end, "map: a list or a number")
    t.raises(function() perilune.map(-1, print) end, "map: a list or a number")
    t.raises(function() perilune.map(3) end, "map: a function expected")
    t.raises(function() perilune.map(3, print, { limit = 1.5 }) end, "limit")
    t.raises(function() perilune.race {} end, "race: ", "empty")
    t.raises(function() perilune.race { 1 } end, "race: ", "at 1")
    t.raises(function() perilune.parallel { sleep, 1 } end, "parallel: ", "at 2")
    t.raises(function() perilune.parallel(print) end, "parallel: a list of functions")
    t.eq(perilune.parallel {}, {})
    t.eq(perilune.poll(), n)
    sleeper:cancel()
end)

-- ---- who moves, and when ----

t.test("generations side by side report their tokens in the order of spawning", function()
    local log, tasks = {}, {}
    for i = 1, 3 do
        tasks[i] = perilune.spawn(function()
            model:generate { cache = base, max_new_tokens = 4, temperature = 1, seed = i,
                on_token = function() log[#log + 1] = i end }
        end)
    end
    for _, task in ipairs(tasks) do task:join() end
    t.eq(table.concat(log), "123123123123")
end)

t.test("a plain yield gives way, and gives nothing", function()
    local log = {}
    local one = perilune.spawn(function()
        for _ = 1, 3 do
            local n = select("#", coroutine.yield(1, 2, 3))
            log[#log + 1] = n
        end
    end)
    local other = perilune.spawn(function()
        for _ = 1, 3 do
            log[#log + 1] = "-"
            coroutine.yield()
        end
    end)
    one:join()
    other:join()
    t.eq(table.concat(log), "-0-0-0")
end)

t.test("main's calls move the tasks along", function()
    local task, turns = counter()
    for name, call in pairs {
        generate = function() model:generate { input = "Some text", max_new_tokens = 4 } end,
        logits = function() base:extend(5):logits() end,
        ready = function() base:extend(6):ready() end,
        many = function() perilune.logits { base:extend(7), base:extend(8) } end,
        stream = function()
            for _ in model:stream { input = "Some", max_new_tokens = 2 } do end
        end,
        sleep = function() perilune.sleep(0.001) end,
        join = function() perilune.spawn(coroutine.yield):join() end,
    } do
        local before = turns()
        call()
        t.ok(turns() > before, name)
    end
    task:cancel()
end)

t.test("where Lua cannot yield, a call is done at once, and no other task is resumed", function()
    local want, got = slice(GREEDY, 1, 4), nil
    local function say() return (model:generate { cache = base, max_new_tokens = 4 }) end
    for name, call in pairs {
        gsub = function() ("x"):gsub("x", function() got = say() end) end,
        sort = function()
            table.sort({ 1, 2 }, function(a, b)
                got = say()
                return a < b
            end)
        end,
        unpack = function() -- an __index that C calls
            table.unpack(setmetatable({}, { __index = function() got = say() end }), 1, 1)
        end,
        gc = function()
            setmetatable({}, { __gc = function() got = say() end })
            collectgarbage()
        end,
        coroutine = function() coroutine.wrap(function() got = say() end)() end,
        wrapped = function() -- the outer one is in the way
            coroutine.wrap(function() perilune.wrap(function() got = say() end)() end)()
        end,
        logits = function()
            coroutine.wrap(function()
                local cache = base
                got = {}
                for i = 1, 4 do
                    got[i] = cache:logits():argmax()
                    cache = cache:extend(got[i])
                end
            end)()
        end,
    } do
        local other, turns = counter()
        local task = perilune.spawn(function()
            local before = turns()
            got = nil
            call()
            return turns() - before
        end)
        t.eq(task:join(), 0, name)
        t.eq(got, want, name)
        other:cancel()
    end
    -- an __index that Lua calls can wait: Lua lets it
    t.eq(perilune.spawn(function() return setmetatable({}, { __index = say }).key end):join(), want)
    -- sleeping is possible there, too; waiting for other tasks is not
    perilune.spawn(function()
        local other = perilune.spawn(coroutine.yield)
        coroutine.wrap(perilune.sleep)(0.001)
        t.raises(coroutine.wrap(function() other:join() end), "perilune.wrap")
    end):join()
    finish()
end)

t.test("a finalizer that runs while a task is finished moves no task", function()
    -- A collection at every allocation: of what join gives, of tracebacks.
    local other, turns = counter()
    collectgarbage("incremental", 1, 1000)
    for i = 1, 60 do
        local moved = 0
        local task = perilune.spawn(function()
            setmetatable({}, { __gc = function()
                local before = turns()
                model:generate { cache = base, max_new_tokens = 1 }
                moved = turns() - before
            end })
            if i % 2 == 0 then error(("%d "):rep(i):format(table.unpack({}, 1, i))) end
            return {}, {}, {}
        end)
        pcall(task.join, task)
        t.ok(task.status ~= "running")
    end
    collectgarbage("incremental", 200, 100)
    other:cancel()
    t.eq(perilune.poll(), 0)
end)

t.test("what perilune.wrap gives is a coroutine in all other ways", function()
    local count = perilune.wrap(function(a, b)
        local c = coroutine.yield(a + b)
        error { code = c }
    end)
    t.eq(count(1, 2), 3)
    t.eq(select(2, pcall(count, "mine")).code, "mine")
    t.raises(count, "dead coroutine")
    t.eq(perilune.spawn(function() -- values in and out, while it waits in between
        local f = perilune.wrap(function(a)
            for i = 1, 3 do
                perilune.sleep(0)
                a = a + coroutine.yield(a * i)
            end
            return "end"
        end)
        return table.concat({ f(1), f(2), f(3), f(4) }, " ")
    end):join(), "1 6 18 end")
    -- one that waits in a task is not resumed by another
    local shared = perilune.wrap(function()
        perilune.sleep(0.01)
        return "slept"
    end)
    local first = perilune.spawn(shared)
    t.raises(function() perilune.spawn(shared):join() end, "waits, in another task")
    t.eq(first:join(), "slept")
end)

t.test("a wrapped coroutine is closed with the task that waits in it", function()
    local log = {}
    local function noting(what, fn)
        return function()
            local _ <close> = setmetatable({}, { __close = function() log[#log + 1] = what end })
            fn()
        end
    end
    local task = perilune.spawn(perilune.wrap(noting("outer", perilune.wrap(noting("inner", sleep)))))
    perilune.poll()
    task:cancel()
    t.eq(log, { "inner", "outer" })
end)

t.test("coroutines of tasks that are resumed or closed from elsewhere do no harm", function()
    local calls = {
        function() model:generate { cache = base, max_new_tokens = 5 } end,
        function() base:extend(9):logits() end, function() base:extend(9):logprobs() end,
        function() base:extend(9):ready() end, function() perilune.sleep(0.001) end,
        function() perilune.logits { base:extend(9), base:extend(8) } end,
        function() perilune.spawn(coroutine.yield):join() end,
        function() model:stream { cache = base, max_new_tokens = 5 } () end,
        function() perilune.map(2, coroutine.yield) end,
    }
    for i, call in ipairs(calls) do
        for _, meddle in ipairs { coroutine.resume, coroutine.close } do
            local co
            local task = perilune.spawn(function()
                co = coroutine.running()
                call()
            end)
            for _ = 1, 2 do perilune.poll() end
            if coroutine.status(co) == "suspended" then meddle(co) end
            collect()
            pcall(task.join, task)
            t.ok(task.status ~= "running", "call " .. i)
            pcall(finish)
        end
    end
    finish()
    -- one that runs elsewhere is neither resumed nor torn down meanwhile
    local task, co, ids
    task = perilune.spawn(function()
        co = coroutine.running()
        coroutine.yield()
        model:generate { cache = base, max_new_tokens = 5 }
        task:cancel()
    end)
    perilune.poll()
    t.ok(coroutine.resume(co))
    finish()
    t.eq(task.status, "cancelled")
    task = perilune.spawn(function()
        co = coroutine.running()
        ids = model:generate { cache = base, max_new_tokens = 12, on_token = function() coroutine.yield() end }
    end)
    while task.status == "running" do
        perilune.poll()
        if co and coroutine.status(co) == "suspended" then coroutine.resume(co) end
    end
    t.eq(ids, GREEDY)
    pcall(finish)
end)

t.test("tasks that pull one stream are handed each token once", function()
    local stream, got = model:stream { cache = base, max_new_tokens = 12 }, {}
    perilune.map(3, function()
        for id in stream do got[#got + 1] = id end
    end)
    t.eq(got, GREEDY)
    t.eq(stream.tokens, GREEDY)
    -- and one that is cancelled does not take it from the others
    stream, got = model:stream { cache = base, max_new_tokens = 12 }, {}
    local a = perilune.spawn(function()
        for _ in stream do error "it was not waiting" end
    end)
    local b = perilune.spawn(function()
        for id in stream do got[#got + 1] = id end
    end)
    local main = perilune.spawn(function() a:cancel() end)
    main:join()
    b:join()
    t.eq(got, GREEDY)
end)

-- ---- poll, errors ----

t.test("poll never waits, and gives every task its turn, however short it is", function()
    local task = perilune.spawn(sleep)
    t.eq(perilune.poll(0), 1)
    t.eq(perilune.poll(1e9), 1) -- nothing could be done: it returns
    task:cancel()
    local a, turns_a = counter()
    local b, turns_b = counter()
    local c, turns_c = counter()
    for _ = 1, 30 do perilune.poll(0) end
    t.ok(turns_a() >= 5 and turns_b() >= 5 and turns_c() >= 5)
    a:cancel()
    b:cancel()
    c:cancel()
    local results = {}
    for i = 1, 8 do
        perilune.spawn(function() results[i] = model:generate(options(i)) end)
    end
    repeat until perilune.poll(0) == 0
    for i = 1, 8 do t.eq(results[i], expected[i].tokens) end
end)

t.test("errors that nobody joins come in the order in which they happened, each once", function()
    local seen = {}
    local function fail_in_turn()
        for i = 1, 5 do
            perilune.spawn(function()
                for _ = i, 5 do coroutine.yield() end
                error { code = i }
            end)
        end
        perilune.sleep(0.001)
        for _ = 1, 10 do model:generate { cache = base, max_new_tokens = 1 } end -- nothing is raised here
        collect()
    end
    fail_in_turn()
    for _ = 1, 5 do seen[#seen + 1] = select(2, pcall(perilune.poll)).code end
    t.eq(seen, { 5, 4, 3, 2, 1 })
    t.eq(perilune.poll(), 0)
    seen = {}
    perilune.on_error(function(err, task)
        t.ok(task.error == err and task.status == "failed")
        seen[#seen + 1] = err.code
    end)
    fail_in_turn()
    finish()
    t.eq(seen, { 5, 4, 3, 2, 1 })
    perilune.on_error(function() error "in the handler" end)
    perilune.spawn(error, "x")
    t.raises(function() perilune.poll(10) end, "in the handler")
    perilune.on_error(nil)
    -- one that somebody waits for, or is told of, is no such error
    local task = perilune.spawn(error, "x")
    t.eq(perilune.spawn(function() return pcall(task.join, task) end):join(), false)
    t.eq(perilune.poll(10), 0)
end)

t.test("an error keeps the traceback of where it happened, through tasks that join", function()
    local function at_the_bottom() model:generate { input = "x", max_new_tokens = -1 } end
    local task = perilune.spawn(function()
        perilune.spawn(function() at_the_bottom() end):join()
    end)
    local err = t.raises(function() task:join() end, "option 'max_new_tokens' is -1")
    t.eq(err.code, "argument")
    t.ok(err.traceback:find("at_the_bottom", 1, true))
    task = perilune.spawn(function()
        model:generate { cache = base, max_new_tokens = 3, on_token = function() local _ = nil + 1 end }
    end)
    err = t.raises(function() task:join() end, "on_token: ")
    t.eq(err.code, "callback")
    t.eq(#err.tokens, 1)
    t.ok(err.traceback:find("test_waiting", 1, true))
end)

-- ---- the same answers ----

t.test("tokens, logits and log-probabilities are those alone, whatever else is in flight", function()
    for _, limit in ipairs { 48, 3 } do
        perilune.map(48, function(i)
            local want = expected[i]
            local tokens, cache, info = model:generate(options(i))
            t.eq(tokens, want.tokens, "generation " .. i)
            t.eq(info.logprobs, want.logprobs)
            t.eq(cache:tokens(), want.all)
            t.eq(table.pack(cache:logits():top(5)), want.last)
            t.eq(cache:logprobs(), want.own)
        end, { limit = limit })
    end
end)

t.test("so are streams, logits of many, pieces of forks, and callbacks that yield or wait for other tasks", function()
    local function stepwise(i)
        local ids = {}
        for id in model:stream(options(i)) do
            ids[#ids + 1] = id
            if i % 2 == 0 then coroutine.yield() end
        end
        return ids
    end
    local function called(i)
        local o, ids = options(i), {}
        function o.on_token(id, _, cache)
            ids[#ids + 1] = id
            if #ids % 3 == 1 then coroutine.yield() end
            if #ids % 3 == 2 then perilune.spawn(cache.logits, cache):join() end
            if #ids == 3 then return cache:fork() end -- goes on from the same
        end
        t.eq((model:generate(o)), ids)
        return ids
    end
    local function by_logits(i) -- greedy ones by hand
        local o, ids = options(i), {}
        if o.temperature then return stepwise(i) end
        local cache = model:cache():extend(o.input)
        for n = 1, o.max_new_tokens do
            local l = i % 2 == 0 and cache:logits() or perilune.logits { cache, base }[1]
            ids[n] = l:argmax()
            cache = cache:extend(ids[n])
            if n % 3 == 0 then cache:ready() end
        end
        return ids
    end
    local function pieces(i)
        local o, ids = options(i), {}
        local cache = model:cache():extend(o.input)
        for n = 1, o.max_new_tokens do
            local one
            one, cache = model:generate { cache = cache:fork(), max_new_tokens = 1, top_p = o.top_p,
                temperature = o.temperature, seed = o.seed }
            ids[n] = one[1]
        end
        return ids
    end
    local ways = { stepwise, called, by_logits, pieces }
    perilune.map(48, function(n)
        local i = (n - 1) // 4 + 1
        t.eq(ways[n % 4 + 1](i), expected[i].tokens, "generation " .. i)
    end)
    t.eq(perilune.poll(), 0)
end)

t.test("any mix of tasks: spawned, joined, cancelled, raced, forked, wrapped at random", function()
    local rng = perilune.rng(2024)
    local n_right, tasks, kinds = 0, {}, nil
    local function right(i, tokens)
        t.eq(tokens, expected[i].tokens, "generation " .. i)
        n_right = n_right + 1
    end
    local function whole(i) right(i, (model:generate(options(i)))) end
    kinds = {
        whole,
        function(i)
            local ids = {}
            for id in model:stream(options(i)) do ids[#ids + 1] = id end
            right(i, ids)
        end,
        function(i) coroutine.wrap(whole)(i) end,
        function(i) perilune.wrap(whole)(i) end,
        function(i)
            local _, ids = perilune.race { function() return (model:generate(options(i))) end, long }
            right(i, ids)
        end,
        function(i) perilune.map(2, function(k) kinds[k](i + k) end) end,
        function(i)
            local child = perilune.spawn(whole, i)
            if i % 3 == 0 then child:cancel() else child:join() end
        end,
        function(i) -- half of it, and the rest from there
            local o = options(i)
            local n = o.max_new_tokens
            o.max_new_tokens = n // 2
            local ids, cache = model:generate(o)
            o.input, o.cache, o.max_new_tokens = nil, cache, n - #ids
            right(i, table.move(model:generate(o), 1, n - #ids, #ids + 1, ids))
        end,
    }
    for _ = 1, 150 do
        tasks[#tasks + 1] = perilune.spawn(kinds[rng:integer(#kinds)], rng:integer(40))
        local what = rng:integer(6)
        if what == 1 then tasks[rng:integer(#tasks)]:cancel()
        elseif what == 2 then pcall(tasks[#tasks].join, tasks[#tasks])
        elseif what == 3 then tasks[#tasks].priority = rng:integer(-2, 2)
        else perilune.poll(rng:integer(0, 2)) end
    end
    for _, task in ipairs(tasks) do
        local ok, err = pcall(task.join, task)
        if not ok and task.status ~= "cancelled" then error(err, 0) end
    end
    t.eq(perilune.poll(), 0)
    t.ok(n_right >= 60, "few came to their end: " .. n_right)
end)

t.test("with one place, those of a higher priority have it first", function()
    local narrow <close> = assert(perilune.load(DEMO, { sequences = 1, context = 512 }))
    local order, tasks, priorities = {}, {}, { 0, 5, -1, 7 }
    for i, priority in ipairs(priorities) do
        tasks[i] = perilune.spawn(function()
            narrow:generate { input = PROMPT .. i, max_new_tokens = 4 }
            order[#order + 1] = i
        end)
        tasks[i].priority = priority
    end
    for _, task in ipairs(tasks) do task:join() end
    t.eq(order, { 4, 2, 1, 3 })
    order = {} -- a change reaches what is waiting already
    for i = 1, 3 do
        tasks[i] = perilune.spawn(function()
            narrow:generate { input = PROMPT .. i, max_new_tokens = 30 }
            order[#order + 1] = i
        end)
    end
    perilune.poll()
    tasks[3].priority = 1
    for i = 1, 3 do tasks[i]:join() end
    t.ok(order[1] == 3 or order[2] == 3, table.concat(order))
end)

-- ---- what the world does ----

t.test("closing a model raises in whatever waits for it, and in nothing else", function()
    local closing = assert(perilune.load(DEMO, { context = 700 }))
    local cache = closing:cache():extend(PROMPT)
    local stream = closing:stream { input = PROMPT, max_new_tokens = 600 }
    local tasks = {}
    for i, fn in ipairs {
        function() closing:generate { cache = cache, max_new_tokens = 600 } end,
        function() closing:generate { input = "x", max_new_tokens = 600, on_token = function() coroutine.yield() end } end,
        function() while stream() do end end,
        function()
            for n = 1, 600 do cache:extend { n, n, n }:logits() end
        end,
        function() closing:cache():extend(("x "):rep(300)):logprobs() end,
        function() perilune.wrap(function() closing:generate { input = "y", max_new_tokens = 600 } end)() end,
    } do tasks[i] = perilune.spawn(fn) end
    local other = perilune.spawn(function() return (model:generate(options(3))) end)
    perilune.poll()
    closing:close()
    for i, task in ipairs(tasks) do
        local ok, err = pcall(task.join, task)
        t.eq(ok, false, "task " .. i)
        t.eq(err.code, "closed", "task " .. i)
    end
    t.eq(other:join(), expected[3].tokens)
end)

local BLOCK = model:info().kv_bytes_per_token * 32

t.test("a starved sequence parks until memory is free, and then has the tokens that it has alone", function()
    local small <close> = assert(perilune.load(DEMO, { cache_bytes = 9 * BLOCK, context = 256 }))
    local o = { input = PROMPT, max_new_tokens = 150, temperature = 1, seed = 9 }
    local want = alone:generate(o)
    local held = small:cache():extend(("The cat sat. "):rep(32)):ready()
    t.ok(small:stats().blocks.used >= 4)
    local task = perilune.spawn(function() return (small:generate(o)) end)
    local n = 0
    perilune.spawn(function() -- goes on in memory that it has
        for _ in small:stream { cache = held, max_new_tokens = 20, temperature = 1, seed = 1 } do
            n = n + 1
            coroutine.yield()
        end
        held:close()
        collect()
    end)
    t.eq(task:join(), want)
    t.eq(n, 20)
end)

t.test("and fails with what it has when nothing can become free", function()
    local small <close> = assert(perilune.load(DEMO, { cache_bytes = 8 * BLOCK, context = 256 }))
    local caches = {}
    perilune.map(3, function(i)
        local o = { input = PROMPT, max_new_tokens = 240, temperature = 1, seed = i }
        local ok, err = pcall(small.generate, small, o)
        t.eq(ok, false)
        t.eq(err.code, "pool")
        t.ok(#err.tokens > 0 and #err.tokens < 240)
        t.eq(err.tokens, slice(alone:generate(o), 1, #err.tokens))
        t.eq(err.cache:tokens(-#err.tokens, -1), err.tokens)
        caches[i] = err.cache
    end)
    t.eq(#caches, 3)
    for _, call in ipairs { "logits", "logprobs", "ready" } do
        local cache = caches[1]:extend(("no room for that "):rep(20))
        local task = perilune.spawn(cache[call], cache)
        t.eq(t.raises(function() task:join() end, "cache_bytes").code, "pool", call)
    end
    -- the caches live, and what is freed is used again
    caches[2]:close()
    caches[3]:close()
    local n = #caches[1] - #base
    local more = small:generate { cache = caches[1], max_new_tokens = 20, temperature = 1, seed = 1 }
    t.eq(more, slice(alone:generate { input = PROMPT, max_new_tokens = n + 20, temperature = 1, seed = 1 }, n + 1, n + 20))
end)

t.test("caches that were dropped make room for a starved one", function()
    local small <close> = assert(perilune.load(DEMO, { cache_bytes = 9 * BLOCK, context = 256 }))
    collectgarbage "stop" -- but for the collection that a full pool asks for
    local ok, err = pcall(perilune.map, 12, function(i)
        local o = { input = PROMPT, max_new_tokens = 180, temperature = 1, seed = i }
        t.eq((small:generate(o)), (alone:generate(o)))
    end, { limit = 1 })
    collectgarbage "restart"
    if not ok then error(err, 0) end
end)

t.test("finalizers of that collection may end the very tasks that are starved", function()
    local small <close> = assert(perilune.load(DEMO, { cache_bytes = 8 * BLOCK, context = 256 }))
    for round = 1, 6 do
        local tasks = {}
        for i = 1, 4 do
            tasks[i] = perilune.spawn(function()
                small:generate { input = PROMPT .. i, max_new_tokens = 230, temperature = 1, seed = i }
            end)
        end
        collect()
        collectgarbage "stop"
        setmetatable({}, { __gc = function()
            for i = 1, 4 do
                if (i + round) % 3 ~= 0 then tasks[i]:cancel() end
            end
            tasks = {}
        end })
        perilune.on_error(function(err) t.eq(err.code, "pool") end)
        finish()
        perilune.on_error(nil)
        collectgarbage "restart"
    end
end)

t.test("a thousand random cancellations leave nothing behind", function()
    collect()
    local rng, before, names = perilune.rng(7), model:stats(), {}
    for name in pairs(ENDLESS) do names[#names + 1] = name end
    table.sort(names)
    local short = {
        function() base:extend(rng:integer(2000)):logits() end,
        function() base:extend { 1, 2, 3 }:logprobs() end,
        function() perilune.logits { base:extend(5), base:extend(6) } end,
        function() model:generate(options(rng:integer(40))) end,
        function() base:extend(("x "):rep(rng:integer(50))):ready() end,
    }
    local live = {}
    for _ = 1, 1000 do
        while #live < 6 do
            live[#live + 1] = perilune.spawn(rng:integer(3) == 1 and short[rng:integer(#short)]
                or ENDLESS[names[rng:integer(#names)]])
        end
        for _ = 1, rng:integer(0, 2) do perilune.poll(rng:uniform()) end
        local task = table.remove(live, rng:integer(#live))
        if rng:integer(4) == 1 then perilune.spawn(task.cancel, task):join() -- by another task
        else task:cancel() end
    end
    for _, task in ipairs(live) do task:cancel() end
    live = nil
    t.eq(perilune.poll(), 0)
    collect()
    t.eq((model:generate(options(1))), expected[1].tokens)
    t.eq((model:generate { cache = base, max_new_tokens = 12 }), GREEDY)
    collect()
    local after = model:stats()
    t.eq(after.blocks.used, before.blocks.used)
    t.eq(after.caches, before.caches)
end)

t.done()
