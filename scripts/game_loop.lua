-- A loop of 60 frames a second while four characters speak at once: each frame gives Perilune two milliseconds, and the model
-- computes on other threads. What stands on the right is how long the poll took.
--
--     build/perilune scripts/game_loop.lua [MODEL [FRAMES]]
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))
local frames, FRAME = tonumber(arg and arg[2]) or 90, 1 / 60

local names, lines, open = {"Vera", "Amos", "Lena", "Noud"}, {}, 0
for i, name in ipairs(names) do
  lines[i] = ""
  open = open + 1
  perilune.spawn(function()
    local story = model:stream {
      input = "Once upon a time there was a girl called " .. name .. ".", max_new_tokens = 120, temperature = 0.7, seed = i,
      stop_at_eog = true,
    }
    for _, piece in story do lines[i] = lines[i] .. piece end
    open = open - 1
  end)
end

local worst, begun = 0, perilune.clock()
for frame = 1, frames do
  local start = perilune.clock()
  perilune.poll(2)
  local taken = perilune.clock() - start
  worst = math.max(worst, taken)
  if frame % 15 == 0 or frame == 1 then -- the game would draw here
    print(("frame %3d  %5.2f ms"):format(frame, taken * 1000))
    for i, name in ipairs(names) do print(("  %-5s %s"):format(name, lines[i]:sub(-70):gsub("\n", " "))) end
  end
  while perilune.clock() - start < FRAME do end
end
print(("%d frames in %.2f seconds, longest poll %.2f ms, %d still speaking"):format(frames, perilune.clock() - begun,
  worst * 1000, open))
