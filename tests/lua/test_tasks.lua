-- Tasks: what they wait for, in which order they go on, how they end; and that whatever runs beside a generation changes none
-- of its tokens.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"
local DEMO = "scripts/demo/demo.gguf"
local model = assert(perilune.load(DEMO))

local function say(seed, more)
    local options = { input = "Once upon a time", max_new_tokens = 16, temperature = 0.9, seed = seed, logprobs = true }
    for key, value in pairs(more or {}) do options[key] = value end
    return model:generate(options)
end

local alone = {} -- what each seed says when nothing is beside it
for seed = 1, 12 do
    local tokens, _, info = say(seed)
    alone[seed] = { tokens = table.concat(tokens, " "), logprobs = info.logprobs }
end

local function check_said(seed, tokens, info)
    t.eq(table.concat(tokens, " "), alone[seed].tokens)
    for i, logprob in ipairs(alone[seed].logprobs) do t.eq(info.logprobs[i], logprob) end
end

local function poll_all()
    local begun = perilune.clock()
    while perilune.poll(5) > 0 do
        if perilune.clock() - begun > 300 then error "tasks do not come to an end" end
    end
end

t.test("results and arguments go through, in the order of spawning", function()
    local order = {}
    local tasks = {}
    for i = 1, 5 do
        tasks[i] = perilune.spawn(function(a, ...)
            order[#order + 1] = i
            coroutine.yield()
            order[#order + 1] = i
            return a, select("#", ...), nil
        end, i * 10, nil, nil)
    end
    t.eq(#order, 0)
    t.eq(tasks[1].status, "running")
    for i, task in ipairs(tasks) do
        local results = table.pack(task:join())
        t.eq(results.n, 3)
        t.eq(results[1], i * 10)
        t.eq(results[2], 2)
        t.eq(task.status, "done")
        t.eq(task.error, nil)
    end
    t.eq(table.concat(order, " "), "1 2 3 4 5 1 2 3 4 5")
    t.eq(select("#", tasks[1]:join()), 3) -- again
end)

t.test("an error inside is raised by join, with its traceback; an error object keeps its code", function()
    local function fails_deep_inside() error "deep" end
    local task = perilune.spawn(function()
        fails_deep_inside()
    end)
    local ok, err = pcall(task.join, task)
    t.ok(not ok and err:find("deep", 1, true) and err:find("fails_deep_inside", 1, true))
    t.eq(task.status, "failed")
    t.eq(task.error, err)
    local refused = perilune.spawn(function() model:generate { max_new_tokens = 1 } end)
    ok, err = pcall(refused.join, refused)
    t.ok(not ok)
    t.eq(err.code, "argument")
    t.ok(err.traceback:find("test_tasks", 1, true))
    local value = {}
    local thrown = perilune.spawn(function() error(value) end)
    ok, err = pcall(thrown.join, thrown)
    t.ok(not ok and err == value)
end)

t.test("side by side, in whatever way, everybody says what he says alone", function()
    local got = perilune.map(12, function(seed)
        if seed % 3 == 0 then
            local tokens = {}
            local stream = model:stream { input = "Once upon a time", max_new_tokens = 16, temperature = 0.9, seed = seed,
                logprobs = true }
            for id in stream do tokens[#tokens + 1] = id end
            check_said(seed, tokens, stream.info)
        elseif seed % 3 == 1 then
            local tokens, _, info = say(seed, { on_token = function(id)
                if id % 2 == 0 then coroutine.yield() end
                if id % 7 == 0 then perilune.sleep(0) end
            end })
            check_said(seed, tokens, info)
        else
            local tokens, cache, info = say(seed)
            check_said(seed, tokens, info)
            local list = cache:logprobs(#cache - #tokens + 1, #cache)
            for i, logprob in ipairs(list) do t.near(logprob, info.logprobs[i], 1e-5) end
            t.near(cache:truncate(#cache - 1):logits():logprob(tokens[#tokens]), info.logprobs[#tokens], 1e-5)
            t.eq(#perilune.logits { cache, cache:truncate(3) }, 2)
            t.ok(cache:extend("More"):ready())
        end
        return seed
    end)
    for i = 1, 12 do t.eq(got[i], i) end
end)

t.test("step_rows and sequences change no result; bad values are errors", function()
    for _, o in ipairs { { step_rows = 3 }, { sequences = 2 }, { step_rows = 1, sequences = 1 } } do
        o.context = 512
        local other <close> = assert(perilune.load(DEMO, o))
        local texts = perilune.map(6, function(seed)
            return table.concat(other:generate { input = "Once upon a time", max_new_tokens = 16, temperature = 0.9, seed = seed }, " ")
        end)
        for seed, text in ipairs(texts) do t.eq(text, alone[seed].tokens) end
    end
    for _, o in ipairs { { step_rows = 0 }, { step_rows = 513 }, { sequences = 0 }, { sequences = 1.5 } } do
        t.ok(not pcall(perilune.load, DEMO, o))
    end
end)

t.test("map: at most `limit` at once, results in order; the first error cancels the rest", function()
    local now, most = 0, 0
    local got = perilune.map({ "a", "b", "c", "d", "e", "f", "g" }, function(item, i)
        now = now + 1
        most = math.max(most, now)
        perilune.sleep(0.001)
        now = now - 1
        return item .. i
    end, { limit = 3 })
    t.eq(table.concat(got, " "), "a1 b2 c3 d4 e5 f6 g7")
    t.eq(most, 3)
    local begun, ended = 0, 0
    local start = perilune.clock()
    local ok, err = pcall(perilune.map, 5, function(i)
        begun = begun + 1
        if i == 3 then error("third", 0) end
        perilune.sleep(30)
        ended = ended + 1
    end)
    t.ok(not ok and tostring(err):find("third", 1, true))
    t.eq(begun, 5)
    t.eq(ended, 0)
    t.ok(perilune.clock() - start < 20)
    t.eq(perilune.poll(), 0)
    t.eq(#perilune.map({}, error), 0)
    t.ok(not pcall(perilune.map, 2, print, { limits = 2 }))
    t.ok(not pcall(perilune.map, 2, print, { limit = 0 }))
end)

t.test("parallel and race", function()
    local got = perilune.parallel { function() return (say(1)) end, function() return 2 end }
    t.eq(table.concat(got[1], " "), alone[1].tokens)
    t.eq(got[2], 2)
    local closed = 0
    local i, a, b = perilune.race {
        function()
            local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
            perilune.sleep(30)
        end,
        function() return "fast", "er" end,
        function() say(3, { max_new_tokens = 900, input = "Once" }) end,
    }
    t.eq(i, 2)
    t.eq(a .. b, "faster")
    t.eq(closed, 1)
    t.eq(perilune.poll(), 0)
    local ok = pcall(perilune.race, { function() error "bad" end, function() perilune.sleep(30) end })
    t.ok(not ok)
    t.eq(perilune.poll(), 0)
end)

t.test("tasks spawn tasks and join them", function()
    local function fib(n)
        if n < 2 then return n end
        local a, b = perilune.spawn(fib, n - 1), perilune.spawn(fib, n - 2)
        return a:join() + b:join()
    end
    t.eq(perilune.spawn(fib, 8):join(), 21)
end)

t.test("cancel: before it began, and whatever it waits for; twice; finished; itself", function()
    local ran = false
    local unborn = perilune.spawn(function() ran = true end)
    unborn:cancel()
    local stream = model:stream { input = "Once", max_new_tokens = 200 }
    local waits = {
        perilune.spawn(function() say(1, { max_new_tokens = 900 }) end),
        perilune.spawn(function() for _ in stream do end end),
        perilune.spawn(function() perilune.sleep(100) end),
        perilune.spawn(function() coroutine.yield() end),
    }
    waits[5] = perilune.spawn(function() waits[3]:join() end)
    for _ = 1, 20 do perilune.poll(1) end
    local before = #stream.tokens
    for _, task in ipairs(waits) do
        task:cancel()
        task:cancel()
        t.ok(task.status == "cancelled" or task.status == "done")
    end
    t.eq(perilune.poll(), 0)
    t.ok(not ran)
    t.eq(unborn.status, "cancelled")
    local ok, err = pcall(unborn.join, unborn)
    t.ok(not ok)
    t.eq(err.code, "cancelled")
    t.ok(#stream.tokens >= before and #stream.cache == #stream.tokens + #model:cache():extend "Once") -- it keeps what was said
    stream:close()
    local selfish
    selfish = perilune.spawn(function() selfish:cancel() end)
    ok, err = pcall(selfish.join, selfish)
    t.ok(not ok)
    t.eq(err.code, "cancelled")
    local done = perilune.spawn(function() return 1 end)
    done:join()
    done:cancel()
    t.eq(done.status, "done")
end)

t.test("where a task cannot be suspended, a call computes, and no other task moves", function()
    local moved = 0
    local other = perilune.spawn(function()
        while true do
            moved = moved + 1
            coroutine.yield()
        end
    end)
    local task = perilune.spawn(function()
        local before = moved
        local co = coroutine.wrap(function() -- a coroutine of the user's own
            local tokens, _, info = say(2)
            check_said(2, tokens, info)
            coroutine.yield(1)
        end)
        co()
        local text = ("x"):gsub("x", function() return (table.concat(say(4), " ")) end)
        t.eq(text, alone[4].tokens)
        local list = { 3, 1, 2 }
        table.sort(list, function(a, b)
            model:cache():extend("sort" .. a):ready()
            return a < b
        end)
        t.eq(table.concat(list), "123")
        t.eq(moved, before)
    end)
    task:join()
    other:cancel()
end)

t.test("perilune.wrap lets a task wait through coroutines, nested ones too", function()
    local moved = 0
    local other = perilune.spawn(function()
        while true do
            moved = moved + 1
            coroutine.yield()
        end
    end)
    local function pieces(seed)
        return perilune.wrap(function()
            local inner = perilune.wrap(function()
                for id in model:stream { input = "Once upon a time", max_new_tokens = 16, temperature = 0.9, seed = seed } do
                    coroutine.yield(id)
                end
            end)
            for id in inner do coroutine.yield(id) end
        end)
    end
    local function collect(seed)
        local tokens = {}
        for id in pieces(seed) do tokens[#tokens + 1] = id end
        t.eq(table.concat(tokens, " "), alone[seed].tokens)
    end
    perilune.parallel { function() collect(5) end, function() collect(6) end }
    t.ok(moved > 16)
    other:cancel()
    collect(7) -- outside of tasks
    local ok, err = pcall(perilune.wrap(function() error("inside", 0) end))
    t.ok(not ok and err == "inside")
end)

t.test("waiting for ever is an error", function()
    local a, b
    a = perilune.spawn(function() b:join() end)
    b = perilune.spawn(function() a:join() end)
    local ok, err = pcall(a.join, a)
    t.ok(not ok and tostring(err):find("for ever", 1, true))
    a:cancel()
    pcall(b.join, b)
    local me
    me = perilune.spawn(function() me:join() end)
    ok, err = pcall(me.join, me)
    t.ok(not ok and tostring(err):find("itself", 1, true))
end)

t.test("errors that nobody joins come out of the next poll, or go to on_error", function()
    local task = perilune.spawn(function() error("lonely", 0) end)
    local ok, err = pcall(perilune.poll)
    t.ok(not ok and tostring(err):find("lonely", 1, true))
    t.eq(perilune.poll(), 0)
    local heard = {}
    perilune.on_error(function(e, who) heard[#heard + 1] = { e, who } end)
    task = perilune.spawn(function() error("told", 0) end)
    perilune.poll()
    perilune.on_error(nil)
    t.eq(#heard, 1)
    t.ok(tostring(heard[1][1]):find("told", 1, true))
    t.ok(heard[1][2] == task)
    ok = pcall(perilune.spawn(function() perilune.poll() end).join, perilune.spawn(function() perilune.poll() end))
    t.ok(not ok)
    pcall(perilune.poll)
end)

t.test("polling finishes everything, without a call that waits", function()
    local said = {}
    for seed = 1, 6 do perilune.spawn(function() said[seed] = table.concat(say(seed), " ") end) end
    local sleeper = perilune.spawn(function() perilune.sleep(0.01) return "awake" end)
    poll_all()
    for seed = 1, 6 do t.eq(said[seed], alone[seed].tokens) end
    t.eq(sleeper:join(), "awake")
end)

t.test("priority goes to requests, and is inherited", function()
    local task = perilune.spawn(function() return perilune.spawn(function() end).priority end)
    task.priority = 7
    t.eq(task.priority, 7)
    t.eq(task:join(), 7)
    t.ok(not pcall(function() task.status = "done" end))
    t.ok(not pcall(function() task.priority = "high" end))
end)

t.test("closing a model raises in the tasks that wait for it", function()
    local other = assert(perilune.load(DEMO, { context = 300 }))
    local tasks = {}
    for i = 1, 3 do
        tasks[i] = perilune.spawn(function() other:generate { input = "Once upon a time", max_new_tokens = 200, seed = i } end)
    end
    perilune.poll()
    other:close()
    for _, task in ipairs(tasks) do
        local ok, err = pcall(task.join, task)
        t.ok(not ok)
        t.eq(err.code, "closed")
    end
end)

t.test("with little memory a task waits for its turn, and at last fails with what it has", function()
    local block = model:info().kv_bytes_per_token * 32
    local small <close> = assert(perilune.load(DEMO, { context = 512, cache_bytes = 5 * block }))
    local prompt = "Once upon a time there was"
    local want = table.concat(small:generate { input = prompt, max_new_tokens = 50 }, " ")
    collectgarbage()
    -- Two blocks each in the end: the third one waits for its second until another is done.
    local got = perilune.map(3, function()
        local tokens, cache = small:generate { input = prompt, max_new_tokens = 50 }
        cache:close()
        return table.concat(tokens, " ")
    end)
    for _, text in ipairs(got) do t.eq(text, want) end
    local keep = {}
    local tasks = {}
    for i = 1, 3 do
        tasks[i] = perilune.spawn(function()
            local _, cache = small:generate { input = prompt, max_new_tokens = 120 }
            keep[i] = cache
        end)
    end
    local failed = 0
    for _, task in ipairs(tasks) do
        local ok, err = pcall(task.join, task)
        if not ok then
            failed = failed + 1
            t.eq(err.code, "pool")
            t.ok(#err.tokens > 0 and #err.cache > #err.tokens)
            t.eq(table.concat(err.tokens, " ", 1, math.min(50, #err.tokens)),
                want:match("^" .. ("%d+ "):rep(math.min(50, #err.tokens) - 1) .. "%d+"))
            err.cache:close()
        end
    end
    t.ok(failed >= 1)
end)

t.test("who is cancelled while it waits for map, parallel or race cancels what these began", function()
    local closed = 0
    local function sleeper()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        perilune.sleep(100)
    end
    for _, f in ipairs { function() perilune.map(3, sleeper) end, function() perilune.parallel { sleeper, sleeper, sleeper } end,
        function() perilune.race { sleeper, sleeper, sleeper } end } do
        closed = 0
        local task = perilune.spawn(f)
        perilune.poll()
        perilune.poll(1)
        t.eq(perilune.poll(1), 4)
        task:cancel()
        t.eq(closed, 3)
        t.eq(perilune.poll(), 0)
    end
end)

t.test("a task that cancels itself, or whoever waits for it, does not go on", function()
    local on, me = 0, nil
    me = perilune.spawn(function()
        pcall(me.cancel, me)
        on = on + 1
        perilune.sleep(0)
        on = on + 1
    end)
    t.eq(t.raises(function() me:join() end, "cancelled").code, "cancelled")
    t.eq(me.status, "cancelled")
    t.eq(on, 1)
    local parent
    parent = perilune.spawn(function()
        perilune.race {
            function()
                parent:cancel()
                perilune.sleep(0)
                on = on + 1
            end,
            function() perilune.sleep(100) end,
        }
    end)
    poll_all()
    t.eq(parent.status, "cancelled")
    t.eq(on, 1)
end)

t.test("variables that a failing task closes are told of its error; a traceback is kept on its way", function()
    local told
    local function where_it_happens() error "boom" end
    local task = perilune.spawn(function()
        local _ <close> = setmetatable({}, { __close = function(_, err) told = err end })
        where_it_happens()
    end)
    t.raises(function() task:join() end, "boom")
    t.ok(tostring(told):find("boom", 1, true))
    local function generates() model:generate { max_new_tokens = 1 } end
    local outer = perilune.spawn(function() perilune.spawn(function() generates() end):join() end)
    local err = t.raises(function() outer:join() end)
    t.eq(err.code, "argument")
    t.ok(err.traceback:find("generates", 1, true), err.traceback)
end)

t.test("poll(0) resumes everybody in turn, one that only gives way before others included", function()
    local flag, turns = false, 0
    perilune.spawn(function()
        while not flag and turns < 1000 do
            turns = turns + 1
            coroutine.yield()
        end
    end)
    perilune.spawn(function() flag = true end)
    for _ = 1, 8 do perilune.poll(0) end
    t.ok(flag and turns < 8)
    t.eq(perilune.poll(0), 0)
    local last = perilune.spawn(function() for _ = 1, 3 do coroutine.yield() end end)
    perilune.poll(0)
    last:join() -- goes on with that round, and others
end)

t.test("finalizers that generate, run at any time, resume nobody twice", function()
    local made, left = 0, 40
    local function arm()
        setmetatable({}, { __gc = function()
            made = made + #model:generate { input = "x", max_new_tokens = 1 }
            left = left - 1
            if left > 0 then arm() end
        end })
    end
    collectgarbage "generational"
    arm()
    for round = 1, 60 do
        local got = perilune.map(20, function(i)
            local waste = {}
            for k = 1, 50 do waste[k] = { k } end
            if i % 3 == 0 then coroutine.yield() end
            return i
        end)
        for i = 1, 20 do t.eq(got[i], i, "round " .. round) end
    end
    collectgarbage "incremental"
    left = 0
    t.ok(made > 0)
    t.eq(perilune.poll(), 0)
end)

t.test("a task that is cancelled while it waits through perilune.wrap closes what waits inside", function()
    local closed = {}
    local function guard(name) return setmetatable({}, { __close = function() closed[#closed + 1] = name end }) end
    local task = perilune.spawn(function()
        perilune.wrap(function()
            local _ <close> = guard "outer"
            perilune.wrap(function()
                local _ <close> = guard "inner"
                say(1, { max_new_tokens = 900 })
            end)()
        end)()
    end)
    perilune.poll(1)
    task:cancel()
    t.eq(closed, { "inner", "outer" })
    t.eq(perilune.poll(), 0)
end)

t.test("of two tasks that pull one stream one is cancelled, and the other goes on", function()
    local tokens = {}
    local stream <close> = model:stream { input = "Once upon a time", max_new_tokens = 16, temperature = 0.9, seed = 5 }
    local function pull() for id in stream do tokens[#tokens + 1] = id end end
    local a, b = perilune.spawn(pull), perilune.spawn(pull)
    perilune.poll(0)
    perilune.poll(0)
    a:cancel()
    b:join()
    t.eq(table.concat(stream.tokens, " "), alone[5].tokens)
    t.eq(table.concat(tokens, " "), alone[5].tokens)
end)

t.test("a stream that is closed or sent elsewhere while a task waits for it", function()
    local stream = model:stream { input = "Once", max_new_tokens = 30 }
    local function pull()
        local n = 0
        for _ in stream do n = n + 1 end
        return n
    end
    local task = perilune.spawn(pull)
    perilune.poll(0)
    stream:close()
    t.ok(task:join() < 30)
    stream = model:stream { input = "Once", max_new_tokens = 30 }
    task = perilune.spawn(pull)
    perilune.poll(0)
    local elsewhere = model:cache():extend "One day there was"
    stream.cache = elsewhere
    t.eq(task:join(), 30)
    t.eq(#stream.cache, #elsewhere + 30)
    t.eq(stream.tokens, (model:generate { cache = elsewhere, max_new_tokens = 30 }))
end)

t.test("where it cannot be suspended, a task that waits for another one would wait for ever", function()
    local other = perilune.spawn(function() perilune.sleep(0.01) end)
    local task = perilune.spawn(function() return (("x"):gsub("x", function() other:join() end)) end)
    t.raises(function() task:join() end, "for ever")
    other:join()
    task = perilune.spawn(function()
        return (("x"):gsub("x", function()
            perilune.sleep(0.001)
            return "slept"
        end))
    end)
    t.eq(task:join(), "slept")
end)

t.test("on_token waits for other tasks", function()
    local tokens, _, info = say(3, { on_token = function() perilune.spawn(function() perilune.sleep(0) end):join() end })
    check_said(3, tokens, info)
    perilune.map(3, function(seed)
        local said, _, its = say(seed, { on_token = function(id)
            t.eq(perilune.spawn(function() return (say(seed + 3, { max_new_tokens = 2 })) and id end):join(), id)
        end })
        check_said(seed, said, its)
    end)
end)

t.test("wrong arguments are errors that name the call, and begin nothing", function()
    t.raises(function() perilune.spawn() end, "function expected")
    t.raises(function() perilune.spawn(5) end, "function expected, got 5")
    t.raises(function() perilune.parallel { print, 5 } end, "parallel", "number at 2")
    t.raises(function() perilune.parallel(5) end, "parallel")
    t.raises(function() perilune.race {} end, "race", "empty")
    t.raises(function() perilune.map(-1, print) end, "map", "-1")
    t.raises(function() perilune.map(2.5, print) end, "map", "2.5")
    t.raises(function() perilune.map(2) end, "map", "function expected")
    t.raises(function() perilune.sleep(-1) end, "seconds")
    t.raises(function() perilune.sleep(0 / 0) end, "seconds")
    t.raises(function() perilune.poll(-1) end, "milliseconds")
    t.raises(function() perilune.on_error(5) end, "function expected")
    t.eq(perilune.poll(), 0)
    t.eq(perilune.parallel {}, {})
end)

t.test("a program that ends, or is ended in a task, with tasks under way", function()
    local scratch = dofile "tests/lua/scratch.lua"
    local code = [[
        local perilune = require "perilune"
        local model = assert(perilune.load "scripts/demo/demo.gguf")
        for i = 1, 3 do
            perilune.spawn(function() model:generate {input = "Once", max_new_tokens = 500, seed = i, temperature = 1} end)
            perilune.spawn(function() perilune.sleep(100) end)
        end
        perilune.poll(2)
        %s
    ]]
    for ending, status in pairs { [""] = 0, ["os.exit(0, true)"] = 0, ["perilune.spawn(function() os.exit(3, true) end):join()"] = 3,
        ["perilune.spawn(function() model:close() os.exit(0, true) end):join()"] = 0,
        ["perilune.spawn(function() perilune.sleep(0) os.exit(0) end):join()"] = 0 } do
        local _, how, found = os.execute(("'%s' %s"):format(arg[-1], scratch.temporary(code:format(ending))))
        t.eq(how, "exit", ending)
        t.eq(found, status, ending)
    end
    scratch.clean()
end)

t.test("any mix of tasks: everybody says what he says alone", function()
    local random, said = math.random, 0
    math.randomseed(23)
    local root = model:cache():extend "Once upon a time"
    local function speak()
        local seed, kind = random(12), random(5)
        local o = { input = "Once upon a time", max_new_tokens = 16, temperature = 0.9, seed = seed, logprobs = true }
        if kind == 1 then o.on_token = function() if random(4) == 1 then coroutine.yield() end end end
        if kind == 2 then o.input, o.cache = nil, root:fork() end
        if kind == 3 then o.sampler = function(l) return l end end
        if kind == 4 then
            local stream <close> = model:stream(o)
            for _ in stream do if random(6) == 1 then perilune.sleep(0) end end
            check_said(seed, stream.tokens, stream.info)
        else
            local tokens, cache, info = model:generate(o)
            check_said(seed, tokens, info)
            if kind == 5 then -- a rewind says the same again
                o.input, o.cache, o.max_new_tokens = nil, cache:truncate(#cache - 6), 6
                local again = model:generate(o)
                t.eq(again, table.move(tokens, 11, 16, 1, {}))
            end
        end
        said = said + 1
    end
    local act
    local function acts(depth) return function() return act(depth) end end
    function act(depth)
        local kind = depth <= 0 and 1 or random(8)
        if kind <= 2 then speak()
        elseif kind == 3 then perilune.map(random(3), acts(depth - 1), { limit = random(2) })
        elseif kind == 4 then perilune.race { acts(depth - 1), acts(depth - 1) }
        elseif kind == 5 then coroutine.wrap(speak)() -- a coroutine of the script's own
        elseif kind == 6 then perilune.wrap(acts(depth - 1))()
        elseif kind == 7 then
            local task = perilune.spawn(act, depth - 1)
            for _ = 1, random(3) do coroutine.yield() end
            task:cancel()
        else
            local task = perilune.spawn(act, depth - 1)
            task.priority = random(-2, 2)
            act(depth - 1)
            task:join()
        end
    end
    for _ = 1, 12 do
        local tasks = {}
        for i = 1, 5 do tasks[i] = perilune.spawn(act, 3) end
        for _ = 1, random(4) do perilune.poll(random(0, 1)) end
        for i, task in ipairs(tasks) do if i > 1 then task:join() end end
        tasks[1]:cancel()
        poll_all() -- what cancelled ones had spawned goes on
    end
    t.ok(said > 30, said)
end)

t.test("what a cancelled task computed is let go of without a collection", function()
    local words = ("word "):rep(100)
    collectgarbage()
    collectgarbage()
    collectgarbage "stop"
    local held = model:stats().blocks.used
    for what, f in pairs {
        ready = function(cache) cache:ready() end, logits = function(cache) cache:logits() end,
        logprobs = function(cache) cache:logprobs() end, many = function(cache) perilune.logits { cache, cache } end,
        generate = function(cache) model:generate { cache = cache, max_new_tokens = 400 } end,
        wrapped = function(cache) perilune.wrap(function() model:generate { cache = cache, max_new_tokens = 400 } end)() end,
    } do
        local task = perilune.spawn(function()
            local cache <close> = model:cache():extend(what .. words)
            f(cache)
        end)
        while model:stats().blocks.used == held and task.status == "running" do perilune.poll(1) end
        task:cancel()
        local begun = perilune.clock()
        while model:stats().blocks.used > held do -- the step under way comes to its end
            perilune.poll(1)
            if perilune.clock() - begun > 60 then error(what .. " holds blocks") end
        end
    end
    collectgarbage "restart"
end)

t.done()
