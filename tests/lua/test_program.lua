-- The program: its command line, exit statuses, standard input, sessions without a terminal,
-- tracebacks, interrupts. It is run through the shell, as a user does.
local t = dofile "tests/lua/harness.lua"

local program = arg[-1]
if not program:find "perilune[^/]*$" then
    -- another Lua runs this file: the program was, or will be, tested by itself
    t.test("the program", function() t.skip "this is not the program" end)
    t.done()
end

local scratch = dofile "tests/lua/scratch.lua"
local temporary, read = scratch.temporary, scratch.read

-- Runs the program with the given rest of a command line: output, errors, exit status.
local function run(command, input)
    local out, err = temporary "", temporary ""
    local line = ("'%s' %s >'%s' 2>'%s' <'%s'"):format(program, command, out, err,
        input and temporary(input) or "/dev/null")
    local _, how, status = os.execute(line)
    return read(out), read(err), how == "exit" and status or how .. status
end

local function has(text, ...)
    for _, piece in ipairs { ... } do
        if not text:find(piece, 1, true) then
            error(("found %q, expected in it %q"):format(text, piece), 2)
        end
    end
end

t.test("a script runs with its arguments", function()
    local path = temporary "print(arg[0], #arg, arg[1], arg[2], ...)  return 5"
    local out, err, status = run(path .. " one 'two words'")
    t.eq(out, path .. "\t2\tone\ttwo words\tone\ttwo words\n")
    t.eq(err, "")
    t.eq(status, 0)
    out = run(("-- '%s' -i"):format(temporary "print(arg[1], arg[-1])"))
    t.eq(out, "-i\t--\n")
end)

t.test("-e runs code with the module at hand, in order, before the script", function()
    local out, err, status = run [[-e "x = 1" -e "print(x, perilune.version)"]]
    has(out, "1\t")
    t.eq(err, "")
    t.eq(status, 0)
    out = run([[-e"x = 7" ]] .. temporary "print(x, perilune ~= nil)")
    t.eq(out, "7\ttrue\n")
    out = run("-e 'print(#arg, arg[0] ~= nil)'")
    t.eq(out, "2\ttrue\n") -- -e and the code, as in lua
end)

t.test("a script on standard input", function()
    local script = "local perilune = require 'perilune'\nprint(perilune.version ~= nil, ...)\n"
    t.eq(run("", script), "true\n")
    t.eq(run("- a b", script), "true\ta\tb\n")
    local _, err, status = run("", "error 'x'")
    has(err, "stdin:1: x")
    t.eq(status, 1)
end)

t.test("an error ends with status 1, and a traceback with line numbers", function()
    local path = temporary [[
local function inner() error "broken" end
local function outer()
    inner()
end
outer()
]]
    local out, err, status = run(path)
    t.eq(out, "")
    has(err, path .. ":1: broken", "stack traceback:", path .. ":3: in",
        path .. ":5: in main chunk")
    t.eq(status, 1)
    for code, piece in pairs { ["error {}"] = "(the error is a table value)",
        ["x ="] = "unexpected symbol",
        ["error(setmetatable({}, {__tostring = function() return 'mine' end}))"] = "mine",
            ["error()"] = "nil" } do
        _, err, status = run("-e " .. ("%q"):format(code))
        has(err, "perilune: ", piece)
        t.eq(status, 1)
    end
    _, err, status = run "/no/such/script.lua"
    has(err, "/no/such/script.lua")
    t.eq(status, 1)
end)

t.test("error objects, and errors in callbacks, say where", function()
    local path = temporary [[
local model = assert(require "perilune".load "scripts/demo/demo.gguf")
local function bad()
    model:generate {input = "x", max_new_tokens = -1}
end
bad()
]]
    local _, err, status = run(path)
    has(err, path .. ":3: option 'max_new_tokens' is -1", path .. ":5: in main chunk")
    t.eq(status, 1)
    path = temporary [[
local model = assert(require "perilune".load "scripts/demo/demo.gguf")
model:generate {input = "x", max_new_tokens = 3, on_token = function()
    local x = nil + 1
end}
]]
    _, err, status = run(path)
    has(err, "on_token: " .. path .. ":3: attempt to perform arithmetic", "stack traceback:",
        path .. ":2: in")
    t.eq(status, 1)
end)

t.test("what is wrong on the command line ends with status 2 and the usage", function()
    for _, command in ipairs { "-x", "--wrong", "-e" } do
        local out, err, status = run(command)
        t.eq(out, "")
        has(err, "usage: perilune")
        t.eq(status, 2)
    end
end)

t.test("-v and --help", function()
    local out, err, status = run "-v"
    t.ok(out:find "^Perilune %d+%.%d+%.%d+ %(%w+%), Lua 5%.4")
    t.eq(err .. status, "0")
    out, err, status = run "--help"
    has(out, "usage: perilune", "-e", "-i", "-v")
    t.eq(err .. status, "0")
    out = run "-v -e 'print(1)'"
    has(out, "Perilune", "\n1\n")
end)

