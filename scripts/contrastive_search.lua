-- Contrastive search: greedy text runs in circles; a token whose hidden state is like what was said
-- costs something.
local perilune = require "perilune"
local contrastive_search = require "perilune.strategies.contrastive_search"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local function repeated(tokens)
  local seen, n = {}, 0
  for i = 3, #tokens do
    local three = table.concat(tokens, " ", i - 2, i)
    n, seen[three] = n + (seen[three] and 1 or 0), true
  end
  return n
end
local o = {input = "I like", max_new_tokens = 40}
local tokens, _, info = model:generate(o)
print(("greedy: %d of 38 triples repeat\n  %s\n"):format(repeated(tokens), info.text))
o.k, o.alpha = 5, 0.6
tokens, _, info = contrastive_search(model, o)
print(("contrastive: %d of 38 triples repeat\n  %s"):format(repeated(tokens), info.text))
