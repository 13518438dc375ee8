-- Filling a form: forced text with holes, each generated up to where the text behind it begins,
-- with its boundaries healed; one hole is a choice. What is forced is right by construction: JSON
-- parses.
local perilune = require "perilune"
local model = assert(perilune.load(arg and arg[1] or "demo"))

local form = perilune.template [[{{"name": "{name}", "age": {age:max=3}, "city": "{city}"}}]]
local hero = perilune.template [[The story is about {who:choices='a dog'|'a baker'|'an owl'}.]]

local TURN = "<|im_start|>user\nExtract as JSON: %s<|im_end|>\n<|im_start|>assistant\n"
for _, text in ipairs {
  "Tom is 12 years old and lives in Paris.", "Mirabel, 9 years old, lives in Oslo.",
} do
  local question = model:encode(TURN:format(text), {special = true, bos = true})
  local fields, cache = form:fill(model, {cache = model:cache():extend(question)})
  print(fields.name, fields.age, fields.city, cache:text(#question + 1))
end
for _, story in ipairs {
  "Once upon a time there was a dog named Rex. ", "Once upon a time there was a baker named Ann. ",
} do
  print((hero:fill(model, {input = story})).who)
end
