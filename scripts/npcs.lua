-- Characters that talk to each other: each has a system prompt and a memory of its own behind one description of their world,
-- which is processed once. All of them listen and answer at the same time, as tasks.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local open, close = model:id "<|im_start|>", model:id "<|im_end|>"
assert(open and close, "this script speaks ChatML; the model does not")
local ROUNDS = 3

local world = model:cache():extend {
  open, "system\nThis is Oakford, a small town by the river. There is a market in the middle of the town, and a big old tree. " ..
  "Today the sun is out and everybody is at the market. People here like to trade and to talk to each other. ",
}

local function character(name, role)
  return {name = name, cache = world:extend {"You are " .. name .. ", " .. role .. ".", close, "\n"}}
end

-- Hears a line and answers it. Only the line is new: what was said before is in the character's cache.
local function answer(who, line)
  local tokens, _, info = model:generate {
    input = {open, "user\n" .. line, close, "\n", open, "assistant\n"}, cache = who.cache,
    max_new_tokens = 40, stop_at_eog = true, temperature = 0.7, seed = #who.cache,
  }
  who.cache = info.before:extend {close, "\n"}
  who.n = (who.n or 0) + #tokens
  return info.text
end

local function talk(a, b)
  local lines, line = {}, "Hello! My name is " .. a.name .. ". What do you sell?"
  for _ = 1, ROUNDS do
    lines[#lines + 1] = ("%-6s %s"):format(a.name, line)
    local reply = answer(b, line)
    lines[#lines + 1] = ("%-6s %s"):format(b.name, reply)
    line = answer(a, reply)
  end
  return lines
end

local mira = character("Mira", "a blacksmith in Oakford. You sell swords for 3 coins")
local borin = character("Borin", "a baker in Oakford. You sell bread for 7 coins")
local lys = character("Lys", "a fisher in Oakford. You sell fish for 11 coins")
local oda = character("Oda", "a tailor in Oakford. You sell coats for 15 coins")

local talks = perilune.parallel {function() return talk(mira, borin) end, function() return talk(lys, oda) end}
for _, lines in ipairs(talks) do print(table.concat(lines, "\n") .. "\n") end

local held, longest = 0, 0
for _, who in ipairs {mira, borin, lys, oda} do held, longest = held + #who.cache, math.max(longest, #who.cache) end
local stats = model:stats()
print(("four memories hold %d tokens; %d were processed, in %d steps: the world's %d once instead of four times"):format(
  held, stats.tokens, stats.steps, #world))
