-- Caches as values, at random: thousands of operations on random branches, against plain lists of
-- tokens that know no model, and now and then against logits that a fresh cache computes from
-- scratch.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local model = assert(perilune.load("scripts/demo/demo.gguf",
    { deterministic = true, context = 96 }))
local VOCAB, CONTEXT = model:info().vocab_size, 96

local function joined(a, b) return table.move(b, 1, #b, #a + 1, table.move(a, 1, #a, 1, {})) end
local function random_ids(most)
    local ids = {}
    for i = 1, math.random(0, most) do ids[i] = math.random(0, VOCAB - 1) end
    return ids
end

-- The logits after the last token, as text: bits and all.
local function bits(l)
    local parts = {}
    for id = 0, #l - 1 do parts[id + 1] = string.pack("<f", l[id]) end
    return table.concat(parts)
end

local function walk(seed, steps)
    math.randomseed(seed)
    local branches = { { cache = model:cache(), tokens = {} } } -- the first one stays
    local function add(cache, tokens) branches[#branches + 1] = { cache = cache,
        tokens = tokens } end
    local function pick() return branches[math.random(#branches)] end

    local operations = {
        extend = function(b)
            local ids = random_ids(7)
            if #b.tokens + #ids <= CONTEXT then add(b.cache:extend(ids), joined(b.tokens, ids))
            else t.raises(function() b.cache:extend(ids) end, tostring(CONTEXT)) end
        end,
        truncate = function(b)
            local n = math.random(0, #b.tokens)
            add(b.cache:truncate(n), table.move(b.tokens, 1, n, 1, {}))
        end,
        fork = function(b) add(b.cache:fork(), b.tokens) end,
        ready = function(b) t.ok(b.cache:ready() == b.cache) end,
        generate = function(b)
            local ids, n = random_ids(4), math.random(0, 6)
            if #b.tokens + #ids == 0 or #b.tokens + #ids + n > CONTEXT then return end
            local new, cache = model:generate {
                input = ids, cache = b.cache, max_new_tokens = n, temperature = math.random(0, 1),
                    seed = seed,
            }
            t.eq(#new, n)
            add(cache, joined(joined(b.tokens, ids), new))
        end,
        stream = function(b)
            if #b.tokens == 0 or #b.tokens + 8 > CONTEXT then return end
            local stream = model:stream { cache = b.cache, max_new_tokens = 8, temperature = 1,
                seed = seed }
            for _ = 1, math.random(0, 8) do stream() end
            if math.random(3) == 1 then
                local other = pick()
                if #other.tokens > 0 and #other.tokens + 8 <= CONTEXT then
                    stream.cache = other.cache
                    stream()
                end
            end
            add(stream.cache, stream.cache:tokens())
            t.eq(stream.cache:tokens(), branches[#branches].tokens)
        end,
        logits = function(b)
            if #b.tokens > 0 then b.cache:logits(math.random(#b.tokens)) end
        end,
        compare = function(b)
            local other = pick()
            local n = 0
            while n < #b.tokens and n < #other.tokens and b.tokens[n + 1] == other.tokens[n + 1] do
                n = n + 1 end
            t.eq(b.cache:common_prefix(other.cache), n)
            t.eq(b.cache == other.cache, n == #b.tokens and n == #other.tokens)
        end,
        close = function()
            if #branches < 3 then return end
            local i = math.random(2, #branches)
            branches[i].cache:close()
            table.remove(branches, i)
        end,
        drop = function()
            if #branches < 3 then return end
            table.remove(branches, math.random(2, #branches))
        end,
        collect = function() collectgarbage "step" end,
    }
    local names = {}
    for name in pairs(operations) do names[#names + 1] = name end
    table.sort(names)

    for step = 1, steps do
        operations[names[math.random(#names)]](pick())
        local b = pick()
        t.eq(#b.cache, #b.tokens)
        t.eq(b.cache:tokens(), b.tokens)
        if step % 25 == 0 and #b.tokens > 0 then
            t.eq(bits(b.cache:logits()) == bits(model:cache():extend(b.tokens):logits()), true,
                ("seed %d, step %d"):format(seed, step))
        end
        while #branches > 24 do operations.close() end
    end
    for _, b in ipairs(branches) do t.eq(b.cache:tokens(), b.tokens) end
end

for seed = 1, 8 do
    t.test("random branches are their lists of tokens, seed " .. seed,
        function() walk(seed, 500) end)
end

t.test("nothing is left when all branches are gone", function()
    for _ = 1, 3 do collectgarbage() end
    t.eq(model:stats().blocks.used, 0)
    t.eq(model:stats().blocks.shared, 0)
end)

t.done()
