-- A cursor that puts every field it passes into the packet tree. A fault is a Lua error with a table.

local import = ...
if type(import) ~= "function" then return end

local fields = import("fields").by_name

local Scribe = {}
Scribe.__index = Scribe

local function over(raw, range, tree, findings)
  local made = { range = range, raw = raw, position = 0, stop = #raw, tree = tree, findings = findings }
  return setmetatable(made, Scribe)
end

-- `range` is the TvbRange of a whole message or of decrypted octets, `tree` where its fields go.
local function new(range, tree, findings)
  return over(range:raw(), range, tree, findings)
end

-- Return a scribe that reads without showing: its tree takes everything and keeps nothing.
local function silent(raw)
  local nowhere = {}
  for _, name in ipairs({ "add", "append_text", "set_text", "set_len" }) do
    nowhere[name] = function() return nowhere end
  end
  return over(raw, function() end, nowhere, {})
end

function Scribe:remaining()
  return self.stop - self.position
end

function Scribe.fault(field, detail, offset)
  error({ fault = true, field = field, detail = detail, offset = offset }, 0)
end

function Scribe:warn(field, detail, offset)
  self.findings[#self.findings + 1] = { kind = "doubt", field = field, detail = detail, offset = offset }
end

-- Step over `count` octets and return them.
function Scribe:take(count, field)
  if count > self:remaining() then
    self.fault(field, ("needs %d octets, %d are left"):format(count, self:remaining()), self.position)
  end
  local octets = self.raw:sub(self.position + 1, self.position + count)
  self.position = self.position + count
  return octets
end

-- Name the last `count` octets.
function Scribe:note(name, count, ...)
  return self.tree:add(fields[name], self.range(self.position - count, count), ...)
end

local function value_of(octets)
  local value = 0
  for at = 1, #octets do value = value * 256 + octets:byte(at) end
  return value
end

-- Read a number of `count` octets.
function Scribe:number(count, name, field)
  local value = value_of(self:take(count, field))
  self:note(name, count)
  return value
end

function Scribe:check_registered(value, values, field, offset)
  if not values[value] then self:warn(field, value .. " is not a registered value", offset) end
end

-- Read a registered number of one octet (or of `count`).
function Scribe:choice(name, field, values, count)
  local value = self:number(count or 1, name, field)
  self:check_registered(value, values, field, self.position - (count or 1))
  return value
end

-- Read octets. An empty field is not shown, as nothing of the message stands for it.
function Scribe:octets(count, name, field, ...)
  local octets = self:take(count, field)
  if count > 0 then self:note(name, count, ...) end
  return octets
end

-- Read a length of `size` octets and as many octets.
function Scribe:counted(size, length_name, name, field)
  local length = self:number(size, length_name, field .. " length")
  return self:octets(length, name, field)
end

-- Return the range of `count` octets from `at` on, for an item of the tree; it may be empty, also at the end.
function Scribe:place(at, count)
  return self.range(count == 0 and math.max(0, math.min(at, #self.raw - 1)) or at, count)
end

-- Show what `describe` reads as one item of the tree, also where a fault ends it.
function Scribe:group(title, describe)
  local above, start = self.tree, self.position
  self.tree = above:add(self:place(start, 0), title)
  local node = self.tree
  local ok, result = pcall(describe, node)
  node:set_len(self.position - start)
  self.tree = above
  if not ok then error(result, 0) end
  return result
end

-- Confine `describe` to the next `count` octets, all of which it must read.
function Scribe:inside(count, field, describe)
  if count > self:remaining() then
    self.fault(field, ("needs %d octets, %d are left"):format(count, self:remaining()), self.position)
  end
  local outer = self.stop
  self.stop = self.position + count
  local ok, result = pcall(function()
    local made = describe()
    if self:remaining() > 0 then
      self.fault(field, self:remaining() .. " octets after the last payload", self.position)
    end
    return made
  end)
  self.stop = outer
  if not ok then error(result, 0) end
  return result
end

return { new = new, silent = silent, value_of = value_of }
