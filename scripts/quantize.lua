-- Writes a GGUF file with its weights in another format.
--
--     perilune scripts/quantize.lua IN OUT TYPE [--requantize] [--dry-run] [--threads N]
--
-- TYPE is a row of RECIPES below. IN may be the first part of a split file; OUT is one file, written whole or not at all.
--   --requantize   also from weights that are quantized already: what was lost then stays lost, and more is
--   --dry-run      only say what would be written

local perilune = require "perilune"

-- ---- the policy: which tensor becomes what. As llama.cpp does it (src/llama-quant.cpp), without an importance matrix ----

--- For the layers in which errors cost most: the first and last eighth, and every third between them. i counts from 0.
local function more_bits(type)
  return function(i, n)
    local eighth = n // 8
    if i < eighth or i >= 7 * n // 8 or (i - eighth) % 3 == 2 then return type end
  end
end

local function first(count, type, rest)
  return function(i) return i < count and type or rest end
end

local function first_part(divisor, type, rest)
  return function(i, n) return i < n // divisor and type or rest end
end

--- When at least four heads share keys and values, those are few and cheap to keep well.
local function shared(type, rest)
  return function(_, _, gqa) return gqa >= 4 and type or rest end
end

-- `base` is for all matrices that have no column of their own; `output` is the last one, and the embedding when that is the
-- same. A column is a type, or a function of the layer, the number of layers and the heads per key/value head; nil: base.
-- file_type: the number that general.file_type has for it (llama.h, enum llama_ftype).
local RECIPES = {
  F32    = { file_type = 0, base = "F32" },
  F16    = { file_type = 1, base = "F16" },
  BF16   = { file_type = 32, base = "BF16" },
  Q8_0   = { file_type = 7, base = "Q8_0" },
  Q4_0   = { file_type = 2, base = "Q4_0", output = "Q6_K" },
  Q4_1   = { file_type = 3, base = "Q4_1", output = "Q6_K" },
  Q5_0   = { file_type = 8, base = "Q5_0", output = "Q6_K" },
  Q5_1   = { file_type = 9, base = "Q5_1", output = "Q6_K" },
  Q2_K   = { file_type = 10, base = "Q2_K", output = "Q6_K", attn_v = shared("Q4_K", "Q3_K"), attn_output = "Q3_K",
             ffn_down = "Q3_K" },
  Q3_K_M = { file_type = 12, base = "Q3_K", output = "Q6_K", attn_v = first(2, "Q5_K", "Q4_K"), attn_output = "Q4_K",
             attn_qkv = "Q4_K", ffn_down = first_part(16, "Q5_K", "Q4_K") },
  Q4_K_S = { file_type = 14, base = "Q4_K", output = "Q6_K", attn_v = first(4, "Q5_K"), ffn_down = first_part(8, "Q5_K") },
  Q4_K_M = { file_type = 15, base = "Q4_K", output = "Q6_K", attn_v = more_bits "Q6_K", attn_qkv = "Q5_K",
             ffn_down = more_bits "Q6_K" },
  Q5_K_S = { file_type = 16, base = "Q5_K", output = "Q6_K" },
  Q5_K_M = { file_type = 17, base = "Q5_K", output = "Q6_K", attn_v = more_bits "Q6_K", attn_qkv = "Q6_K",
             ffn_down = more_bits "Q6_K" },
  Q6_K   = { file_type = 18, base = "Q6_K", output = "Q6_K" },
  IQ4_NL = { file_type = 25, base = "IQ4_NL", output = "Q6_K", attn_v = shared "Q5_K", ffn_down = first_part(8, "Q5_K") },
  IQ4_XS = { file_type = 30, base = "IQ4_XS", output = "Q6_K", attn_v = shared "Q5_K", ffn_down = first_part(8, "Q5_K") },
}

-- Matrices that stay as they are: small ones, on which much depends. Lua patterns.
local KEPT = {
  "_norm%.weight$", "ffn_gate_inp", "^position_embd", "^token_types", "ssm_conv1d", "shortconv", "^altup", "laurel",
  "per_layer_model_proj", "attn_rel_b", "time_mix_",
}

