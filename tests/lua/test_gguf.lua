-- GGUF files as Lua values: metadata and tensors as tables, and converted copies. The files are put together here, byte by
-- byte, so that every value type is met; what copies should hold is read from them the same way.
local t = dofile "tests/lua/harness.lua"
local perilune = require "perilune"

local DEMO = "scripts/demo/demo.gguf"
local scratch = dofile "tests/lua/scratch.lua"
local temporary, write, read, exists = scratch.temporary, scratch.write, scratch.read, scratch.exists

-- The value types by their numbers in the file (ggml/docs/gguf.md), and how string.pack writes them.
local TYPES = { u8 = { 0, "B" }, i8 = { 1, "b" }, u16 = { 2, "<I2" }, i16 = { 3, "<i2" }, u32 = { 4, "<I4" },
    i32 = { 5, "<i4" }, f32 = { 6, "<f" }, bool = { 7, "B" }, string = { 8, "<s8" }, u64 = { 10, "<i8" }, i64 = { 11, "<i8" },
    f64 = { 12, "<d" } }

local function scalar(key, type, value)
    return ("<s8I4"):pack(key, TYPES[type][1]) .. TYPES[type][2]:pack(value)
end
local function list(key, type, values)
    local parts = {}
    for i, value in ipairs(values) do parts[i] = TYPES[type][2]:pack(value) end
    return ("<s8I4I4I8"):pack(key, 9, TYPES[type][1], #values) .. table.concat(parts)
end

-- A file of those values and F32 tensors {name, shape, numbers}.
local function gguf(values, tensors)
    local infos, data, offset = {}, {}, 0
    for i, tensor in ipairs(tensors) do
        local shape = {}
        for k, n in ipairs(tensor[2]) do shape[k] = ("<I8"):pack(n) end
        infos[i] = ("<s8I4"):pack(tensor[1], #shape) .. table.concat(shape) .. ("<I4I8"):pack(0, offset)
        local numbers = {}
        for k, x in ipairs(tensor[3]) do numbers[k] = ("<f"):pack(x) end
        data[i] = table.concat(numbers)
        data[i] = data[i] .. ("\0"):rep(-#data[i] % 32)
        offset = offset + #data[i]
    end
    local head = "GGUF" .. ("<I4I8I8"):pack(3, #tensors, #values) .. table.concat(values) .. table.concat(infos)
    return head .. ("\0"):rep(#tensors > 0 and -#head % 32 or 0) .. table.concat(data)
end

local function row(n, seed)
    local x = {}
    for i = 1, n do
        seed = (seed * 1103515245 + 12345) % 2 ^ 31
        x[i] = ("<f"):unpack(("<f"):pack(seed / 2 ^ 30 - 1))
    end
    return x
end

-- What most tests read: one of every type, a matrix, a narrow one and a vector.
local VALUES = {
    scalar("general.architecture", "string", "test"), scalar("u8", "u8", 200), scalar("i8", "i8", -5), scalar("u16", "u16", 60000),
    scalar("i16", "i16", -300), scalar("u32", "u32", 4000000000), scalar("i32", "i32", -70000), scalar("f32", "f32", 0.5),
    scalar("yes", "bool", 1), scalar("no", "bool", 0), scalar("u64", "u64", 1 << 40), scalar("huge", "u64", -1),
    scalar("i64", "i64", -(1 << 40)), scalar("f64", "f64", 0.1), scalar("empty", "string", ""),
    list("words", "string", { "a", "", "b\0c", "\xE6\x97\xA5" }), list("numbers", "i32", { 3, -1, 2 }), list("none", "u8", {}),
    list("flags", "bool", { 1, 0 }), list("halves", "f32", { 0.5, 1.5 }),
}
local MATRIX, NARROW, VECTOR = row(512, 1), row(80, 2), row(256, 3)
local TENSORS = { { "m.weight", { 256, 2 }, MATRIX }, { "n.weight", { 40, 2 }, NARROW }, { "v.bias", { 256 }, VECTOR } }
local path = write(temporary(), gguf(VALUES, TENSORS))
local file = assert(perilune.gguf(path))

t.test("metadata is listed in the file's order, with its types", function()
    local entries = file:metadata()
    t.eq(#entries, #VALUES)
    local want = {
        { "general.architecture", "string", "test" }, { "u8", "u8", 200 }, { "i8", "i8", -5 }, { "u16", "u16", 60000 },
        { "i16", "i16", -300 }, { "u32", "u32", 4000000000 }, { "i32", "i32", -70000 }, { "f32", "f32", 0.5 },
        { "yes", "bool", true }, { "no", "bool", false }, { "u64", "u64", 1 << 40 }, { "huge", "u64", 2 ^ 64 },
        { "i64", "i64", -(1 << 40) }, { "f64", "f64", 0.1 }, { "empty", "string", "" },
    }
    for i, w in ipairs(want) do t.eq(entries[i], { key = w[1], type = w[2], value = w[3] }) end
    t.eq(math.type(entries[2].value), "integer")
    t.eq(math.type(entries[8].value), "float")
    t.eq(entries[16], { key = "words", type = "array", of = "string", n = 4, value = { "a", "", "b\0c", "\xE6\x97\xA5" } })
    t.eq(entries[18], { key = "none", type = "array", of = "u8", n = 0, value = {} })
    t.eq(entries[19].value, { true, false })
end)

t.test("long arrays are cut when asked for", function()
    local entries = file:metadata { limit = 2 }
    t.eq(entries[16], { key = "words", type = "array", of = "string", n = 4, value = { "a", "" } })
    t.eq(file:metadata { limit = 0 }[17], { key = "numbers", type = "array", of = "i32", n = 3, value = {} })
    t.raises(function() file:metadata { limit = -1 } end, "limit")
    t.raises(function() file:metadata { most = 1 } end, "unknown option 'most'", "limit")
end)

t.test("one value by its key", function()
    t.eq(file:get "numbers", { 3, -1, 2 })
    t.eq(file:get "no", false)
    t.eq(file:get "nothing", nil)
    t.raises(function() file:get(5) end, "a key expected, got 5")
end)

t.test("tensors, and sums", function()
    t.eq(file:tensors()[1], { name = "m.weight", type = "F32", shape = { 256, 2 }, n_params = 512, n_bytes = 2048 })
    t.eq(file:tensors()[3].shape, { 256 })
    local info = file:info()
    t.eq(info, { path = path, parts = { path }, version = 3, n_bytes = #read(path), n_values = #VALUES, n_tensors = 3,
        n_params = 512 + 80 + 256 })
    t.eq(tostring(file), ("GGUF file (%s, 3 tensors)"):format(path:match "[^/]*$"))
end)

t.test("the demo's tensors add up to what the model says", function()
    local demo <close> = assert(perilune.gguf "demo")
    local model <close> = assert(perilune.load "demo")
    t.eq(demo:info().n_params, model:info().n_params)
    t.eq(#demo:get "tokenizer.ggml.tokens", model:info().vocab_size)
    local read_whole <close> = assert(perilune.gguf(DEMO, { mmap = false }))
    t.eq(read_whole:tensors(), demo:tensors())
end)

t.test("weight types have their published sizes", function()
    local q8, q4 = perilune.weight_types.Q8_0, perilune.weight_types.Q4_K
    t.eq(q8, { block = 32, bytes = 34, bits = 8.5, reads = true, writes = true })
    t.eq(q4, { block = 256, bytes = 144, bits = 4.5, reads = true, writes = true })
    t.eq(perilune.weight_types.IQ2_XXS.reads, false)
    t.eq(perilune.weight_types.Q9, nil)
end)

-- ---- copies ----

t.test("a copy that changes nothing is the same file", function()
    local out = temporary()
    t.eq(file:convert(out), true)
    t.ok(read(out) == read(path))
end)

-- The bytes of Q8_0 blocks, from the definition: d = largest magnitude / 127 as a half, codes x / d rounded.
local function half(x) -- of a normal, positive number
    local m, e = x, 0
    while m >= 2 do m, e = m / 2, e + 1 end
    while m < 1 do m, e = m * 2, e - 1 end
    local scaled = (m - 1) * 1024
    local whole = math.floor(scaled)
    if scaled - whole > 0.5 or scaled - whole == 0.5 and whole % 2 == 1 then whole = whole + 1 end
    return (e + 15 << 10) + whole, (1 + whole / 1024) * 2.0 ^ e
end

t.test("weights become what the format defines", function()
    local out = temporary()
    assert(file:convert(out, { types = { ["m.weight"] = "Q8_0", ["v.bias"] = "F16" }, threads = 2 }))
    local copy <close> = assert(perilune.gguf(out))
    t.eq(copy:metadata(), file:metadata())
    t.eq(copy:tensors()[1].type, "Q8_0")
    t.eq(copy:tensors()[2].type, "F32")
    t.eq(copy:tensors()[1].n_bytes, 512 / 32 * 34)
    local bytes = read(out)
    local sizes = { 544, 320, 512 }
    local at = #bytes - sizes[1] - sizes[2] - sizes[3] + 1
    for block = 0, 15 do
        local most = 0
        for i = 1, 32 do most = math.max(most, math.abs(MATRIX[32 * block + i])) end
        local bits, d = half(most / 127)
        t.eq(("<I2"):unpack(bytes, at), bits)
        for i = 1, 32 do
            local code = ("b"):unpack(bytes, at + 1 + i)
            t.ok(math.abs(code - MATRIX[32 * block + i] / d) <= 0.5 + 0.07) -- the exact d, or its half
        end
        at = at + 34
    end
    for i, x in ipairs(NARROW) do t.eq(("<f"):unpack(bytes, at + 4 * (i - 1)), x) end
end)

t.test("keys change, go, and come; the others stay as they are", function()
    local out = temporary()
    assert(file:convert(out, {
        metadata = { u8 = 7, words = { "x" }, no = true, f32 = 3, none = { 1, 2 }, ["new.text"] = "t", ["new.list"] = { 1.5, 2 },
            ["a.number"] = 5, ["a.debt"] = -5, ["a.large"] = 1 << 40, ["a.flag"] = false, ["new.flags"] = { true, false } },
        drop = { "numbers", "huge" },
    }))
    local copy <close> = assert(perilune.gguf(out))
    local entries, want = copy:metadata(), {}
    for _, entry in ipairs(file:metadata()) do
        if entry.key ~= "numbers" and entry.key ~= "huge" then want[#want + 1] = entry end
    end
    for i, entry in ipairs(want) do
        t.eq(entries[i].key, entry.key)
        t.eq(entries[i].type, entry.type)
        t.eq(entries[i].of, entry.of)
    end
    t.eq(copy:get "u8", 7)
    t.eq(copy:get "words", { "x" })
    t.eq(copy:get "no", true)
    t.eq(copy:get "f32", 3.0)
    t.eq(copy:get "none", { 1, 2 })
    t.eq(copy:get "i64", -(1 << 40))
    t.eq(table.move(entries, #want + 1, #entries, 1, {}), { -- in alphabetical order
        { key = "a.debt", type = "i32", value = -5 }, { key = "a.flag", type = "bool", value = false },
        { key = "a.large", type = "i64", value = 1 << 40 }, { key = "a.number", type = "u32", value = 5 },
        { key = "new.flags", type = "array", of = "bool", n = 2, value = { true, false } },
        { key = "new.list", type = "array", of = "f32", n = 2, value = { 1.5, 2 } },
        { key = "new.text", type = "string", value = "t" },
    })
end)

t.test("the parts of a split file become one file without the split's keys", function()
    local stem, out = temporary(), temporary()
    local function part(no, tensors)
        local name = ("%s-%05d-of-00002.gguf"):format(stem, no + 1)
        scratch.keep(name)
        return write(name, gguf({ scalar("split.no", "u16", no), scalar("split.count", "u16", 2),
            scalar("split.tensors.count", "i32", 3), scalar("kept", "u8", no) }, tensors))
    end
    local first, second = part(0, { TENSORS[1] }), part(1, { TENSORS[2], TENSORS[3] })
    local split <close> = assert(perilune.gguf(first))
    t.eq(split:info().parts, { first, second })
    t.eq(split:info().n_bytes, #read(first) + #read(second))
    assert(split:convert(out, { types = { ["v.bias"] = "BF16" } }))
    local copy <close> = assert(perilune.gguf(out))
    t.eq(copy:metadata(), { { key = "kept", type = "u8", value = 0 } })
    t.eq(#copy:tensors(), 3)
    t.refuses({ split:convert(second) }, second, "it is the file that is read")
    t.refuses({ perilune.gguf(second) }, "part 2 of 2", first)
    os.remove(second)
    t.refuses({ perilune.gguf(first) }, "part 2 of 2", second)
end)

-- ---- what goes wrong ----

t.test("what is no GGUF file is refused with a message", function()
    t.refuses({ perilune.gguf "/no/such/file" }, "/no/such/file")
    t.eq(select(3, perilune.gguf "/no/such/file"), "io")
    t.refuses({ perilune.gguf "README.md" }, "README.md", "not a GGUF file")
    t.eq(select(3, perilune.gguf "README.md"), "format")
    t.refuses({ perilune.gguf(write(temporary(), read(path):sub(1, -40))) }, "cut off")
    t.raises(function() perilune.gguf() end, "a path expected, got nothing")
    t.raises(function() perilune.gguf(path, { map = true }) end, "unknown option 'map'", "mmap")
end)

t.test("misuse of convert is an error that says what is allowed", function()
    local out = temporary()
    os.remove(out)
    local function bad(options, ...)
        local pieces = { ... }
        t.eq(t.raises(function() file:convert(out, options) end, table.unpack(pieces)).code, "argument")
        t.ok(not exists(out))
    end
    bad({ types = { ["m.weight"] = "Q9" } }, "gives the tensor 'm.weight' 'Q9'", "the name of a weight type is allowed")
    bad({ types = { ["m.weight"] = 8 } }, "gives the tensor 'm.weight' 8")
    bad({ types = { ["x.weight"] = "F16" } }, "has the key 'x.weight'", "the name of a tensor is allowed")
    bad({ types = { "F16" } }, "has the key 1")
    bad({ types = "F16" }, "option 'types' is 'F16'")
    bad({ types = { ["n.weight"] = "Q8_0" } }, "'n.weight': its rows of 40 weights do not divide into Q8_0's blocks of 32")
    bad({ types = { ["m.weight"] = "IQ2_XXS" } }, "weights cannot be written as IQ2_XXS")
    bad({ metadata = { u8 = 256 } }, "gives the key 'u8' 256: a value of type u8 is allowed")
    bad({ metadata = { u8 = "1" } }, "gives the key 'u8' '1'")
    bad({ metadata = { i16 = 0.5 } }, "'i16' 0.5")
    bad({ metadata = { yes = 1 } }, "'yes' 1: a value of type bool")
    bad({ metadata = { f32 = "1" } }, "a value of type f32")
    bad({ metadata = { empty = 1 } }, "a value of type string")
    bad({ metadata = { words = "x" } }, "a list, as in the file, is allowed")
    bad({ metadata = { u8 = { 1 } } }, "a single value, as in the file, is allowed")
    bad({ metadata = { words = { "x", 1 } } }, "'words' 1: a value of type string")
    bad({ metadata = { new = {} } }, "'new' a table")
    bad({ metadata = { new = print } }, "'new' a function")
    bad({ metadata = { new = { { 1 } } } }, "'new' a table")
    bad({ metadata = { [1] = 1 } }, "has the key 1")
    bad({ metadata = { [""] = 1 } }, "has the key ''")
    bad({ metadata = { ["a\0b"] = 1 } }, "has the key")
    bad({ metadata = { ["general.alignment"] = 48 } }, "general.alignment", "a power of two")
    bad({ drop = { "nothing" } }, "'drop' has 'nothing' at 1: a key of the file is allowed")
    bad({ drop = "u8" }, "option 'drop' is 'u8'")
    bad({ threads = 0 }, "threads")
    bad({ progress = true }, "option 'progress' is true")
    bad({ type = "F16" }, "unknown option 'type'", "types")
    t.raises(function() file:convert() end, "a path expected")
end)

t.test("what the world refuses is nil and a message, and leaves nothing", function()
    t.refuses({ file:convert "/no/such/folder/x.gguf" }, "/no/such/folder/x.gguf")
    t.refuses({ file:convert(path, { types = { ["m.weight"] = "F16" } }) }, path, "it is the file that is read")
    local out = temporary()
    os.remove(out)
    local large = row(256, 4)
    large[200] = 1e6
    local odd <close> = assert(perilune.gguf(write(temporary(), gguf({}, { { "x", { 256 }, large } }))))
    t.refuses({ odd:convert(out, { types = { x = "F16" } }) }, "'x': found a weight that F16 cannot hold")
    t.eq(select(3, odd:convert(out, { types = { x = "Q8_0" } })), "format")
    t.ok(not exists(out))
    t.eq(odd:convert(out, { types = { x = "BF16" } }), true)
end)

t.test("progress goes from 0 to 1, and may end it", function()
    local out, seen = temporary(), {}
    write(out, "old")
    assert(file:convert(out, { types = { ["m.weight"] = "Q4_K" }, progress = function(x) seen[#seen + 1] = x end }))
    t.eq(seen[1], 0.0)
    t.eq(seen[#seen], 1.0)
    for i = 2, #seen do t.ok(seen[i] >= seen[i - 1]) end
    write(out, "old")
    for stop = 1, #seen do
        local n = 0
        t.refuses({ file:convert(out, { progress = function() n = n + 1 return n < stop end }) }, "cancelled")
        t.eq(read(out), "old")
    end
    local raised = t.raises(function() file:convert(out, { progress = function() error "mine" end }) end, "mine")
    t.eq(type(raised), "string")
    t.eq(read(out), "old")
end)

t.test("a progress function cannot take the file away", function()
    local out, source = temporary(), assert(perilune.gguf(path))
    t.raises(function() source:convert(out, { progress = function() source:close() end }) end, "while it is converted")
    t.raises(function() source:convert(out, { progress = function() source:convert(out) end }) end, "converted already")
    t.eq(source:convert(out), true)
    source:close()
end)

t.test("a closed file says so", function()
    local source = assert(perilune.gguf(path))
    source:close()
    source:close()
    t.eq(tostring(source), "GGUF file (closed)")
    for _, method in ipairs { "info", "metadata", "get", "tensors", "convert" } do
        t.eq(t.raises(function() source[method](source, "x") end, "the GGUF file is closed").code, "closed")
    end
    t.raises(function() file.get("x", "u8") end, "a GGUF file expected, got 'x'")
end)

t.test("a converted model computes like its source", function()
    local out = temporary()
    local demo <close> = assert(perilune.gguf(DEMO))
    local types = {}
    for _, tensor in ipairs(demo:tensors()) do types[tensor.name] = "F32" end
    assert(demo:convert(out, { types = types }))
    local wide <close> = assert(perilune.load(out))
    local model <close> = assert(perilune.load(DEMO))
    local question = { input = "The capital of France is", max_new_tokens = 12 }
    t.eq((wide:generate(question)), (model:generate(question)))
end)

file:close()
scratch.clean()
t.done()
