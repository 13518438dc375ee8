-- A game loop at 60 Hz while four characters speak at once: every frame gives Perilune at most two milliseconds, and the model
-- computes on other threads meanwhile.
--
--     build/perilune scripts/game_loop.lua [MODEL [FRAMES]]
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local frames = tonumber(arg and arg[2]) or 240
local FRAME, BUDGET, WIDTH = 1 / 60, 2, 100 -- seconds, milliseconds, columns

local world = model:cache():extend "Once upon a time there was a town by the river."
local characters = {}
for i, name in ipairs {"Mira", "Borin", "Lys", "Oda"} do
  local who = {name = name, line = ""}
  who.task = perilune.spawn(function()
    for turn = 1, math.huge do
      who.line = ""
      local stream <close> = model:stream {
        cache = world, input = (" One day, %s said,"):format(name), max_new_tokens = 40, stop_at_eog = true,
        temperature = 0.8, seed = 10 * turn + i,
      }
      for _, piece in stream do who.line = who.line .. piece end
      perilune.sleep(0.5)                                 -- a breath between two sentences
    end
  end)
  characters[i] = who
end

local times, polls = {}, {}
local function bar(ms) return ("#"):rep(math.min(40, math.ceil(ms * 2))) end

local function draw(frame)
  if frame > 1 then io.write(("\27[%dA"):format(#characters + 1)) end
  io.write(("\27[Kframe %4d  %5.2f ms between frames, poll %5.2f ms %s\n"):format(frame, times[frame] * 1e3, polls[frame] * 1e3,
    bar(polls[frame] * 1e3)))
  for _, who in ipairs(characters) do
    local line = who.line:gsub("%c", " ")
    io.write(("\27[K%-6s %s\n"):format(who.name, #line > WIDTH and "..." .. line:sub(-WIDTH) or line))
  end
  io.flush()
end

local function sleep_until(moment) while perilune.clock() < moment do end end -- a game waits for the screen here

local last = perilune.clock()
for frame = 1, frames do
  local start = perilune.clock()
  times[frame], last = start - last, start
  perilune.poll(BUDGET)
  polls[frame] = perilune.clock() - start
  draw(frame)
  sleep_until(start + FRAME)
end
for _, who in ipairs(characters) do who.task:cancel() end

table.sort(polls)
print(("%d frames; poll: median %.2f ms, 99 %% below %.2f ms, longest %.2f ms; %d tokens"):format(
  frames, polls[(frames + 1) // 2] * 1e3, polls[math.max(1, frames * 99 // 100)] * 1e3, polls[frames] * 1e3, model:stats().sampled))