-- For rows that are no multiple of the type's block. Where that fits no better, F16.
local INSTEAD = {
  Q2_K = "IQ4_NL", Q3_K = "IQ4_NL", IQ4_XS = "IQ4_NL", Q4_K = "Q5_0", Q5_K = "Q5_1", Q6_K = "Q8_0",
}

local QUANTIZATION_VERSION = 2 -- of the block formats (ggml.h, GGML_QNT_VERSION)

-- ---- the plan ----

local function stays(tensor)
  if #tensor.shape < 2 or not tensor.name:find "weight$" then return true end
  for _, pattern in ipairs(KEPT) do
    if tensor.name:find(pattern) then return true end
  end
  return false
end

--- The column of a recipe that a tensor belongs to, and its layer.
local function kind_of(name, tied)
  if name == "output.weight" or tied and name == "token_embd.weight" then return "output" end
  local layer, rest = name:match "^blk%.(%d+)%.(.+)$"
  if not layer then return nil end
  local kind = rest:match "^(ffn_down)" or rest:match "^(attn_%w+)%.weight$"
  return kind, tonumber(layer)
end

--- Of each kind the layers that have it, by their place among them: {attn_v = {[layer] = place from 0, n = how many}}.
local function places(tensors)
  local kinds = {}
  for _, t in ipairs(tensors) do
    local kind, layer = kind_of(t.name, false)
    if layer and kind then
      kinds[kind] = kinds[kind] or {}
      kinds[kind][layer] = 0
    end
  end
  for _, layers in pairs(kinds) do
    local order = {}
    for layer in pairs(layers) do order[#order + 1] = layer end
    table.sort(order)
    for place, layer in ipairs(order) do layers[layer] = place - 1 end
    layers.n = #order
  end
  return kinds
end

local function fits(tensor, type) return tensor.shape[1] % perilune.weight_types[type].block == 0 end

--- Query heads per key/value head, of the first layer; 1 when the file does not say.
local function heads_per_kv_head(file)
  local function number(key)
    local value = file:get(("%s.attention.%s"):format(file:get "general.architecture", key))
    if type(value) == "table" then value = value[1] end
    return math.type(value) == "integer" and value > 0 and value or nil
  end
  local heads = number "head_count" or 1
  return heads // (number "head_count_kv" or heads)
end

--- The type of every tensor that changes, by name; what could not have the type it should; what is quantized already.
local function plan(file, recipe)
  local tensors, types, replaced, quantized = file:tensors(), {}, {}, {}
  local kinds, gqa, tied = places(tensors), heads_per_kv_head(file), true
  for _, t in ipairs(tensors) do tied = tied and t.name ~= "output.weight" end
  for _, t in ipairs(tensors) do
    if not stays(t) then
      local kind, layer = kind_of(t.name, tied)
      local column = kind and recipe[kind]
      if type(column) == "function" then column = column(kinds[kind][layer], kinds[kind].n, gqa) end
      local wanted = column or recipe.base
      local given = wanted
      if not fits(t, given) then given = INSTEAD[given] or "F16" end
      if not fits(t, given) then given = "F16" end
      if given ~= wanted then replaced[#replaced + 1] = { tensor = t, wanted = wanted, given = given } end
      if given ~= t.type then
        types[t.name] = given
        if perilune.weight_types[t.type].block > 1 then quantized[#quantized + 1] = t end
      end
    end
  end
  return types, replaced, quantized
end

-- ---- the program ----

local USAGE = "usage: perilune scripts/quantize.lua IN OUT TYPE [--requantize] [--dry-run] [--threads N]"

local function fail(message)
  io.stderr:write("quantize: ", message, "\n")
  os.exit(1, true)
end

local function recipe_names()
  local names = {}
  for name in pairs(RECIPES) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

local function read_arguments(args)
  local o, i = {}, 1
  while args[i] do
    local a = args[i]
    if a == "--requantize" then o.requantize = true
    elseif a == "--dry-run" then o.dry_run = true
    elseif a == "--threads" then
      i = i + 1
      o.threads = math.tointeger(tonumber(args[i])) or fail("--threads needs a whole number\n" .. USAGE)
    elseif a == "--help" or a == "-h" then
      print(USAGE .. "\nTYPE is one of " .. recipe_names())
      os.exit(0, true)
    elseif a:sub(1, 2) == "--" then fail("unknown option " .. a .. "\n" .. USAGE)
    else o[#o + 1] = a end
    i = i + 1
  end
  if #o ~= 3 then fail(USAGE) end
  return o
end

--- Tensors, size and bits per weight for each type.
local function print_summary(tensors, types)
  local sums, order = {}, {}
  for _, t in ipairs(tensors) do
    local name = types[t.name] or t.type
    local format = perilune.weight_types[name]
    if not sums[name] then sums[name], order[#order + 1] = { n = 0, bytes = 0, params = 0 }, name end
    local sum = sums[name]
    sum.n, sum.params = sum.n + 1, sum.params + t.n_params
    sum.bytes = sum.bytes + t.n_params // format.block * format.bytes
  end
  table.sort(order, function(a, b) return sums[a].bytes > sums[b].bytes end)
  local bytes, params = 0, 0
  for _, name in ipairs(order) do
    local sum = sums[name]
    bytes, params = bytes + sum.bytes, params + sum.params
    print(("  %-6s  %5d tensors  %10.2f MB"):format(name, sum.n, sum.bytes / 1e6))
  end
  print(("  all     %5d tensors  %10.2f MB, %.2f bits per weight"):format(#tensors, bytes / 1e6, 8 * bytes / params))
end

--- Those tensors that could not have the type they should, counted by kind and reason.
local function print_replaced(replaced)
  local counts, order = {}, {}
  for _, r in ipairs(replaced) do
    local text = ("  %s: rows of %d weights are no multiple of %s's %d: %s instead"):format(
      r.tensor.name:gsub("^blk%.%d+%.", "blk.*."), r.tensor.shape[1], r.wanted, perilune.weight_types[r.wanted].block, r.given)
    if not counts[text] then counts[text], order[#order + 1] = 0, text end
    counts[text] = counts[text] + 1
  end
  for _, text in ipairs(order) do print(("%s (%d)"):format(text, counts[text])) end
end

local options = read_arguments(arg or {})
local input, output, name = options[1], options[2], options[3]:upper()
local recipe = RECIPES[name] or fail(("there is no type '%s'; these are: %s"):format(options[3], recipe_names()))
local file, message = perilune.gguf(input)
if not file then fail(message) end
local tensors = file:tensors()
if #tensors == 0 then fail(input .. ": a vocabulary without weights") end
local types, replaced, quantized = plan(file, recipe)
if #quantized > 0 and not options.requantize then
  fail(("%s: %d of its tensors are quantized already (%s is %s); --requantize does it all the same"):format(
    input, #quantized, quantized[1].name, quantized[1].type))
end

if not options.dry_run then
  local terminal, before, shown = os.execute "test -t 2", os.time(), -1
  local ok, why = file:convert(output, {
    types = types, threads = options.threads,
    metadata = { ["general.file_type"] = recipe.file_type, ["general.quantization_version"] = QUANTIZATION_VERSION },
    progress = function(fraction)
      local percent = math.floor(100 * fraction)
      if not terminal or percent == shown then return end
      shown = percent
      io.stderr:write(("\r%s  %3d %%  %d s "):format(output, percent, os.time() - before))
    end,
  })
  if terminal then io.stderr:write "\r\27[K" end
  if not ok then fail(why) end
end

print(("%s: %s%s"):format(options.dry_run and input or output, name, options.dry_run and ", not written" or ""))
print_summary(tensors, types)
print_replaced(replaced)
