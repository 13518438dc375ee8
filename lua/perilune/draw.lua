local M = {}
function M.page() return "" end
function M.print() end
return M
