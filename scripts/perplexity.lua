-- Perplexity of models over a text file: e to the mean negative log-probability of its tokens.
--
--     perilune scripts/perplexity.lua MODEL [MODEL ...] TEXTFILE [--ctx N] [--stride N] [--chunks N] [--special] [--threads N]
--
-- As llama.cpp's perplexity tool defines it by default (tools/perplexity): the text's tokens are cut into chunks of --ctx
-- tokens (512), each is read by itself, and the tokens of its second half are scored, so that all have at least half a
-- chunk before them. A model that wants a begin-of-sequence token has it in the place of each chunk's first token.
--   --stride N    instead, chunks begin every N tokens, and the last N tokens of each are scored: with a small N almost
--                 every token has a full context before it, at the price of ctx / N times the work
--   --chunks N    only the first N chunks
--   --special     the names of control tokens in the text (<|endoftext|>) stand for those tokens
--
-- Of several models the first is what the others are compared with: "against the first" is the mean difference of logarithms,
-- token by token, which is known far more exactly than either perplexity. Its error is, as theirs, one standard error.

local perilune = require "perilune"

local USAGE = "usage: perilune scripts/perplexity.lua MODEL [MODEL ...] TEXTFILE "
  .. "[--ctx N] [--stride N] [--chunks N] [--special] [--threads N]"
local CTX = 512

local function fail(message)
  io.stderr:write("perplexity: ", message, "\n")
  os.exit(1, true)
end

local function read_arguments(args)
  local o, i = {}, 1
  while args[i] do
    local a = args[i]
    local name = a:match "^%-%-(.*)$"
    if name == "special" then o.special = true
    elseif name == "ctx" or name == "stride" or name == "chunks" or name == "threads" then
      i = i + 1
      o[name] = math.tointeger(tonumber(args[i]))
      if not o[name] or o[name] < 1 then fail(a .. " needs a whole number above 0\n" .. USAGE) end
    elseif name == "help" or a == "-h" then
      print(USAGE)
      os.exit(0, true)
    elseif name then fail("unknown option " .. a .. "\n" .. USAGE)
    else o[#o + 1] = a end
    i = i + 1
  end
  if #o < 2 then fail(USAGE) end
  return o
end

local function read_file(path)
  local file, why = io.open(path, "rb")
  local text = file and file:read "a"
  if not text then fail(why or path .. ": cannot be read") end
  file:close()
  return text
end

--- Mean of a list, and the standard error of that mean.
local function mean(list)
  local sum, squares, n = 0, 0, #list
  for _, x in ipairs(list) do sum = sum + x end
  for _, x in ipairs(list) do squares = squares + (x - sum / n) ^ 2 end
  return sum / n, n > 1 and math.sqrt(squares / (n - 1) / n) or 0
end

--- The negative log-probabilities of the tokens that are scored.
---@param model perilune.Model
---@param ids integer[] of the text
---@param ctx integer tokens of a chunk
---@param o table options
---@param progress fun(chunk: integer, chunks: integer, losses: number[])
---@return number[]
local function score(model, ids, ctx, o, progress)
  local special, losses = model:info().tokenizer, {}
  local step, scored = o.stride or ctx, o.stride or ctx - ctx // 2 - 1
  local chunks = (#ids - ctx) // step + 1
  chunks = math.min(chunks, o.chunks or chunks)
  for chunk = 1, chunks do
    local from = (chunk - 1) * step
    local part = table.move(ids, from + 1, from + ctx, 1, {})
    if special.add_bos and special.bos then part[1] = special.bos end
    local cache <close> = model:cache():extend(part)
    for _, logprob in ipairs(cache:logprobs(ctx - scored + 1, ctx)) do losses[#losses + 1] = -logprob end
    progress(chunk, chunks, losses)
  end
  return losses
end

local function same(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do
    if a[i] ~= b[i] then return false end
  end
  return true
end

-- ---- the program ----

local options = read_arguments(arg or {})
local path = table.remove(options)
local text = read_file(path)
local terminal = os.execute "test -t 2"
local widest, first = 5, nil
for _, name in ipairs(options) do widest = math.max(widest, #name) end

for i, name in ipairs(options) do
  local ctx = options.ctx or CTX
  local model <close>, why = perilune.load(name, { context = ctx, threads = options.threads })
  if not model then fail(why) end
  if options.stride and options.stride >= ctx then
    fail(("--stride is %d: less than a chunk, %d, is allowed"):format(options.stride, ctx))
  end
  local info = model:info()
  if ctx > info.context_trained then
    fail(("--ctx is %d, and %s was trained for %d tokens"):format(ctx, name, info.context_trained))
  end
  local ids = model:encode(text, { bos = info.tokenizer.add_bos or false, special = options.special })
  if #ids < ctx or ctx < 4 then
    fail(("%s has %d tokens, and a chunk needs %d; --ctx may be 4 or more"):format(path, #ids, ctx))
  end

  local started, shown = os.time(), -1
  local losses = score(model, ids, ctx, options, function(chunk, chunks, losses)
    local now = os.time()
    if not terminal or now == shown and chunk < chunks then return end
    shown = now
    io.stderr:write(("\r\27[K%s  chunk %d of %d, perplexity %.4f, %d s"):format(
      name, chunk, chunks, math.exp((mean(losses))), now - started))
  end)
  if terminal then io.stderr:write "\r\27[K" end

  if i == 1 then
    print(("%s: %d tokens; chunks of %d, %d tokens scored"):format(path, #ids, ctx, #losses))
    print(("%-" .. widest .. "s  bits per weight  perplexity%s"):format("model",
      #options > 1 and "            against the first" or ""))
  end
  local loss, loss_error = mean(losses)
  local perplexity = math.exp(loss)
  local line = ("%-" .. widest .. "s  %15.2f  %10.4f +- %.4f"):format(
    name, 8 * info.n_bytes / info.n_params, perplexity, perplexity * loss_error)
  if i == 1 then
    first = { ids = ids, losses = losses }
  elseif same(ids, first.ids) then
    local differences = {}
    for k = 1, #losses do differences[k] = losses[k] - first.losses[k] end
    line = line .. ("  %+.5f +- %.5f"):format(mean(differences))
  else
    line = line .. "  (other tokens)"
  end
  print(line)
  io.stdout:flush()
end
