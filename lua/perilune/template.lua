-- template: forced text with holes that the model fills:
--
--     local card = perilune.template "Name: {name:stop='\n'} Age: {age:max=3}"
--     local fields, cache = card:fill(model, {cache = cache, temperature = 0.7})
--
-- A hole is {name} or {name:key=value,...}; {{ and }} are braces. The keys are stop and choices
-- (one text, or several: 'a'|'b'), max (most new tokens), stop_at_eog and the options that say how
-- to sample. Where a forced text ends inside a longer token, that is healed: the last tokens of the
-- text are taken back, and the hole begins by spelling them.

local core = require "perilune.core"
local options = require "perilune.options"

local STOP_BYTES = 16 -- of the text behind a hole, at most so many are what it stops at

local hole_keys = {stop = "text", choices = "text", max = "number", stop_at_eog = "boolean"}
for key, kind in pairs(core.generate_options) do
  if kind == "number" then hole_keys[key] = kind end
end

-- ---- reading ----

-- A place in the template's text; what is wrong there is said with its line and column.
local Reader = {}
Reader.__index = Reader

function Reader:fail(at, message, ...)
  local before = self.text:sub(1, at - 1)
  local _, lines = before:gsub("\n", "")
  local column = #before:match "[^\n]*$" + 1
  local where = lines > 0 and ("line %d, column %d"):format(lines + 1, column)
    or ("column %d"):format(column)
  core.raise("argument", ("template: %s: %s"):format(where, message:format(...)))
end

-- The pattern's match here, behind which reading goes on; nil when there is none. White space in
-- front goes.
function Reader:take(pattern)
  local at, last, found = self.text:find("^%s*(" .. pattern .. ")", self.at)
  if at then
    self.at = last + 1
    return found
  end
end

-- What stands here, for a message.
function Reader:found()
  local rest = self.text:match("^%s*([^\n]*)", self.at)
  return rest == "" and "the end" or ("'%s'"):format(rest:match "^.[\128-\191]*")
end

function Reader:expect(pattern, what)
  local found = self:take(pattern)
  if not found then
    local at = self.text:find("%S", self.at) or #self.text + 1
    self:fail(at, "%s expected, found %s", what, self:found())
  end
  return found
end

-- A text in quotes, with Lua's escapes; it may hold line breaks as they are.
function Reader:quoted()
  local quote = self:take "['\"]"
  if not quote then return nil end
  local begin, parts = self.at - 1, {}
  while true do
    local part = self.text:match("^\\?[%s%S]", self.at)
    if not part then self:fail(begin, "a text that begins with %s does not end", quote) end
    self.at = self.at + #part
    if part == quote then break end
    table.insert(parts, part == "\n" and "\\n" or part == "\r" and "\\r" or part)
  end
  local value = load("return " .. quote .. table.concat(parts) .. quote, "", "t", {})
  if not value then
    self:fail(begin, "%s has an escape that Lua does not know",
      self.text:sub(begin, self.at - 1))
  end
  return value()
end

-- 'a'|'b'
function Reader:texts(key, list)
  repeat
    local text = self:quoted()
    if not text then self:expect("['\"]", "a text in quotes for " .. key) end
    if text == "" then self:fail(self.at - 2, "%s: a text that is not empty expected", key) end
    table.insert(list, text)
  until not self:take "|"
  return list
end

function Reader:value(key, options)
  local kind = hole_keys[key]
  if kind == "text" then
    return self:texts(key, options[key] or {})
  end
  local at = self.text:find("%S", self.at) or self.at
  local word = self:expect("[%w_.+-]+", ("a %s for %s"):format(kind, key))
  local value = tonumber(word)
  if kind == "boolean" then value = ({["true"] = true, ["false"] = false})[word] end
  if value == nil then self:fail(at, "%s is '%s': a %s expected", key, word, kind) end
  if key == "max" and (math.type(value) ~= "integer" or value < 0) then
    self:fail(at, "max is %s: a whole number of at least 0 expected", word)
  end
  return value
