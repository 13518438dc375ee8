-- json: values as JSON text and back (RFC 8259), strictly. Lua's strings are bytes: those that are
-- not valid UTF-8 are written one by one as the lone surrogates U+DC80 to U+DCFF (Python's PEP
-- 383), so that every string comes back as it was, and every JSON reader takes the file.

local core = require "perilune.core"

local M = {}

--- What stands for JSON's null, which Lua's tables cannot hold.
M.null = setmetatable({}, {__name = "json.null", __tostring = function() return "null" end})

local DEPTH = 100 -- tables inside of tables

local escapes = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t",
}

local function quote(text)
  local parts, at = {}, 1
  while at <= #text do
    local ok, bad = utf8.len(text, at)
    local valid = ok and text:sub(at) or text:sub(at, bad - 1)
    parts[#parts + 1] = valid:gsub('[%c"\\\127]', function(c)
      return escapes[c] or ("\\u%04x"):format(c:byte())
    end)
    if ok then break end
    parts[#parts + 1] = ("\\udc%02x"):format(text:byte(bad))
    at = bad + 1
  end
  return '"' .. table.concat(parts) .. '"'
end

local function number(x)
  if math.type(x) == "integer" then return ("%d"):format(x) end
  if x ~= x then core.raise("argument", "json.encode: NaN has no JSON") end
  if x == math.huge then return "1e999" end -- which readers take for infinity
  if x == -math.huge then return "-1e999" end
  local text = ("%.17g"):format(x)
  return text:find "[.e]" and text or text .. ".0"
end

local encode

local function array(list, n, depth)
  local parts = {}
  for i = 1, n do parts[i] = encode(list[i], depth) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function object(map, depth)
  local keys = {}
  for key in pairs(map) do
    if type(key) ~= "string" then
      core.raise("argument", ("json.encode: a table has the key %s: a list, or texts as keys, "
        .. "are allowed"):format(tostring(key)))
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for i, key in ipairs(keys) do keys[i] = quote(key) .. ":" .. encode(map[key], depth) end
  return "{" .. table.concat(keys, ",") .. "}"
end

function encode(value, depth)
  local kind = type(value)
  if value == nil or value == M.null then return "null" end
  if kind == "string" then return quote(value) end
  if kind == "number" then return number(value) end
  if kind == "boolean" then return tostring(value) end
  if kind ~= "table" then core.raise("argument", "json.encode: a " .. kind .. " has no JSON") end
  if depth == DEPTH then
    core.raise("argument", ("json.encode: tables deeper than %d"):format(DEPTH))
  end
  local n = #value
  if n > 0 or next(value) == nil then
    local count = 0
    for _ in pairs(value) do count = count + 1 end
    if count == n then return array(value, n, depth + 1) end
  end
  return object(value, depth + 1)
end

--- A value as JSON, on one line: nil, booleans, numbers, texts, lists, and tables with texts as
--- keys, which come sorted. The empty table is the empty list.
---@param value any
---@return string
function M.encode(value)
  return encode(value, 0)
end

-- Reading: a cursor over the text. Errors say what stands at which byte.
local Reader = {}
Reader.__index = Reader

function Reader:fail(what)
  error(("%s at byte %d"):format(what, self.at), 0)
end

function Reader:space()
  self.at = self.text:find("[^ \t\r\n]", self.at) or #self.text + 1
end

function Reader:take(pattern)
  local found = self.text:match("^" .. pattern, self.at)
  if found then self.at = self.at + #found end
  return found
end

function Reader:number()
  local text = self:take "%-?%d+"
  if not text then return self:fail "a value expected" end
  if text:find "^%-?0%d" then self:fail "a number with a leading zero" end
  local rest = (self:take "%.%d+" or "") .. (self:take "[eE][+-]?%d+" or "")
  if rest ~= "" then return tonumber(text .. rest) end
  return math.tointeger(tonumber(text)) or tonumber(text .. ".0")
end

local unescapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

-- Behind "\u": the character, or for one of U+DC80 to U+DCFF the byte that it stands for.
function Reader:codepoint()
  local code = tonumber(self:take "%x%x%x%x" or self:fail "four hexadecimal digits expected", 16)
  if code >= 0xDC80 and code <= 0xDCFF then return string.char(code - 0xDC00) end
  if code >= 0xD800 and code <= 0xDBFF then
    local low = tonumber(self:take "\\u[dD][c-fC-F]%x%x" and self.text:sub(self.at - 4, self.at - 1)
      or self:fail "half of a surrogate pair", 16)
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
  elseif code >= 0xDC00 and code <= 0xDFFF then
    self:fail "half of a surrogate pair"
  end
  return utf8.char(code)
end

function Reader:string()
  local parts = {}
  while true do
    parts[#parts + 1] = self:take '[^"\\%c]+' or self:take "\127"
    if self:take '"' then break end
    if self:take "\\u" then
      parts[#parts + 1] = self:codepoint()
    elseif self:take "\\" then
      parts[#parts + 1] = unescapes[self:take "." or ""] or self:fail "an unknown escape"
    elseif self.text:find("^[\0-\31]", self.at) or self.at > #self.text then
      self:fail "a text without end"
    end
  end
  return table.concat(parts)
end

-- What stands between brackets: `item` reads one.
function Reader:items(close, item)
  self:space()
  if self:take(close) then return end
  repeat
    item()
    self:space()
  until not self:take ","
  if not self:take(close) then self:fail "',' or the end of a list or object expected" end
end

function Reader:value(depth)
  self:space()
  if depth > DEPTH then self:fail("lists and objects deeper than " .. DEPTH) end
  if self:take '"' then return self:string() end
  local result = {}
  if self:take "%[" then
    self:items("%]", function() result[#result + 1] = self:value(depth + 1) end)
    return result
  elseif self:take "{" then
    self:items("}", function()
      self:space()
      local key = self:take '"' and self:string() or self:fail "a key expected"
      self:space()
      if not self:take ":" then self:fail "':' expected" end
      result[key] = self:value(depth + 1)
    end)
    return result
  end
  if self:take "null" then return M.null end
  if self:take "true" then return true end
  if self:take "false" then return false end
  return self:number()
end

--- The value of a JSON text, or nil and what is wrong with it. null is json.null.
---@param text string
---@return any value, string? message
function M.decode(text)
  local reader = setmetatable({text = text, at = 1}, Reader)
  if not utf8.len(text) then return nil, "JSON that is not UTF-8" end
  local ok, result = pcall(function()
    local value = reader:value(0)
    reader:space()
    if reader.at <= #text then reader:fail "more than one value" end
    return value
  end)
  if ok then return result end
  return nil, "bad JSON: " .. tostring(result)
end

return M
