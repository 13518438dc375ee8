-- The tools among the scripts: inspect, quantize, perplexity. They are run through the shell on the bundled model, as a user
-- does; perplexity is compared with what its definition gives here.
local t = dofile "tests/lua/harness.lua"

local program = arg[-1]
if not program:find "perilune[^/]*$" then
    -- another Lua runs this file: the program was, or will be, tested by itself
    t.test("the tools", function() t.skip "this is not the program" end)
    t.done()
end
local perilune = require "perilune"

local DEMO = "scripts/demo/demo.gguf"
local scratch = dofile "tests/lua/scratch.lua"
local temporary, read, exists = scratch.temporary, scratch.read, scratch.exists

-- Runs a script with the rest of a command line: output, errors, exit status.
local function run(command)
    local out, err = temporary(), temporary()
    local _, how, status = os.execute(("'%s' scripts/%s >'%s' 2>'%s' </dev/null"):format(program, command, out, err))
    return read(out), read(err), how == "exit" and status or how .. status
end

local function has(text, ...)
    for _, piece in ipairs { ... } do
        if not text:find(piece, 1, true) then error(("found %q, expected in it %q"):format(text, piece), 2) end
    end
end

-- Runs a script that should fail with a message of one line and no traceback.
local function fails(command, ...)
    local out, err, status = run(command)
    has(err, ...)
    t.ok(not err:find "traceback", err)
    t.eq(out, "")
    t.eq(status, 1)
end

-- ---- inspect ----

t.test("inspect shows the model, its metadata and sums, within the terminal's width", function()
    for _, width in ipairs { 60, 80, 120 } do
        local out, err, status = run("inspect.lua --tensors --width " .. width)
        t.eq(err, "")
        t.eq(status, 0)
        has(out, "architecture     llama", "layers           5", "vocabulary       2048", "general.license", '"MIT"',
            "2048 x string:", "token_embd.weight", "256 x 2048", "3.48 M parameters", "bits per weight", "\n  supported\n")
        for line in out:gmatch "[^\n]+" do t.ok(utf8.len(line) <= width, line) end
    end
    t.ok(not run("inspect.lua " .. DEMO):find("token_embd", 1, true))
end)

