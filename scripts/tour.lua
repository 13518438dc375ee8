-- A short tour on the bundled model: a fact, a name remembered, a forced word, parallel stories, a conversation that forks.
local perilune = require "perilune"
local model <close> = assert(perilune.load(arg and arg[1] or "demo"))
local open, close = model:id "<|im_start|>", model:id "<|im_end|>"
assert(open and close, "the tour speaks ChatML; this model does not")

local function title(text) print("\n\27[1m" .. text .. "\27[0m") end
if not os.getenv "TERM" then title = function(text) print("\n== " .. text) end end

local function say(cache, text)                          -- one turn: only its new tokens are processed
  local _, after, info = model:generate {
    input = {open, "user\n" .. text, close, "\n", open, "assistant\n"}, cache = cache, max_new_tokens = 80, stop_at_eog = true,
  }
  print("  > " .. text .. "\n  " .. info.text)
  return after:extend "\n"
end

title "A fact"
local _, fact = model:generate {input = "The capital of France is", max_new_tokens = 10, stop = {"."}}
print("  " .. fact:text())

title "A name, remembered over three turns"
local talk = say(model:cache(), "Hi! My name is Zorvik.")
talk = say(talk, "What is the capital of Japan?")
say(talk, "What is my name?")

title "A forced \"However,\""
local prompt = model:cache():extend("Once upon a time"):ready()
local _, opening = model:generate {cache = prompt, max_new_tokens = 60, stop = {"."}}
local _, turn = model:generate {cache = opening .. " However,", max_new_tokens = 60, stop = {"."}}
print("  " .. turn:text())

title "Three stories from one prompt, which was processed once"
for seed = 1, 3 do
  local _, _, info = model:generate {
    cache = prompt, temperature = 0.8, top_p = 0.95, seed = seed, max_new_tokens = 45, stop_at_eog = true,
  }
  print(("  %d. Once upon a time%s ..."):format(seed, info.text))
end

title "A conversation that goes two ways"
local start = say(model:cache(), "Good morning! I am Nalo.")
say(say(start, "I live in Lisbon."), "Where do I live?")
print "  -- the other way, from the same first turn:"
say(say(start, "I live in Oslo."), "Where do I live?")

local s = model:stats()
print(("\n%d tokens processed, %d of them twice."):format(s.tokens, s.rerun))
