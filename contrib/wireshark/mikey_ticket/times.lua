-- Timestamps: what they say, and the octets that go into an IV (RFC 3830 section 6.6, RFC 6043 section 6.3).

local import = ...
if type(import) ~= "function" then return end

local value_of = import("scribe").value_of
local NTP_EPOCH, ERA, SPLIT = 2208988800, 4294967296, 2147483648
local M = {}

-- Return the whole seconds of a timestamp as a duration.
function M.seconds(p)
  return value_of(p.ts_octets:sub(1, 4))
end

-- Return seconds since 1970 (era by RFC 4330 section 3), nil for a COUNTER.
function M.unix(p)
  if p.ts_type == 2 then return nil end
  local seconds = M.seconds(p)
  local fraction = #p.ts_octets == 8 and value_of(p.ts_octets:sub(5, 8)) / ERA or 0
  return seconds + (seconds >= SPLIT and 0 or ERA) - NTP_EPOCH + fraction
end

function M.text(p)
  local unix = M.unix(p)
  if not unix then return ("counter %d"):format(value_of(p.ts_octets)) end
  local days, rest = math.floor(unix / 86400), unix % 86400
  -- Years of 365.2425 days from March on: os.date refuses years that a timestamp may well name.
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return ("%04.0f-%02.0f-%02.0fT%02.0f:%02.0f:%06.3fZ"):format(
    year, month, day, math.floor(rest / 3600), math.floor(rest / 60) % 60, math.floor(rest % 60 * 1000) / 1000
  )
end

function M.iv_octets(p)
  if #p.ts_octets == 8 then return p.ts_octets end
  if p.ts_type == 2 then return "\0\0\0\0" .. p.ts_octets end
  return p.ts_octets .. "\0\0\0\0"
end

return M