t.test("a session prints expressions, takes several lines, and outlives errors", function()
    local out, err, status = run("-i", [[
1 + 1, "two"
x = 5
x
function f(a)
  return a * 2
end
f(21)
error "oops"
nil + 1
= 3
perilune.version ~= nil
for i = 1, 2 do
print(i)
end
local y = 1
y
]])
    t.eq(out, "2\ttwo\n5\n42\ntrue\n1\n2\nnil\n")
    has(err, "stdin:1: oops", "attempt to perform arithmetic", "unexpected symbol")
    t.eq(status, 0)
    out = run("-i " .. temporary "z = 9", "z\n")
    t.eq(out, "9\n")
    _, err = run("-i", "function f(")
    has(err, "<eof>")
end)

t.test("loading shows nothing when output is no terminal", function()
    local out, err, status = run [[-e "assert(perilune.load 'demo')"]]
    t.eq(out .. err, "")
    t.eq(status, 0)
end)

t.test("os.exit and its status pass through", function()
    local _, _, status = run "-e 'os.exit(7)'"
    t.eq(status, 7)
    _, _, status = run "-e 'os.exit(true, true)'"
    t.eq(status, 0)
end)

t.test("a reader that leaves ends the program quietly", function()
    local out = temporary ""
    local path = temporary "for i = 1, 1e6 do print(i) end"
    os.execute(("'%s' '%s' 2>'%s' | head -1 >/dev/null"):format(program, path, out))
    t.eq(assert(io.open(out)):read "a", "")
end)

t.test("an interrupt ends the generation, and the script goes on", function()
    local path = temporary [[
local model = assert(require "perilune".load "scripts/demo/demo.gguf")
local before = os.time()
io.stdout:write "begun\n" io.stdout:flush()
local total, cache, info = 0, nil, nil
repeat
    _, cache, info = model:generate {input = "Once upon a time", max_new_tokens = 1000}
until info.finish_reason == "cancelled" or os.time() - before > 60
print(info.finish_reason, #model:generate {cache = cache:truncate(4), max_new_tokens = 3})
]]
    local out = temporary ""
    os.execute(([['%s' '%s' >'%s' 2>&1 & pid=$!
        for i in $(seq 300); do grep -q begun '%s' && break; sleep 0.1; done
        sleep 0.3; kill -INT $pid; wait $pid; echo "status $?" >>'%s']])
        :format(program, path, out, out, out))
    local text = assert(io.open(out)):read "a"
    -- between two generations it interrupts the script instead
    if not text:find "interrupted!" then has(text, "begun\ncancelled\t3\nstatus 0") end
end)

t.test("an interrupt ends a stream, which keeps what it came to", function()
    local path = temporary [[
local model = assert(require "perilune".load "scripts/demo/demo.gguf")
local stream, n = model:stream {input = "Once upon a time", max_new_tokens = 900}, 0
for _ in stream do
    if n == 0 then io.stdout:write "begun\n" io.stdout:flush() end
    n = n + 1
    local till = os.clock() + 0.02
    while os.clock() < till do end
end
print(stream.info.finish_reason, n > 0 and n < 900, n == #stream.tokens)
]]
    local out = temporary ""
    os.execute(([['%s' '%s' >'%s' 2>&1 & pid=$!
        for i in $(seq 300); do grep -q begun '%s' && break; sleep 0.1; done
        kill -INT $pid; wait $pid; echo "status $?" >>'%s']])
        :format(program, path, out, out, out))
    has(assert(io.open(out)):read "a", "begun\ncancelled\ttrue\ttrue\nstatus 0")
end)

t.test("an interrupt ends a script that generates nothing, with an error", function()
    local path = temporary "io.stdout:write 'begun\\n' io.stdout:flush() while true do end"
    local out = temporary ""
    os.execute(([['%s' '%s' >'%s' 2>&1 & pid=$!
        for i in $(seq 300); do grep -q begun '%s' && break; sleep 0.1; done
        kill -INT $pid; wait $pid; echo "status $?" >>'%s']])
        :format(program, path, out, out, out))
    has(assert(io.open(out)):read "a", "interrupted!", "status 1")
end)

t.test("errors of tasks that nobody joins end a script", function()
    local out, err, status = run(temporary "local p = require 'perilune' p.spawn(function() error 'lonely' end) p.sleep(0.01) print 'end'")
    t.eq(out, "end\n")
    has(err, "lonely")
    t.eq(status, 1)
end)

-- Every script of the cookbook runs as it stands, and says what it is there to say.
local says = {
    beam = "4 beams", diverse_beam = "4 groups", best_of_n = "most names", mbr = "0.", mcts = "tree of 64",
    self_consistency = "nine:", contrastive_search = "triples repeat", contrastive_decoding = "contrastive:",
    guidance = "scale 2.0", speculative = "true", prompt_lookup = '{"name": "Kofi"', watermark = "key 43",
    rewind = "gated:", select = "Oslo", fill = '{"name": "Mirabel", "age": 9', continue = "", dialog = "", force = "However,", fork = "", generate = "", sample = "", stream = "",
    parallel = "480 tokens in", npcs = "I am Mira, a blacksmith in Oakford.", game_loop = "frames in", tree_of_thoughts = "depth 3",
}
for name, piece in pairs(says) do
    t.test("scripts/" .. name .. ".lua runs", function()
        local out, err, status = run("scripts/" .. name .. ".lua")
        t.eq(err, "")
        t.eq(status, 0)
        has(out, piece)
    end)
end

scratch.clean()
t.done()