end

-- {name:key=value,...}, behind its brace.
function Reader:hole()
  local hole = {name = self:expect("[%a_][%w_]*", "a name"), options = {}}
  local more = self:expect("[:}]", "':' or '}'")
  while more ~= "}" do
    local key = self:expect("[%a_][%w_]*", "a key")
    local at = self.at - #key
    if not hole_keys[key] then self:fail(at, "unknown key '%s'", key) end
    if hole.options[key] ~= nil and hole_keys[key] ~= "text" then
      self:fail(at, "%s is given twice", key)
    end
    self:expect("=", "'='")
    hole.options[key] = self:value(key, hole.options)
    more = self:expect("[,}]", "',' or '}'")
  end
  return hole
end

-- The parts: texts, and holes.
local function read(text)
  local reader = setmetatable({text = text, at = 1}, Reader)
  local parts, literal, names = {}, "", {}
  while true do
    local at = text:find("[{}]", reader.at)
    literal = literal .. text:sub(reader.at, (at or 0) - 1)
    if not at then break end
    local brace = text:sub(at, at)
    if text:sub(at + 1, at + 1) == brace then
      literal = literal .. brace
      reader.at = at + 2
    elseif brace == "}" then
      reader:fail(at, "a '}' that closes nothing; }} is a brace")
    else
      reader.at = at + 1
      local hole = reader:hole()
      if names[hole.name] then reader:fail(at, "there is a hole '%s' already", hole.name) end
      names[hole.name] = true
      table.insert(parts, literal)
      table.insert(parts, hole)
      literal = ""
    end
  end
  table.insert(parts, literal)
  return parts
end

-- What a hole stops at where it says nothing else: the beginning of the text behind it, up to the
-- first line break, and no longer than is likely to be said in one piece.
local function stop_before(literal)
  local stop = literal:match "^[^\n]*\n?"
  if #stop <= STOP_BYTES then return stop end
  local last = STOP_BYTES
  while last > 1 and (stop:byte(last + 1) & 0xC0) == 0x80 do last = last - 1 end -- whole characters
  return stop:sub(1, last)
end

-- ---- filling ----

---@class perilune.Template
---@field names string[] of its holes, in order
local Template = {}
Template.__index = Template

local function extend(cache, input)
  if input == nil or input == "" then return cache end
  return cache:extend(input)
end

-- The cache behind which a hole stands.
local function before(hole, cache, forced)
  local whole = extend(cache, forced)
  if #whole == 0 then
    core.raise("argument", ("fill: nothing to continue from: no token stands before hole '%s'")
      :format(hole.name))
  end
  return whole
end

-- The hole's text is the most probable of its choices.
local function choose(model, hole, cache, forced)
  local whole = before(hole, cache, forced)
  local head, prefix = whole:heal()
  -- What opens a text is not encoded as what goes on with one: then nothing is healed.
  if head:text() == "" then head, prefix = whole, "" end
  local list = {}
  for i, text in ipairs(hole.options.choices) do list[i] = prefix .. text end
  local index, chosen, logprobs = model:select(head, list)
  local text = hole.options.choices[index]
  return text, chosen,
    {finish_reason = "choice", text = text, index = index, logprobs = logprobs, before = chosen}
end

