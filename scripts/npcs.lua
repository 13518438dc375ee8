-- Characters of a game talk to each other. One description of the world is processed once and shared by all of them; each goes
-- on from there with what he is, and remembers what he said and heard. All that is said at a time is computed together.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function parts(text) return model:encode(text, {special = true}) end
local world = model:cache():extend(parts "<|im_start|>system\n"):extend "Oakford is a town by a river. ":ready()

local npcs = {}
for i, who in ipairs {
  {name = "Mira", is = "a blacksmith in Oakford. You sell swords for 12 coins."},
  {name = "Borin", is = "a baker in Oakford. You sell bread for 3 coins."},
  {name = "Lys", is = "a fisher in Oakford. You sell fish for 5 coins."},
  {name = "Oda", is = "a tailor in Oakford. You sell coats for 20 coins."},
} do
  who.cache = world:extend(("You are %s, %s"):format(who.name, who.is)):extend(parts "<|im_end|>\n")
  npcs[i] = who
end

-- What `who` answers when he is asked; it stays in his memory.
local function ask(who, question)
  local _, _, info = model:generate {
    cache = who.cache, input = parts("<|im_start|>user\n" .. question .. "<|im_end|>\n<|im_start|>assistant\n"),
    max_new_tokens = 40, stop_at_eog = true,
  }
  who.cache = info.before:extend(parts "<|im_end|>\n")
  return info.text
end

for _, question in ipairs {"Who are you?", "What do you sell?", "How much is it?"} do
  -- Everybody asks his neighbour, at the same time: one task for each who answers.
  local answers = perilune.map(npcs, function(who) return ask(who, question) end)
  for i, answer in ipairs(answers) do
    print(("%-6s to %-6s %-20s %s"):format(npcs[(i - 2) % #npcs + 1].name, npcs[i].name .. ":", question, answer))
  end
end

local tokens, held = model:stats().tokens, 0
for _, who in ipairs(npcs) do held = held + #who.cache end
print(("%d tokens remembered, %d processed: the %d of the world once"):format(held, tokens, #world))
