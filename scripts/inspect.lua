-- What is in a GGUF file: what model it is, its metadata, its tensors, and what Perilune makes of it.
--
--     perilune scripts/inspect.lua [FILE] [--tensors] [--key NAME] [--width COLUMNS]
--
--   --tensors    every tensor, not only the sums
--   --key NAME   the whole value of one key, as it is, and nothing else
--   --width N    columns of the terminal (default: COLUMNS, or 100)
--
-- Weights are not read: it is as fast for a large file as for a small one.

local perilune = require "perilune"

local USAGE = "usage: perilune scripts/inspect.lua [FILE] [--tensors] [--key NAME] [--width COLUMNS]"

-- Tensors of parts that Perilune does not use, by how their names begin.
local OTHER_PARTS = {
  { "^mm%.a%.", "audio" }, { "^a%.", "audio" }, { "^mm%.", "vision" }, { "^v%.", "vision" },
  { "^mtp%.", "multi-token prediction" }, { "^nextn%.", "multi-token prediction" },
}

-- What the head of the report takes from the metadata: label, key without the architecture.
local SUMMARY = {
  { "layers", "block_count" }, { "embedding", "embedding_length" }, { "feed forward", "feed_forward_length" },
  { "heads", "attention.head_count" }, { "key/value heads", "attention.head_count_kv" },
  { "experts", "expert_count" }, { "experts used", "expert_used_count" },
  { "sliding window", "attention.sliding_window" }, { "context", "context_length" },
}

local function fail(message)
  io.stderr:write("inspect: ", message, "\n")
  os.exit(1, true)
end

---@param args string[]
local function read_arguments(args)
  local o, i = { width = tonumber(os.getenv "COLUMNS") or 100 }, 1
  while args[i] do
    local a = args[i]
    if a == "--tensors" then o.tensors = true
    elseif a == "--key" or a == "--width" then
      i = i + 1
      o[a:sub(3)] = args[i] or fail(a .. " needs a value\n" .. USAGE)
    elseif a == "--help" or a == "-h" then
      print(USAGE)
      os.exit(0, true)
    elseif a:sub(1, 1) == "-" or o.path then fail("unexpected " .. a .. "\n" .. USAGE)
    else o.path = a end
    i = i + 1
  end
  o.path, o.width = o.path or "demo", math.max(40, math.tointeger(tonumber(o.width)) or fail "--width is a whole number")
  return o
end

-- ---- numbers and texts for a terminal ----

local function bytes(n)
  local unit = 1
  local UNITS = { "B", "KB", "MB", "GB", "TB" } -- powers of 1,000, as disks are sold
  while n >= 1000 and unit < #UNITS do n, unit = n / 1000, unit + 1 end
  return (unit == 1 and "%d %s" or n < 10 and "%.2f %s" or n < 100 and "%.1f %s" or "%.0f %s"):format(n, UNITS[unit])
end

local function count(n)
  for _, unit in ipairs { { 1e12, "T" }, { 1e9, "B" }, { 1e6, "M" }, { 1e3, "K" } } do
    if n >= unit[1] then return ("%.2f %s"):format(n / unit[1], unit[2]) end
  end
  return ("%d"):format(n)
end

