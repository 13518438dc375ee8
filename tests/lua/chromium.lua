-- chromium.lua: a headless Chromium that tests open pages in. It is spoken to through two named
-- pipes, in the DevTools protocol: JSON, ended by a zero byte. It ends by itself after LIMIT
-- seconds, so that no test can hang.

local json = require "perilune.trace.json"

local M = {}

local LIMIT = 120

---@class Chromium
local Chromium = {}
Chromium.__index = Chromium

local function run(command)
    assert(os.execute(command))
end

--- Whether there is one.
---@return boolean
function M.installed()
    return (os.execute "command -v chromium >/dev/null 2>&1") == true
end

---@param options? {width?: integer, height?: integer, dark?: boolean}
---@return Chromium
function M.open(options)
    options = options or {}
    local folder = os.tmpname()
    os.remove(folder)
    run(("mkdir %s && mkfifo %s/in %s/out"):format(folder, folder, folder))
    run(([[timeout -k 5 %d chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
        --no-first-run --disable-background-networking --disable-component-update \
        --user-data-dir=%s/profile --remote-debugging-pipe --window-size=%d,%d \
        3<%s/in 4>%s/out >/dev/null 2>&1 &]]):format(LIMIT, folder, options.width or 1280,
        options.height or 900, folder, folder))
    local self = setmetatable({ folder = folder, id = 0, logged = {} }, Chromium)
    self.to = assert(io.open(folder .. "/in", "wb"))
    self.from = assert(io.open(folder .. "/out", "rb"))
    self.to:setvbuf "no"
    local target = self:call("Target.createTarget", { url = "about:blank" }).targetId
    self.session = self:call("Target.attachToTarget",
        { targetId = target, flatten = true }).sessionId
    self:call "Page.enable"
    self:call "Runtime.enable"
    self:call "Network.enable"
    self:call "Log.enable"
    self:call("Emulation.setEmulatedMedia", { features = {
        { name = "prefers-color-scheme", value = options.dark and "dark" or "light" } } })
    self:call("Emulation.setDeviceMetricsOverride",
        { width = options.width or 1280, height = options.height or 900,
        deviceScaleFactor = 1, mobile = false })
    return self
end

function Chromium:message()
    local bytes = {}
    while true do
        local byte = self.from:read(1)
        if not byte then error("chromium ended, or took longer than " .. LIMIT .. " seconds", 0) end
        if byte == "\0" then break end
        bytes[#bytes + 1] = byte
    end
    local message = assert(json.decode(table.concat(bytes)))
    -- What a page should not do: errors, complaints, and requests for anything but files.
    local method, params = message.method, message.params
    if method == "Runtime.exceptionThrown" then
        self.logged[#self.logged + 1] = json.encode(params.exceptionDetails)
    elseif method == "Log.entryAdded" then
        self.logged[#self.logged + 1] = params.entry.text
    elseif method == "Network.requestWillBeSent"
        and not params.request.url:find "^[fd][ia][lt][ea]:" then
        self.logged[#self.logged + 1] = "request for " .. params.request.url
    end
    return message
end

--- Calls a method of the protocol; what it gives.
---@return table
function Chromium:call(method, params)
    self.id = self.id + 1
    assert(self.to:write(json.encode { id = self.id, method = method, params = params,
        sessionId = self.session }, "\0"))
    while true do
        local message = self:message()
        if message.id == self.id then
            if message.error then error(method .. ": " .. message.error.message, 2) end
            return message.result
        end
    end
end

--- Opens a file, and waits until it is loaded.
---@param path string absolute
function Chromium:visit(path)
    self:call("Page.navigate", { url = "file://" .. path })
    while self:message().method ~= "Page.loadEventFired" do end
end

--- The value of a JavaScript expression.
---@param expression string
---@return any
function Chromium:eval(expression)
    local answer = self:call("Runtime.evaluate", { expression = expression, returnByValue = true })
    if answer.exceptionDetails then error(json.encode(answer.exceptionDetails), 2) end
    return answer.result.value
end

--- Clicks, with the mouse, on the middle of the first box of the element that a selector finds.
---@param selector string
function Chromium:click(selector)
    local box = self:eval(([[(() => { const e = document.querySelector(%s);
        e.scrollIntoView({block: "center"}); const r = e.getClientRects()[0];
        return [r.x + r.width / 2, r.y + r.height / 2]; })()]]):format(json.encode(selector)))
    for _, kind in ipairs { "mousePressed", "mouseReleased" } do
        self:call("Input.dispatchMouseEvent",
            { type = kind, x = box[1], y = box[2], button = "left", clickCount = 1 })
    end
end

--- Presses a key where the focus is.
---@param key string
---@param text? string what it types
function Chromium:press(key, text)
    self:call("Input.dispatchKeyEvent", { type = "keyDown", key = key, code = key, text = text,
        windowsVirtualKeyCode = key == "Enter" and 13 or key == "ArrowRight" and 39 or 37 })
    self:call("Input.dispatchKeyEvent", { type = "keyUp", key = key, code = key })
end

--- Writes what is seen, or the whole page, to a .png file.
---@param path string
---@param whole? boolean
function Chromium:screenshot(path, whole)
    local data = self:call("Page.captureScreenshot",
        { format = "png", captureBeyondViewport = whole or false }).data
    local decode <close> = assert(io.popen("base64 -d > " .. path, "w"))
    decode:write(data)
end

function Chromium:close()
    if not self.folder then return end
    pcall(self.call, self, "Browser.close")
    self.from:read "a" -- until it has ended
    self.to:close()
    self.from:close()
    os.execute("rm -rf " .. self.folder)
    self.folder = nil
end
Chromium.__close = Chromium.close
Chromium.__gc = Chromium.close

return M