-- The cache without the last n bytes of its text, which stand behind its first `keep` tokens.
local function without(cache, keep, n)
  local text, short, left = cache:text(keep + 1), cache, nil
  repeat
    short = short:truncate(#short - 1)
    left = short:text(keep + 1)
  until #left <= #text - n
  return extend(short, text:sub(#left + 1, -n - 1))
end

-- The hole's text is what the model says.
local function generate(model, hole, cache, forced, literal, defaults, decode)
  local whole = before(hole, cache, forced)
  local head, prefix = whole:heal()
  local o = {stop_at_eog = true}
  for key, value in pairs(defaults) do o[key] = value end
  for key, value in pairs(hole.options) do
    if key ~= "max" and key ~= "stop" then o[key] = value end
  end
  o.cache = head
  if prefix ~= "" then o.prefix = prefix end
  if hole.options.max then o.max_new_tokens = hole.options.max end
  if o.max_new_tokens then -- what spells the prefix is not of the hole
    o.max_new_tokens = o.max_new_tokens + #whole - #head
  end
  local own, behind, more = hole.options.stop, nil, defaults.stop
  local stops = own and table.move(own, 1, #own, 1, {}) or {}
  if not own and literal ~= "" then
    behind = stop_before(literal)
    stops[1] = behind
  end
  for _, stop in ipairs(type(more) == "string" and {more} or more or {}) do
    table.insert(stops, stop)
  end
  o.stop = #stops > 0 and stops or nil
  local _, cache, info = decode(model, o)
  local text = info.text
  cache = info.before or cache
  -- There were too few tokens to spell the prefix: the text stands there all the same.
  if text == "" and #cache:text() < #whole:text() then cache = whole end
  for n = math.min(behind and #behind - 1 or 0, #text), 1, -1 do
    if text:sub(-n) == behind:sub(1, n) then -- max fell into the text behind
      return text:sub(1, -n - 1), without(cache, #head, n), info
    end
  end
  return text, cache, info
end

--- Fills the holes, one after the other, and returns their texts by name, the cache that ends with
--- the template's text, and what there is to know of each hole by name. Options: `cache` and
--- `input`, what stands before it; `values`, texts by name that are forced, not generated;
--- `on_field(name, text)`; `decode(model, options)` in the place of model:generate; and generate's
--- options, for all holes.
---@param model perilune.Model
---@param given? table
---@return table<string, string> fields
---@return perilune.Cache cache
---@return table<string, perilune.Info> info
function Template:fill(model, given)
  local own, defaults = options.read("fill", given or {}, {
    values = {}, on_field = false, decode = false,
  })
  for _, key in ipairs {"prefix", "beside"} do -- a hole has its own
    if defaults[key] then core.raise("argument", ("fill has no option '%s'"):format(key)) end
  end
  local values, cache, forced = own.values, options.begin(model, defaults), self.parts[1]
  defaults = options.behind(defaults, nil)
  for name, value in pairs(values) do
    if not self.holes[name] then
      core.raise("argument", ("fill: option 'values' has '%s', and the template has no such hole")
        :format(tostring(name)))
    elseif type(value) ~= "string" then
      core.raise("argument", ("fill: option 'values' has a %s for '%s': a text is allowed")
        :format(type(value), name))
    end
  end
  if #cache == 0 and forced == "" then cache = cache:extend "" end -- the token that begins a text
  local fields, infos = {}, {}
  for i = 2, #self.parts, 2 do
    local hole, literal = self.parts[i], self.parts[i + 1]
    local text, info = values[hole.name], nil
    if text then
      forced, info = forced .. text, {finish_reason = "given", text = text}
    else
      if hole.options.choices then
        text, cache, info = choose(model, hole, cache, forced)
      else
        text, cache, info = generate(model, hole, cache, forced, literal, defaults,
          own.decode or model.generate)
      end
      forced = ""
    end
    fields[hole.name], infos[hole.name] = text, info
    if own.on_field then own.on_field(hole.name, text) end
    forced = forced .. literal
  end
  return fields, extend(cache, forced), infos
end

Template.__call = Template.fill
Template.__name = "perilune.template"

--- Reads a template: forced text with holes, {name} or {name:key=value,...}.
---@param text string
---@return perilune.Template
return function(text)
  if type(text) ~= "string" then
    core.raise("argument", ("template: a text expected, got a %s"):format(type(text)))
  end
  local self = setmetatable({parts = read(text), holes = {}, names = {}}, Template)
  for i = 2, #self.parts, 2 do
    local name = self.parts[i].name
    self.holes[name] = self.parts[i]
    table.insert(self.names, name)
  end
  return self
end
