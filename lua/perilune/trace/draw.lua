-- draw: a trace as a page (page.html, which draws what it is given) and in a terminal.

local core = require "perilune.core"
local json = require "perilune.trace.json"

local M = {}

local _, HERE = ... -- the path of this file, as require says it

-- ---- the page ----

local function template()
  local file <close> = assert(io.open(HERE:gsub("draw%.lua$", "page.html"), "rb"))
  return file:read "a"
end

local function title(model)
  return model.info.name or model.info.arch or "model"
end

--- The page of a trace: one HTML file that needs nothing else.
---@param trace perilune.Trace
---@return string
function M.page(trace)
  local data = trace:data()
  local models = {}
  for i, model in ipairs(data.models) do
    models[i] = {
      name = title(model), root = model.root, pieces = model.pieces, control = model.control,
    }
  end
  -- No text may end the script that holds it.
  local text = json.encode({models = models, nodes = data.nodes}):gsub("<", "\\u003c")
  local before, after = template():match "^(.-)DATA(.*)$"
  return before .. text .. after
end

-- ---- the terminal ----

local WIDTH = 100 -- columns
local UNDERLINE, INVERSE, DIM, RESET = "\27[4m", "\27[7m", "\27[2m", "\27[0m"
local STEPS = {0.05, 0.2, 0.5, 0.9} -- as on the page
local COLOURS = {203, 215, 186, 114, 75}

local function colour(logprob)
  local step = 1
  while step <= #STEPS and math.exp(logprob) >= STEPS[step] do step = step + 1 end
  return ("\27[38;5;%dm"):format(COLOURS[step])
end

-- Text that cannot move the cursor: other bytes than those of plain characters are named.
local function visible(text)
  local parts, at = {}, 1
  while at <= #text do
    local char = text:match("^[\0-\127\xC2-\xF4][\x80-\xBF]*", at) or text:sub(at, at)
    at = at + #char
    local code = utf8.len(char) == 1 and utf8.codepoint(char)
    if char == "\n" then char = "↵"
    elseif char == "\t" then char = "→"
    elseif not code or code < 32 or code >= 127 and code < 160
      or code >= 0x200B and code <= 0x202F then -- controls, and what has no width or turns around
      char = char:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end)
    end
    parts[#parts + 1] = char
  end
  return table.concat(parts)
end

-- How many tokens hang below each node, itself included.
local function sizes(nodes)
  local size = {}
  for _, node in ipairs(nodes) do size[node] = 1 end
  for i = #nodes, 1, -1 do
    local node = nodes[i]
    if node.parent then size[node.parent] = size[node.parent] + size[node] end
  end
  return size
end

-- The kid with which a line goes on: that under which most hangs; the others are branches.
local function heir(node, size)
  local best
  for _, kid in ipairs(node.kids) do
    if not best or size[kid] > size[best] then best = kid end
  end
  return best
end

---@param trace perilune.Trace
---@param file file*
---@param options? {colour?: boolean}
function M.print(trace, file, options)
  local coloured = core.is_terminal(file) and not os.getenv "NO_COLOR"
  for key, value in pairs(options or {}) do
    if key ~= "colour" then
      core.raise("argument", ("trace:print: unknown option '%s' (allowed: colour)"):format(key))
    end
    coloured = value
  end
  local size = sizes(trace.nodes)

  local function styled(node, text, control)
    if not coloured then return text end
    local style = (node.logprob and colour(node.logprob) or "") .. (control and INVERSE or "")
      .. (node.kind == "forced" and UNDERLINE or "")
    return style == "" and text or style .. text .. RESET
  end

  -- A line from its first token to a leaf, then the branches that leave it. `lead` stands in front
  -- of its first row, `rest` of the others.
  local function line(first, lead, rest, from)
    local model = trace.models[first.model]
    local branches, width = {}, WIDTH - utf8.len(rest)
    local column = from and utf8.len(from) + 1 or 0
    file:write(lead, from and (coloured and DIM .. from .. RESET or from) .. " " or "")
    local node = first
    while node do
      if node.id then
        local piece = model.pieces[node.id]
        local control = false
        for _, id in ipairs(model.control) do control = control or id == node.id end
        local text = visible(piece)
        local length = utf8.len(text)
        if column + length > width and column > 0 then
          file:write("\n", rest)
          column = 0
        end
        file:write(styled(node, text, control))
        column = column + length
      end
      local next = heir(node, size)
      for _, kid in ipairs(node.kids) do
        if kid ~= next then branches[#branches + 1] = kid end
      end
      node = next
    end
    file:write "\n"
    for i, kid in ipairs(branches) do
      local last = i == #branches
      line(kid, rest .. (last and "└─ " or "├─ "), rest .. (last and "   " or "│  "),
        ("[after %d]"):format(kid.depth - 1))
    end
  end

  for _, model in ipairs(trace.models) do
    file:write(title(model), "\n")
    if #model.root.kids > 0 then line(model.root, "", "") end
  end
end

return M
