-- Measures the demo model through Perilune itself, over cases that its training never showed.
--
--     perilune scripts/demo/evaluate.lua [MODEL [SHOW [EVERY [CASES]]]]
--
-- Cases come from cases.lua (written by cases.py).  Dialogs are held turn by turn: the answers that
-- lie between telling and asking are the model's own, and only the cache remembers them.  The script
-- prints a table of counts, SHOW failures of each kind (default 0), and fails if a bar is missed.
-- With EVERY it takes one case in so many, for a quick look; CASES is another file of cases, from
-- `cases.py --seed N --out CASES`, and then stories are left out.

local perilune = require "perilune"

local directory = arg[0]:match "^(.*[/\\])" or ""
local model = assert(perilune.load(arg[1] or "demo"))
local show, every = tonumber(arg[2]) or 0, tonumber(arg[3]) or 1
local IM_START, IM_END = model:id "<|im_start|>", model:id "<|im_end|>"

-- least share of right answers; the control is the other way round
local BARS = {
  ["capital"] = 0.95, ["capital, follow-up"] = 0.95, ["capital, plain text"] = 0.95,
  ["recall of name"] = 0.95, ["recall of age"] = 0.90, ["recall of home"] = 0.90,
  ["recall of colour"] = 0.90, ["recall of pet"] = 0.90,
  ["nothing was said"] = 0.90, ["character"] = 0.90, ["JSON, person"] = 0.90, ["JSON, command"] = 0.90,
  ["JSON, forced, parses"] = 1.00,
  ["story ends by itself"] = 1.00, ["story does not repeat"] = 1.00, ["story keeps its hero"] = 0.90,
  ["control: recall without the turns"] = 0.05,
}
local MOST = { ["control: recall without the turns"] = true }

local order, right, total, failures = {}, {}, {}, {}

