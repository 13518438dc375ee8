-- Streaming: tokens as they come. Pieces are whole characters, and what may be the beginning of a stop is held back.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local stream = model:stream {input = "Once upon a time", max_new_tokens = 120, stop_at_eog = true}
for _, piece in stream do
  io.write(piece)
  io.flush()
end
print()
print(("-- %d tokens, finished by %s"):format(#stream.tokens, stream.info.finish_reason))
