-- Records what another script does, and draws it: the tree of its branches, with probabilities.
--
--     perilune scripts/trace.lua run.html scripts/beam.lua
--     perilune scripts/trace.lua run.json my_script.lua model.gguf    for perilune.replay
--     perilune scripts/trace.lua - scripts/beam.lua                   in the terminal
local perilune = require "perilune"
local out, script = arg[1], arg[2]
if not script then
  io.stderr:write "usage: perilune scripts/trace.lua (run.html | run.json | -) SCRIPT [ARGUMENT...]\n"
  os.exit(2)
end

arg = table.move(arg, 3, #arg, 1, {[0] = script})
local trace <close> = perilune.trace()
local ok, err = xpcall(dofile, debug.traceback, script) -- what came before an error is drawn, too
trace:stop()
if out == "-" then trace:print() else assert(trace:save(out)) end
if not ok then error(err, 0) end
