-- scratch.lua: files that exist for one test file. What is made here is removed by clean(), which the test file calls at its end.
local M = {}

local paths = {}

--- A file to be removed by clean(), whoever makes it.
---@param path string
---@return string path
function M.keep(path)
    paths[#paths + 1] = path
    return path
end

---@param path string
---@param bytes string
---@return string path
function M.write(path, bytes)
    local file <close> = assert(io.open(path, "wb"))
    assert(file:write(bytes))
    return path
end

--- A new file with this content, "" if absent.
---@param content? string
---@return string path
function M.temporary(content)
    return M.write(M.keep(os.tmpname()), content or "")
end

---@param path string
---@return string bytes
function M.read(path)
    local file <close> = assert(io.open(path, "rb"))
    return file:read "a"
end

---@param path string
---@return boolean
function M.exists(path)
    local file <close> = io.open(path)
    return file ~= nil
end

function M.clean()
    for _, path in ipairs(paths) do os.remove(path) end
end

return M