--- Cut to `width` characters; control characters are shown as escapes, so that no file moves the cursor.
local function clip(text, width)
  text = text:gsub("[%c]", function(c)
    return ({ ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" })[c] or ("\\x%02x"):format(c:byte())
  end)
  local length = utf8.len(text)
  if not length then text, length = text:gsub("[\128-\255]", "?"), #text end
  if length <= width then return text end
  return text:sub(1, utf8.offset(text, math.max(1, width - 2)) - 1) .. "..."
end

local function scalar(value)
  if type(value) == "string" then return value end
  if math.type(value) == "float" then return ("%.6g"):format(value) end
  return tostring(value)
end

--- One line for a value; of an array its length and as many elements as fit.
local function shown(entry, width)
  if entry.type == "string" then return clip('"' .. entry.value .. '"', width) end
  if entry.type ~= "array" then return clip(scalar(entry.value), width) end
  local text, parts = ("%d x %s: "):format(entry.n, entry.of), {}
  for i, value in ipairs(entry.value) do
    parts[i] = type(value) == "string" and '"' .. value .. '"' or scalar(value)
  end
  text = text .. table.concat(parts, ", ") .. (entry.n > #parts and ", ..." or "")
  return clip(text, width)
end

--- Printed with line breaks between words.
local function wrap(text, width, indent)
  local line = ""
  for word in text:gmatch "%S+" do
    if line ~= "" and #line + #word + 1 > width - #indent then
      print(indent .. line)
      line = word
    else
      line = line .. (line ~= "" and " " or "") .. word
    end
  end
  print(indent .. line)
end

--- Rows as columns, each as wide as its widest cell; those in `right` are aligned to the right.
local function columns(rows, right)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, utf8.len(cell) or #cell) end
  end
  for _, row in ipairs(rows) do
    local line = {}
    for i, cell in ipairs(row) do
      local gap = (" "):rep(widths[i] - (utf8.len(cell) or #cell))
      line[i] = right[i] and gap .. cell or cell .. gap
    end
    print((("  " .. table.concat(line, "  ")):gsub("%s+$", "")))
  end
end

-- ---- the report ----

--- What stands in the metadata about the model as a whole.
local function print_model(file)
  local arch, rows = file:get "general.architecture", {}
  local function add(label, value)
    if type(value) == "table" then -- one for each layer: the kinds that there are
      local seen, kinds = {}, {}
      for _, v in ipairs(value) do
        if not seen[v] then seen[v], kinds[#kinds + 1] = true, scalar(v) end
      end
      value = table.concat(kinds, ", ") .. " (by layer)"
    end
    if value ~= nil and value ~= "" then rows[#rows + 1] = { label, clip(scalar(value), 60) } end
  end
  add("name", file:get "general.name")
  add("architecture", arch)
  for _, line in ipairs(SUMMARY) do add(line[1], type(arch) == "string" and file:get(arch .. "." .. line[2]) or nil) end
  add("tokenizer", file:get "tokenizer.ggml.model")
  add("pre-split", file:get "tokenizer.ggml.pre")
  for _, entry in ipairs(file:metadata { limit = 0 }) do
    if entry.key == "tokenizer.ggml.tokens" then add("vocabulary", entry.n) end
  end
  columns(rows, {})
end

local function print_metadata(entries, width)
  local longest = 0
  for _, entry in ipairs(entries) do longest = math.max(longest, #entry.key) end
  longest = math.min(longest, width // 2)
  for _, entry in ipairs(entries) do
    local key = clip(entry.key, longest)
    print(("  %-" .. longest .. "s  %s"):format(key, shown(entry, width - longest - 4)))
  end
end

local function print_tensors(tensors, width)
  local rows = { { "name", "type", "shape", "size" } }
  for _, t in ipairs(tensors) do
    rows[#rows + 1] = { clip(t.name, width // 2), t.type, table.concat(t.shape, " x "), bytes(t.n_bytes) }
  end
  columns(rows, { [4] = true })
end

--- Sums by weight type, the largest first, and of everything.
local function print_sums(tensors)
  local by_type, order = {}, {}
  local all = { type = "all", n = 0, params = 0, bytes = 0 }
  for _, t in ipairs(tensors) do
    local sum = by_type[t.type]
    if not sum then
      sum = { type = t.type, n = 0, params = 0, bytes = 0 }
      by_type[t.type], order[#order + 1] = sum, sum
    end
    for _, s in ipairs { sum, all } do
      s.n, s.params, s.bytes = s.n + 1, s.params + t.n_params, s.bytes + t.n_bytes
    end
  end
  table.sort(order, function(a, b) return a.bytes > b.bytes end)
  if #order > 1 then order[#order + 1] = all end
  local rows = { { "type", "tensors", "parameters", "size", "bits per weight" } }
  for _, s in ipairs(order) do
    rows[#rows + 1] = { s.type, tostring(s.n), count(s.params), bytes(s.bytes), ("%.2f"):format(8 * s.bytes / s.params) }
  end
  columns(rows, { [2] = true, [3] = true, [4] = true, [5] = true })
end

--- What a model is made of, as the core sees it.
local function print_layers(info)
  local kinds = {}
  for _, kind in ipairs { "attention", "sliding_window", "delta_net", "mamba2", "short_conv", "experts" } do
    if info.layers[kind] then kinds[#kinds + 1] = ("%d %s"):format(info.layers[kind], (kind:gsub("_", " "))) end
  end
  print("  layers: " .. table.concat(kinds, ", "))
  if info.n_experts then print(("  experts: %d, %d of them for a token"):format(info.n_experts, info.n_experts_used)) end
  print(("  a cache takes %s a token%s"):format(bytes(info.kv_bytes_per_token),
    info.state_bytes and (" and %s a state"):format(bytes(info.state_bytes)) or ""))
end

--- What Perilune says to this file. The weights are not read.
local function print_verdict(path, tensors, width)
  local parts, order, unread = {}, {}, {}
  for _, t in ipairs(tensors) do
    for _, part in ipairs(OTHER_PARTS) do
      if t.name:find(part[1]) then
        if not parts[part[2]] then parts[part[2]], order[#order + 1] = { n = 0, bytes = 0 }, part[2] end
        local sum = parts[part[2]]
        sum.n, sum.bytes = sum.n + 1, sum.bytes + t.n_bytes
        break
      end
    end
    if not perilune.weight_types[t.type].reads and not unread[t.type] then
      unread[t.type], unread[#unread + 1] = true, t.type
    end
  end
  for _, name in ipairs(order) do
    print(("  not used: %d tensors of %s, %s"):format(parts[name].n, name, bytes(parts[name].bytes)))
  end
  if #unread > 0 then print("  weight types that are not supported: " .. table.concat(unread, ", ")) end

  local vocab_only = #tensors == 0
  local model, message = perilune.load(path, {
    vocab_only = vocab_only, context = not vocab_only and 1 or nil, preload = false, threads = 1,
  })
  if not model then
    if message:sub(1, #path + 2) == path .. ": " then message = message:sub(#path + 3) end
    wrap("not supported: " .. message, width, "  ")
  elseif vocab_only then
    print "  a vocabulary without weights: loads with vocab_only"
  else
    print "  supported"
    print_layers(model:info())
  end
  if model then model:close() end
end

-- ---- the program ----

local options = read_arguments(arg or {})
local file, message = perilune.gguf(options.path)
if not file then fail(message) end

if options.key then
  local value = file:get(options.key)
  if value == nil then fail(("%s: has no key '%s'"):format(options.path, options.key)) end
  for _, v in ipairs(type(value) == "table" and value or { value }) do print(scalar(v)) end
  os.exit(0, true)
end

local info, tensors = file:info(), file:tensors()
local kind = (": GGUF %d, %s%s"):format(info.version, bytes(info.n_bytes),
  #info.parts > 1 and (" in %d parts"):format(#info.parts) or "")
local most = options.width - #kind -- of a long path the end says most
print((#info.path > most and "..." .. info.path:sub(3 - most) or info.path) .. kind)
print "\nModel"
print_model(file)
print(("\nMetadata: %d keys"):format(info.n_values))
print_metadata(file:metadata { limit = 24 }, options.width)
if #tensors > 0 then
  print(("\nTensors: %d, %s parameters"):format(#tensors, count(info.n_params)))
  if options.tensors then
    print_tensors(tensors, options.width)
    print()
  end
  print_sums(tensors)
end
print "\nPerilune"
print_verdict(info.path, tensors, options.width)