t.test("inspect prints one value as it is", function()
    t.eq(run "inspect.lua --key general.architecture", "llama\n")
    local merges = run("inspect.lua --key tokenizer.ggml.merges " .. DEMO)
    t.eq(select(2, merges:gsub("\n", "")), #assert(perilune.gguf(DEMO)):get "tokenizer.ggml.merges")
    fails("inspect.lua --key nothing", "has no key 'nothing'")
end)

t.test("inspect says what is not supported, and what a file lacks", function()
    local file <close> = assert(perilune.gguf(DEMO))
    local other = temporary()
    assert(file:convert(other, { metadata = { ["general.architecture"] = "mamba" } }))
    local out, _, status = run("inspect.lua " .. other)
    t.eq(status, 0)
    has(out, "not supported: the architecture 'mamba' is not supported")
    fails("inspect.lua /no/such/file", "inspect: /no/such/file")
    fails("inspect.lua README.md", "not a GGUF file")
    fails("inspect.lua --wrong", "usage:")
    fails("inspect.lua " .. temporary(read(DEMO):sub(1, 5000)), "cut off")
end)

t.test("no text of a file reaches the terminal as control characters", function()
    local file <close> = assert(perilune.gguf(DEMO))
    local other = temporary()
    assert(file:convert(other, { metadata = { ["general.name"] = "a\27[2Jb", ["general.license"] = "\xFF\xFE" } }))
    local out = run("inspect.lua " .. other)
    t.ok(not out:find "\27")
    has(out, "a\\x1b[2Jb")
end)

t.test("inspect takes a vocabulary without weights", function()
    local out, _, status = run("inspect.lua " .. t.shared "vocab/ggml-vocab-llama-spm.gguf")
    t.eq(status, 0)
    has(out, "a vocabulary without weights: loads with vocab_only")
end)

-- ---- quantize ----

local function types_of(path)
    local file <close> = assert(perilune.gguf(path))
    local types = {}
    for _, tensor in ipairs(file:tensors()) do types[tensor.name] = tensor.type end
    return types, file:get "general.file_type", file:get "general.quantization_version"
end

t.test("quantize writes each type, which loads and knows its capitals", function()
    local numbers = { Q8_0 = 7, Q4_0 = 2, Q4_K_M = 15, Q6_K = 18, Q5_K_M = 17, IQ4_XS = 30, BF16 = 32, F32 = 0 }
    for type, number in pairs(numbers) do
        local path = temporary()
        local out, err, status = run(("quantize.lua demo '%s' %s"):format(path, type:lower()))
        t.eq(err, "")
        t.eq(status, 0)
        has(out, path, type, "47 tensors", "bits per weight")
        local _, file_type, version = types_of(path)
        t.eq(file_type, number)
        t.eq(version, 2)
        local model <close> = assert(perilune.load(path))
        local _, _, info = model:generate { input = "The capital of France is", max_new_tokens = 8, stop = "." }
        t.eq(info.text, " Paris")
    end
end)

t.test("in Q4_K_M the embedding, and values and ffn_down of some layers, have more bits", function()
    local path = temporary()
    run(("quantize.lua demo '%s' Q4_K_M"):format(path))
    local types = types_of(path)
    for name, type in pairs(types) do
        -- of five layers: those from 7/8 on (4), and every third (2); the embedding is the output as well
        local better = name == "token_embd.weight" or name:find "^blk%.[24]%.attn_v" or name:find "^blk%.[24]%.ffn_down"
        t.eq(type, name:find "norm" and "F32" or better and "Q6_K" or "Q4_K", name)
    end
end)

t.test("each type is what llama.cpp made of the same model, tensor by tensor", function()
    local from = t.shared "parity/llama-f32.gguf"
    for _, type in ipairs { "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "IQ4_XS", "Q3_K_M",
        "Q2_K", "F16", "BF16" } do
        local path = temporary()
        run(("quantize.lua '%s' '%s' %s"):format(from, path, type))
        t.eq({ types_of(path) }, { types_of(t.shared("parity/llama-" .. type:lower() .. ".gguf")) }, type)
    end
end)

t.test("rows that no block divides are said, not hidden", function()
    local out, _, status = run(("quantize.lua '%s' '%s' Q4_K_M"):format(t.shared "parity/qwen3.gguf", temporary()))
    t.eq(status, 0)
    has(out, "blk.*.attn_q.weight: rows of 128 weights are no multiple of Q4_K's 256: Q5_0 instead (2)")
end)

t.test("quantize refuses what it should, and leaves nothing", function()
    local small, out = temporary(), temporary()
    os.remove(out)
    run(("quantize.lua demo '%s' Q8_0"):format(small))
    fails(("quantize.lua '%s' '%s' Q4_0"):format(small, out), "36 of its tensors are quantized already", "--requantize")
    fails(("quantize.lua demo '%s' Q9"):format(out), "no type 'Q9'", "Q4_K_M")
    fails("quantize.lua demo", "usage:")
    fails(("quantize.lua demo '%s' Q8_0 --wrong"):format(out), "--wrong", "usage:")
    fails("quantize.lua demo /no/such/folder/x Q8_0", "/no/such/folder/x")
    fails(("quantize.lua '%s' '%s' F16 --requantize"):format(small, small), "it is the file that is read")
    local text, _, status = run(("quantize.lua demo '%s' Q8_0 --dry-run"):format(out))
    t.eq(status, 0)
    has(text, "not written", "Q8_0")
    t.ok(not exists(out))
    text, _, status = run(("quantize.lua '%s' '%s' F16 --requantize"):format(small, out))
    t.eq(status, 0)
    t.eq(types_of(out)["blk.0.attn_q.weight"], "F16")
    os.remove(out)
end)

-- ---- perplexity ----

local TEXT = ("The capital of France is Paris. Once upon a time, there was a girl who liked the sea.<|endoftext|>\n"):rep(12)

t.test("perplexity is that of the second half of each chunk", function()
    local path = temporary(TEXT)
    for _, special in ipairs { "", "--special" } do
        local out, err, status = run(("perplexity.lua demo '%s' --ctx 64 %s"):format(path, special))
        t.eq(err, "")
        t.eq(status, 0)
        local model <close> = assert(perilune.load "demo")
        local ids = model:encode(TEXT, { special = special ~= "" })
        local sum, n = 0, 0
        for chunk = 0, #ids // 64 - 1 do
            for last = 64 // 2 + 1, 63 do -- after positions 33 to 63: the 31 tokens behind them
                local cache = model:cache():extend(table.move(ids, 64 * chunk + 1, 64 * chunk + last, 1, {}))
                sum, n = sum - cache:logits():logprob(ids[64 * chunk + last + 1]), n + 1
                cache:close()
            end
        end
        has(out, ("%d tokens; chunks of 64, %d tokens scored"):format(#ids, n))
        t.near(tonumber(out:match "demo%s+[%d.]+%s+([%d.]+) %+%-"), math.exp(sum / n), 1e-3)
    end
end)

t.test("with a stride, the last tokens of overlapping chunks are scored", function()
    local path = temporary(TEXT)
    local out, _, status = run(("perplexity.lua demo '%s' --ctx 64 --stride 16 --chunks 3"):format(path))
    t.eq(status, 0)
    has(out, "chunks of 64, 48 tokens scored")
    local model <close> = assert(perilune.load "demo")
    local ids, sum = model:encode(TEXT), 0
    for chunk = 0, 2 do
        for at = 49, 64 do
            local cache = model:cache():extend(table.move(ids, 16 * chunk + 1, 16 * chunk + at - 1, 1, {}))
            sum = sum - cache:logits():logprob(ids[16 * chunk + at])
            cache:close()
        end
    end
    t.near(tonumber(out:match "demo%s+[%d.]+%s+([%d.]+) %+%-"), math.exp(sum / 48), 1e-3)
end)

t.test("several models make a table, each compared with the first", function()
    local path, small = temporary(TEXT), temporary()
    run(("quantize.lua demo '%s' Q2_K"):format(small))
    local out, _, status = run(("perplexity.lua demo demo '%s' '%s' --ctx 64"):format(small, path))
    t.eq(status, 0)
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    t.eq(#lines, 5)
    has(lines[4], "+0.00000 +- 0.00000") -- the same model
    local first, other = lines[3]:match "([%d.]+) %+%-", lines[5]:match "([%d.]+) %+%-"
    t.near(tonumber(lines[5]:match "([+-][%d.]+) %+%- [%d.]+$"), math.log(other / first), 1e-4)
end)

t.test("perplexity says what it cannot do", function()
    local path = temporary(TEXT)
    fails("perplexity.lua demo", "usage:")
    fails("perplexity.lua demo /no/such/text", "/no/such/text")
    fails(("perplexity.lua /no/such/model '%s'"):format(path), "/no/such/model")
    fails(("perplexity.lua demo '%s'"):format(temporary "short"), "has 2 tokens, and a chunk needs 512")
    fails(("perplexity.lua demo '%s' --ctx 4096"):format(path), "was trained for 1024 tokens")
    fails(("perplexity.lua demo '%s' --ctx 64 --stride 64"):format(path), "less than a chunk")
    fails(("perplexity.lua demo '%s' --ctx none"):format(path), "--ctx needs a whole number")
end)

scratch.clean()
t.done()
