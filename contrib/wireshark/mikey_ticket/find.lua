-- Finding payloads in a chain.

local import = ...
if type(import) ~= "function" then return end

local M = {}

-- Return every payload of a number (and role), in order.
function M.all(chain, number, role)
  local found = {}
  for _, p in ipairs(chain or {}) do
    if p.type == number and (role == nil or p.role == role) then found[#found + 1] = p end
  end
  return found
end

-- Return the first payload of a number (and role), nil without one.
function M.first(chain, number, role)
  return M.all(chain, number, role)[1]
end

return M
