-- phrases: option `banned_phrases` of generate and stream. When the new tokens' text completes one,
-- generation goes back to the token in which it begins, that token is banned there, and another is
-- drawn: the model says something else instead, and not half of it. Tokens that may begin a phrase
-- are held until they do not, so that nobody is told of a token that is taken back. (After S. Paech
-- 2024, antislop-sampler.)
--
-- The methods are those of choose.lua's Driver. A held token is {id, length, certain, forced}: how
-- long the text is with it, how much of that no stop can change, and whether a script forced it in.

local core = require "perilune.core"

local M = {}

-- The phrases by their first byte, and the length of the longest; nil when there are none.
function M.new(list, what)
  if list == nil then return nil end
  if type(list) == "string" then list = {list} end
  if type(list) ~= "table" then
    core.raise("argument",
      ("%s: option 'banned_phrases' is a %s: a text or a list of texts is allowed"):format(
        what, type(list)))
  end
  local by_first, longest = {}, 0
  for i, phrase in ipairs(list) do
    if type(phrase) ~= "string" or phrase == "" then
      core.raise("argument",
        ("%s: option 'banned_phrases' has %s at %d: a text that is not empty is allowed"):format(
          what, type(phrase) == "string" and '""' or type(phrase), i))
    end
    local first = phrase:byte()
    by_first[first] = by_first[first] or {}
    table.insert(by_first[first], phrase)
    longest = math.max(longest, #phrase)
  end
  return longest > 0 and {by_first = by_first, longest = longest} or nil
end

-- Where the first phrase begins that ends behind `fresh` bytes of the text, counted from 0, or nil;
-- and where the first begins that the text's end may still become.
local function search(phrases, text, fresh)
  local partial
  for i = 1, #text do
    for _, phrase in ipairs(phrases.by_first[text:byte(i)] or {}) do
      if text:sub(i, i + #phrase - 1) == phrase:sub(1, #text - i + 1) then
        local last = i + #phrase - 1
        if last > #text then partial = partial or i - 1
        elseif last > fresh then return i - 1 end
      end
    end
  end
  return nil, partial
end

local Driver = {}

-- Tokens before the next one.
function Driver:position() return self.base + self.told + #self.held end

-- The ids that may not come next: {ids = list, [id] = true}; nil when all may.
function Driver:banned() return self.phrases and self.bans[self:position()] end

-- Raises an error about the next position, with what there is.
function Driver:stuck(message, ...)
  core.raise("banned", message:format(self:position() + 1, ...),
    {tokens = core.choose_tokens(self.request), cache = core.choose_cache(self.request)})
end

function Driver:nothing_left()
  core.choose_resume(self.request, core.choose_cache(self.request):truncate(self:position()))
  self:stuck "at position %d, every token that may come begins or completes a banned phrase"
end

-- Masks them in the logits l, and in what the sampler made of these: returns that.
function Driver:forbid(l, result)
  local banned = self:banned()
  if not banned then return result end
  if type(result) == "number" then
    if banned[math.tointeger(result)] then
      self:stuck("at position %d, the sampler returned %d, which leads to a banned phrase", result)
    end
    return result
  end
  if getmetatable(result) == getmetatable(l) then
    if result ~= l then l = result:copy() end
    result = l
  elseif result ~= nil then
    return result
  end
  l:mask(banned.ids)
  if l[l:argmax()] == -math.huge then self:nothing_left() end
  return result
end

-- Forgets the tokens that nobody was told of.
function Driver:drop()
  if #self.held == 0 then return end
  core.choose_resume(self.request, self:cache())
  self.held, self.sure, self.delivered = {}, 0, false
  self:follow()
end

-- Bans belong to the tokens before them.
function Driver:drop_bans(position)
  for at in pairs(self.bans) do
    if at > position then self.bans[at] = nil end
  end
end

-- The script went on from another cache. `before` was what there was.
function Driver:moved(before)
  local cache, n = core.choose_cache(self.request), #core.choose_tokens(self.request)
  local same, base = cache:common_prefix(before), #cache - n
  local _, length = core.choose_text(self.request, 0)
  local kept = base == self.base and math.min(same - base, n) or 0 -- new tokens that are as before
  self:drop_bans(same)
  self.base = base
  for i = #self.held, math.max(kept - self.told, 0) + 1, -1 do self.held[i] = nil end
  self.sure = math.min(self.sure, #self.held)
  if n > kept and #self.held > 0 then -- they stand before what was forced: they are certain now
    for _ = kept + 1, n do
      table.insert(self.held, {length = length, certain = length, forced = true})
    end
    self.sure = #self.held
  elseif n > kept then
    self.told, self.said, self.told_length = n, length, length
  elseif n <= self.told then
    self.told, self.said, self.told_length = n, math.min(self.said, length), length
  end
end

-- Goes back to the token in which the text's byte `begin` stands, counted from 0, or to the first
-- one behind those that are certain, and bans it there.
function Driver:take_back(begin)
  local i = self.sure + 1
  while self.held[i].length <= begin do i = i + 1 end
  local id = self.held[i].id
  for k = #self.held, i, -1 do self.held[k] = nil end
  local position = self:position()
  self:drop_bans(position)
  local banned = self.bans[position] or {ids = {}}
  self.bans[position] = banned
  banned[id] = true
  table.insert(banned.ids, id)
  core.choose_resume(self.request, core.choose_cache(self.request):truncate(position))
  self.delivered = false
  self:follow()
end

-- Looks at the token that was drawn, and finds those of which nothing can be taken back any more.
function Driver:examine()
  local held, longest = self.held, self.phrases.longest
  local before = #held > 0 and held[#held].length or self.told_length
  local from = math.max(before - longest + 1, 0)
  local text, length, certain, reason = core.choose_text(self.request, from)
  held[#held + 1] = {id = core.choose_token(self.request), length = length, certain = certain}
  local begin, partial = search(self.phrases, text, before - from)
  if begin then return self:take_back(from + begin) end
  if reason then
    self.sure = #held
    return
  end
  local open = partial and from + partial or length
  while self.sure < #held and held[self.sure + 1].length <= open do self.sure = self.sure + 1 end
end

-- The next token that is certain, and the text that became certain with it; nil at the end.
function Driver:next_certain()
  while true do
    while self.sure == 0 do
      if self:draw() == "token" then
        self:examine()
      elseif #self.held == 0 then
        return nil
      else -- it was ended
        self.sure = #self.held
        local _, length = core.choose_text(self.request, 0)
        self.held[#self.held].certain = length
      end
    end
    local token, piece = table.remove(self.held, 1), ""
    self.sure, self.told, self.told_length = self.sure - 1, self.told + 1, token.length
    if token.certain > self.said then
      piece = core.choose_text(self.request, self.said):sub(1, token.certain - self.said)
      self.said = token.certain
    end
    if not token.forced then return token.id, piece end
  end
end

--- Adds the methods to choose.lua's Driver.
function M.extend(driver)
  for name, method in pairs(Driver) do driver[name] = method end
end

return M
