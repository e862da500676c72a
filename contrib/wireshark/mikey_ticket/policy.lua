-- What makes a Ticket Policy or an SRTP policy one that a receiver refuses. Each returns nil or what is wrong.

local import = ...
if type(import) ~= "function" then return end

local registry, find = import("registry"), import("find")
local value_of = import("scribe").value_of
local M = {}

local function is_utf8(octets)
  local at = 1
  while at <= #octets do
    local head = octets:byte(at)
    local more = head < 0x80 and 0 or head < 0xc2 and -1 or head < 0xe0 and 1 or head < 0xf0 and 2
      or head < 0xf5 and 3 or -1
    if more < 0 or not octets:sub(at + 1, at + more):find("^" .. ("[\128-\191]"):rep(more) .. "$") then
      return false
    end
    local second = octets:byte(at + 1)
    if head == 0xe0 and second < 0xa0 or head == 0xed and second > 0x9f then return false end
    if head == 0xf0 and second < 0x90 or head == 0xf4 and second > 0x8f then return false end
    at = at + 1 + more
  end
  return true
end

local function desired_keys(p)
  local kemacs = find.all(p.payloads, 1)
  if #kemacs == 0 then return nil end
  if #kemacs > 1 then return "KEMAC is given twice" end
  local kemac = kemacs[1]
  if p.name == "TICKET" then return "a granted policy has no KEMAC" end
  if kemac.encr_alg ~= 0 or kemac.mac_alg ~= 0 then return "KEMAC: the algorithms must be NULL" end
  for _, key in ipairs(kemac.keys or {}) do
    if key.type ~= 20 then return "only key data stands in a KEMAC" end
    if key.key_type == 6 then return "an MPK is not asked for" end
  end
end

-- Judge the policy of a TP or TICKET payload (RFC 6043 section 6.10).
function M.ticket(p)
  if #find.all(p.payloads, 14, 2) == 0 then return "names no responder" end
  for _, role in ipairs({ 1, 3 }) do
    if #find.all(p.payloads, 14, role) > 1 then return registry.id_role[role] .. " is given twice" end
  end
  for _, idr in ipairs(find.all(p.payloads, 14)) do
    if idr.role ~= 4 and registry.id_role[idr.role] and not is_utf8(idr.data) then
      return "the ID Data is not UTF-8 text"
    end
  end
  for role = 2, 4 do
    local limits = find.all(p.payloads, 13, role)
    if #limits > 1 then return registry.ts_role[role] .. " is given twice" end
    if limits[1] and role < 4 and limits[1].ts_type == 2 then return "a COUNTER limits no validity" end
    if limits[1] and role == 4 and limits[1].ts_type ~= 3 then return "TRr must be NTP-UTC-32" end
  end
  local wrong = desired_keys(p)
  if wrong then return wrong end
  if p.name == "TICKET" and (p.ticket_type ~= 1 or p.subtype ~= 1 or p.version ~= 1) then
    return ("type %d, subtype %d, version %d is not the MIKEY base ticket"):format(
      p.ticket_type, p.subtype, p.version
    )
  end
end

local DEFAULTS = { [0] = 1, [1] = 16, [2] = 1, [3] = 20, [4] = 14, [5] = 0, [7] = 1, [8] = 1, [9] = 0, [10] = 1, [11] = 10, [20] = 16 }
local GCM = { [0] = 6, [1] = 16, [2] = 0, [3] = 0, [4] = 12, [5] = 0, [7] = 1, [8] = 1, [9] = 0, [10] = 0, [11] = 0, [20] = 16 }

local function inconsistent(given)
  if given(0) == 6 then
    if given(1) ~= 16 and given(1) ~= 32 then return "AES-GCM has keys of 16 or 32 bytes" end
    if given(4) ~= 12 then return "AES-GCM has a salt of 12 bytes" end
    if given(20) ~= 16 then return "AES-GCM has a tag of 16 bytes" end
    return nil
  end
  local length = given(1)
  if given(0) ~= 0 and length ~= 16 and length ~= 24 and length ~= 32 then
    return "AES has keys of 16, 24 or 32 bytes"
  end
  if given(4) > 14 then return "the salt has at most 14 bytes" end
  if given(2) == 1 and given(3) ~= 20 then return "HMAC-SHA-1 has a key of 20 bytes" end
  if given(2) == 1 and (given(11) < 4 or given(11) > 20) then
    return "the authentication tag has 4 to 20 bytes"
  end
end

-- Judge an SP payload of SRTP (RFC 3830 section 6.10.1, RFC 3711, RFC 7714). Return nil or what is wrong, and
-- a function that gives the value of each parameter.
function M.srtp(p)
  local values = {}
  for _, param in ipairs(p.params) do
    local what = ("policy %d, parameter %d "):format(p.number, param.type)
    if not registry.srtp_param[param.type] then return what .. "is unknown" end
    if values[param.type] then return what .. "is given twice" end
    if #param.octets < 1 or #param.octets > (param.type == 6 and 8 or 1) then
      return what .. ("has %d octets"):format(#param.octets)
    end
    values[param.type] = value_of(param.octets)
  end
  for kind, allowed in pairs(registry.srtp_value) do
    if values[kind] and not allowed[values[kind]] then
      return ("policy %d: %d is not a value of parameter %d"):format(p.number, values[kind], kind)
    end
  end
  local default = values[0] == 6 and GCM or DEFAULTS
  local function given(kind) return values[kind] or default[kind] end
  local wrong = inconsistent(given)
  return wrong and ("policy %d: %s"):format(p.number, wrong), given
end

return M
