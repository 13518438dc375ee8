-- harness.lua: what the Lua tests are written with. It runs each test by itself, prints one line
-- for it (`ok`, `not ok` or `skip`), and counts; it knows nothing of what is tested. A file reads
--
--     local t = dofile "tests/lua/harness.lua"
--     t.test("greedy decoding repeats itself", function()
--         t.eq(a, b)
--     end)
--     t.done()
--
-- Run from the repository root; `build/perilune tests/lua/test_x.lua` runs one file alone.

local M = {}

local passed, failed, skipped = 0, 0, 0
local SKIP = {}

local MOST_SHOWN = 40 -- items of a table in a message

--- A value as messages show it: strings quoted, tables one level deep.
---@param value any
---@param nested? boolean
---@return string
function M.show(value, nested)
    if type(value) == "string" then return (("%q"):format(value):gsub("\\\n", "\\n")) end
    if type(value) ~= "table" or getmetatable(value) then return tostring(value) end
    if nested then return "{...}" end
    local parts, n = {}, #value
    for i = 1, math.min(n, MOST_SHOWN) do parts[i] = M.show(value[i], true) end
    if n > MOST_SHOWN then parts[#parts + 1] = "... (" .. n .. " in all)" end
    for key, item in pairs(value) do
        if not (math.type(key) == "integer" and key >= 1 and key <= n) then
            parts[#parts + 1] = tostring(key) .. " = " .. M.show(item, true)
        end
    end
    return "{" .. table.concat(parts, ", ") .. "}"
end

-- The first place where two values differ, as a path like "[3].name"; nil when they are equal.
-- Plain tables are compared by content, all else by ==.
local function difference(a, b, path)
    if a == b then return nil end
    if type(a) ~= "table" or type(b) ~= "table" or getmetatable(a) or getmetatable(b) then
        return path, a, b
    end
    for key in pairs(a) do
        local where, x, y = difference(a[key], b[key], path .. "[" .. tostring(key) .. "]")
        if where then return where, x, y end
    end
    for key in pairs(b) do
        if a[key] == nil then return path .. "[" .. tostring(key) .. "]", nil, b[key] end
    end
end

-- Blames the line that called the check.
local function complain(note, message)
    error((note and note .. ": " or "") .. message, 3)
end

-- The first of the pieces that is not in the text; nil when all are.
local function missing(text, ...)
    for _, piece in ipairs { ... } do
        if not text:find(piece, 1, true) then return piece end
    end
end

--- A list in one line, to be compared or shown.
---@param list any[]
---@return string
function M.join(list) return table.concat(list, " ") end

--- A copy of a table with the fields of another, which come first.
---@param from table
---@param more? table
---@return table
function M.with(from, more)
    local copy = {}
    for key, value in pairs(from) do copy[key] = value end
    for key, value in pairs(more or {}) do copy[key] = value end
    return copy
end

--- Fails unless the two are equal; tables are compared by content.
---@param found any
---@param expected any
---@param note? string
function M.eq(found, expected, note)
    local where, x, y = difference(found, expected, "")
    if not where then return end
    local message = "found " .. M.show(x) .. ", expected " .. M.show(y)
    if where ~= "" then
        message = "at " .. where .. " " .. message .. "; all: found " .. M.show(found)
            .. ", expected " .. M.show(expected)
    end
    complain(note, message)
end

--- Fails unless the two numbers are at most `tolerance` apart; NaN is near nothing.
---@param found number
---@param expected number
---@param tolerance? number 1e-6
---@param note? string
function M.near(found, expected, tolerance, note)
    tolerance = tolerance or 1e-6
    if type(found) == "number" and math.abs(found - expected) <= tolerance then return end
    complain(note, ("found %s, expected %s within %g"):format(M.show(found), expected, tolerance))
end

--- Fails unless `condition` is true.
---@param condition any
---@param note? string
function M.ok(condition, note)
    if not condition then complain(note, "found " .. tostring(condition) .. ", expected true") end
end

--- Fails unless fn raises an error whose text contains each of the given pieces, as plain text.
---@param fn fun()
---@param ... string
---@return any error the error object
function M.raises(fn, ...)
    local ok, err = pcall(fn)
    if ok then complain(nil, "no error, expected one with " .. M.show { ... }) end
    local text = tostring(err)
    local piece = missing(text, ...)
    if piece then
        complain("error", "found " .. M.show(text) .. ", expected in it " .. M.show(piece))
    end
    return err
end

--- Fails unless a call returned nil and a message with each of the pieces: `t.refuses({f()}, "x")`.
---@param results any[] what the call returned
---@param ... string
---@return string message
function M.refuses(results, ...)
    local value, text = results[1], results[2]
    if value ~= nil or text == nil then
        complain(nil, "found " .. M.show(value) .. ", expected nil and a message")
    end
    local piece = missing(tostring(text), ...)
    if piece then
        complain("message", "found " .. M.show(text) .. ", expected in it " .. M.show(piece))
    end
    return text
end

--- Leaves the current test, and says why.
---@param why string
function M.skip(why)
    error(setmetatable({ why = why }, SKIP))
end

--- The path of a file of the shared test data (PERILUNE_SHARED, or ../shared). Skips the current
--- test when it is not there, and fails it instead with CI=true in the environment.
---@param relative string
---@return string path
function M.shared(relative)
    local folder = os.getenv "PERILUNE_SHARED"
    local path = (folder and folder ~= "" and folder or "../shared") .. "/" .. relative
    local file = io.open(path)
    if file then
        file:close()
        return path
    end
    if os.getenv "CI" == "true" then error("CI=true, and there is no " .. path, 2) end
    M.skip("needs " .. path .. ", which is not there")
end

local function one_line(text)
    return (tostring(text):gsub("%s*\n%s*", " "))
end

-- What a failed test leaves: its error, and where it was raised unless it was a skip.
local function handler(err)
    if getmetatable(err) == SKIP then return err end
    return { text = tostring(err), traceback = debug.traceback(nil, 2) }
end

--- Runs one test.
---@param name string its behaviour, in the field's terms
---@param fn fun()
function M.test(name, fn)
    local ok, err = xpcall(fn, handler)
    if ok then
        passed = passed + 1
        print("ok " .. name)
    elseif getmetatable(err) == SKIP then
        skipped = skipped + 1
        print("skip " .. name .. ": " .. one_line(err.why))
    else
        failed = failed + 1
        print("not ok " .. name .. ": " .. one_line(err.text))
        for line in err.traceback:gmatch "[^\n]+" do print("#   " .. line) end
    end
    io.stdout:flush()
end

--- Prints the last line and ends the program; its exit status says whether all passed.
function M.done()
    print(string.format("# passed %d failed %d skipped %d", passed, failed, skipped))
    io.stdout:flush()
    os.exit(failed == 0, true)
end

return M