--- Counts one case.
---@param kind string
---@param ok boolean
---@param note string what to show of a failure
local function count(kind, ok, note)
  if not total[kind] then
    order[#order + 1] = kind
    right[kind], total[kind], failures[kind] = 0, 0, {}
  end
  total[kind] = total[kind] + 1
  if ok then
    right[kind] = right[kind] + 1
  elseif #failures[kind] < show then
    table.insert(failures[kind], note)
  end
end

--- The cache after a system prompt, or nil.
---@param text string|nil
local function begin(text)
  if text then
    return model:cache():extend { IM_START, "system\n" .. text, IM_END, "\n" }
  end
end

--- The parts that open an answer to `text`.  A cache that ends with an answer lacks its line end.
---@param text string
---@param answered boolean
local function opening(text, answered)
  local parts = { IM_START, "user\n" .. text, IM_END, "\n", IM_START, "assistant\n" }
  if answered then table.insert(parts, 1, "\n") end
  return parts
end

--- Holds a dialog and returns the last answer.
---@param system string|nil
---@param turns string[]
---@return string
local function dialog(system, turns)
  local cache, info = begin(system), nil
  for i, text in ipairs(turns) do
    local _, after, said = model:generate {
      input = opening(text, i > 1), cache = cache, max_new_tokens = 120, stop_at_eog = true,
    }
    cache, info = after, said
  end
  return info.text
end

local RECORD = '^{"name": "[^"\\%c]*", "age": %d+, "city": "[^"\\%c]*"}$'

--- JSON with its keys and punctuation forced; the model fills in the values.
---@param turn string
---@return string
local function forced_json(turn)
  local cache, text = model:cache():extend(opening(turn, false)), ""
  for _, field in ipairs { { '{"name": "', '"' }, { '", "age": ', "," }, { ', "city": "', '"' } } do
    local _, _, info = model:generate {
      input = field[1], cache = cache, max_new_tokens = 24, stop = { field[2], "}" }, stop_at_eog = true,
    }
    text, cache = text .. field[1] .. info.text, info.before
  end
  return text .. '"}'
end

-- Capitalised words that are no names.
local ORDINARY = {}
for word in ([[
  A After All An And At Back Behind But By Can Come Day De Do Every Everybody Everyone Far For From Good He
  Her Here His How However I If In It Its Let Long Many More My Nobody Not Now Often On Once One Only Our
  Outside People Please She So Some Soon That The Their Then There They This Three Thank To Two Under Until
  We What When Where Who Why With Yes You Your End Year Others Said
]]):gmatch "%a+" do ORDINARY[word] = true end

--- The people of a story in the order in which they are named: capitalised words that are neither
--- ordinary words nor places.
---@param text string
---@return string[]
local function people(text)
  local names = {}
  text = text:gsub("town called [%u\128-\255][%a\128-\255]*", ""):gsub("[Nn]ear [%u\128-\255][%a\128-\255]*", "")
  text = text:gsub("above [%u\128-\255][%a\128-\255]*", ""):gsub(" in [%u\128-\255][%a\128-\255]*", "")
  text = text:gsub("[nt] of [%u\128-\255][%a\128-\255]*", ""):gsub("street in [%u\128-\255][%a\128-\255]*", "")
  text = text:gsub("village of [%u\128-\255][%a\128-\255]*", "")
  for word in text:gmatch "[%a\128-\255]+" do
    if word:match "^[%u\195\196\197]" and not ORDINARY[word] then names[#names + 1] = word end
  end
  return names
end

--- How often the most frequent sentence occurs.
---@param text string
---@return integer
local function most_repeated(text)
  local seen, most = {}, 0
  for sentence in text:gmatch "[^%.%?!]+" do
    sentence = sentence:match "^[%s\"]*(.-)%s*$"
    if sentence ~= "" then
      seen[sentence] = (seen[sentence] or 0) + 1
      most = math.max(most, seen[sentence])
    end
  end
  return most
end

--- Asks one case and counts it.
---@param case table
local function measure(case)
  if case.text then
    local _, _, info = model:generate { input = case.text, max_new_tokens = 16, stop_at_eog = true }
    count(case.kind, info.text:sub(1, #case.expect) == case.expect, case.text .. " =>" .. info.text)
    return
  end
  local answer = dialog(case.system, case.turns)
  count(case.kind, answer == case.expect, table.concat(case.turns, " / ") .. " => " .. answer)
  if case.kind:match "^recall" then
    answer = dialog(nil, { case.turns[#case.turns] })
    count("control: recall without the turns", answer == case.expect, answer)
  end
  if case.forced then
    local text = forced_json(case.turns[1])
    count("JSON, forced, parses", text:match(RECORD) ~= nil, text)
    count("JSON, forced, exact", text == case.expect, text)
  end
end

for i, case in ipairs(dofile(arg[4] or directory .. "cases.lua")) do
  if i % every == 0 then measure(case) end
end

for seed = 1, arg[4] and 0 or 50 // every do
  local prompt = "Once upon a time"
  local _, _, info = model:generate {
    input = prompt, max_new_tokens = 600, temperature = 0.8, top_p = 0.95, seed = seed, stop_at_eog = true,
  }
  local text = prompt .. info.text
  local names = people(text)
  count("story ends by itself", info.finish_reason == "eog", text)
  count("story does not repeat", most_repeated(text) < 3, text)
  count("story keeps its hero", #names > 1 and names[1] == names[#names],
    ("(%s, %s) %s"):format(names[1], names[#names], text))
end

local missed = 0
for _, kind in ipairs(order) do
  local share, bar = right[kind] / total[kind], BARS[kind]
  local bad = bar and (MOST[kind] and share > bar or not MOST[kind] and share < bar)
  if bad then missed = missed + 1 end
  print(("%-36s %4d/%-4d %5.1f %%  %s"):format(kind, right[kind], total[kind], 100 * share,
    bar and ("%s %.0f %%%s"):format(MOST[kind] and "at most" or "at least", 100 * bar, bad and "  MISSED" or "") or ""))
  for _, note in ipairs(failures[kind]) do print("    " .. (note:gsub("\n", "\\n"))) end
end
os.exit(missed == 0 and 0 or 1, true)
