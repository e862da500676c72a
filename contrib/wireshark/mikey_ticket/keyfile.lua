-- The key file: one entry a line, `psk HEX`, `tpk HEX`, `envelope HEX`, or a name that messages leave out.

local import = ...
if type(import) ~= "function" then return end

local from_hex = import("kdf").from_hex

-- Read a key file. Return {psk=..., tpk=..., envelope=..., initiator=..., responder=..., kms=...} and a list
-- of what is wrong with lines; a message never repeats a key.
local function read(path)
  local keys = { psk = {}, tpk = {}, envelope = {}, initiator = "", responder = "", kms = "" }
  local faults = {}
  if not path or path == "" then return keys, faults end
  local file = io.open(path, "r")
  if not file then return keys, { "the key file cannot be opened" } end
  local number = 0
  for line in file:lines() do
    number = number + 1
    local word, value = line:match("^%s*(%S+)%s+(%S+)%s*$")
    if line:match("^%s*#") or line:match("^%s*$") then
      word = nil
    elseif word and type(keys[word]) == "table" and value:match("^%x+$") and #value % 2 == 0 and #value >= 32 then
      table.insert(keys[word], from_hex(value))
    elseif word and type(keys[word]) == "string" then
      keys[word] = value
    else
      faults[#faults + 1] = ("line %d is not `psk`, `tpk` or `envelope` with 32 or more hexadecimal digits,"
        .. " or `initiator`, `responder` or `kms` with a URI"):format(number)
    end
  end
  file:close()
  return keys, faults
end

return { read = read }
