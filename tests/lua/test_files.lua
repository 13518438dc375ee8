-- Cache files: what is saved comes back without a step, and a file that was cut off, altered, or
-- made by another model is refused with a message.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local DEMO = "scripts/demo/demo.gguf"
local model = assert(perilune.load(DEMO, { deterministic = true }))
local path = os.tmpname()

local function read()
    local file = assert(io.open(path, "rb"))
    local bytes = file:read "a"
    file:close()
    return bytes
end
local function write(bytes)
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
end

local _, cache = model:generate { input = "Once upon a time", max_new_tokens = 40 }

t.test("a saved cache comes back as it was, without a step", function()
    cache:ready()
    t.eq(cache:save(path), true)
    local before = model:stats()
    local back = assert(model:restore(path))
    t.ok(back == cache)
    t.eq(model:stats().tokens, before.tokens)
    t.eq((model:generate { cache = back, max_new_tokens = 8 }),
        (model:generate { cache = cache, max_new_tokens = 8 }))
    local a, b = back:logits(), cache:logits()
    for id = 0, #a - 1 do t.eq(a[id], b[id]) end
end)

t.test("pending tokens, and no tokens, are saved too", function()
    for _, c in ipairs { model:cache(), model:cache():extend "abc def",
        cache:extend " and more" } do
        t.eq(c:save(path), true)
        local back = assert(model:restore(path))
        t.ok(back == c)
        t.eq(tostring(back), tostring(c))
    end
end)

t.test("another model of the same weights restores it, one of another kind refuses it", function()
    assert(cache:save(path))
    local same <close> = assert(perilune.load(DEMO, { deterministic = true }))
    t.eq(assert(same:restore(path)):tokens(), cache:tokens())
    local wide <close> = assert(perilune.load(DEMO, { kv_type = "f32" }))
    t.refuses({ wide:restore(path) }, "f16", "f32")
    t.eq(select(3, wide:restore(path)), "mismatch")
    local again = assert(wide:restore(path, { recompute = true }))
    t.eq(again:tokens(), cache:tokens())
    t.eq(tostring(again), ("cache (%d tokens, %d pending)"):format(#cache, #cache))
    t.ok(#again:logits() > 0)
    local small <close> = assert(perilune.load(DEMO, { context = 10 }))
    t.refuses({ small:restore(path) }, "10")
end)

t.test("every kv_type comes back as it was", function()
    for _, kv_type in ipairs { "f32", "f16", "q8_0" } do
        local model <close> = assert(perilune.load(DEMO, { kv_type = kv_type }))
        local cache = model:cache():extend(("One, two, three. "):rep(7))
        local want = cache:logits()
        assert(cache:save(path))
        local tokens = model:stats().tokens
        local got = assert(model:restore(path)):logits()
        t.eq(model:stats().tokens, tokens)
        for id = 0, #want - 1 do t.eq(got[id], want[id]) end
    end
end)

t.test("a file that was cut off anywhere is refused", function()
    assert(cache:save(path))
    local bytes = read()
    for size = 0, #bytes - 1, math.max(1, #bytes // 97) do
        write(bytes:sub(1, size))
        t.refuses({ model:restore(path) }, path)
        t.refuses({ model:restore(path, { recompute = true }) }, path)
    end
end)

t.test("a file with an altered byte is refused", function()
    assert(cache:save(path))
    local bytes = read()
    local places = {}
    for at = 1, 200 do places[#places + 1] = at end
    for at = 201, #bytes, math.max(1, #bytes // 101) do places[#places + 1] = at end
    places[#places + 1] = #bytes
    for _, at in ipairs(places) do
        write(bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 0x10) .. bytes:sub(at + 1))
        t.refuses({ model:restore(path) }, path)
    end
    write(bytes .. "x")
    t.refuses({ model:restore(path) }, path)
end)

t.test("saving replaces a file whole, or leaves it", function()
    assert(cache:save(path))
    local bytes = read()
    assert(cache:save(path))
    t.eq(read() == bytes, true)
    t.refuses({ cache:save "/proc/perilune" }, "/proc/perilune")
    t.eq(read() == bytes, true)
end)

os.remove(path)
t.done()
