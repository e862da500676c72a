-- A whole message: HDR with its CS ID map, then the payloads.

local import = ...
if type(import) ~= "function" then return end

local registry, payloads = import("registry"), import("payloads")

local function srtp_id(s, message, number)
  s:group("Crypto session " .. number, function()
    local entry = { cs_id = number, policies = {}, session_data = "", spi = "" }
    entry.policies[1] = s:number(1, "cs.policy", "Policy_no")
    s:number(4, "cs.ssrc", "SSRC")
    s:number(4, "cs.roc", "ROC")
    message.entries[number] = entry
  end)
end

local function generic_id(s, message)
  s:group("Crypto session", function(node)
    local entry = { policies = {} }
    entry.cs_id = s:number(1, "cs.id", "CS ID")
    node:set_text("Crypto session " .. entry.cs_id)
    entry.protocol = s:choice("cs.protocol", "Prot type", registry.protocol)
    local octet = s:take(1, "S and #P"):byte()
    s:note("cs.s", 1)
    s:note("cs.policies", 1)
    entry.s = octet >= 128
    for number = 1, octet % 128 do entry.policies[number] = s:number(1, "cs.policy", "Policy_no") end
    local length = s:number(2, "cs.data_length", "Session Data Length")
    local at = s.position
    if entry.protocol == 0 and length == (entry.s and 10 or 4) then
      s:number(4, "cs.ssrc", "SSRC")
      if entry.s then
        s:number(4, "cs.roc", "ROC")
        s:number(2, "cs.seq", "SEQ")
      end
    else
      s:octets(length, "cs.data", "Session Data")
    end
    entry.session_data = s.raw:sub(at + 1, s.position)
    entry.spi = s:counted(1, "cs.spi_length", "cs.spi", "SPI")
    message.entries[#message.entries + 1] = entry
  end)
end

local function header(s, message)
  s:group("HDR [RFC 3830 6.1, RFC 6043 6.1]", function()
    local version = s:number(1, "version", "version")
    if version ~= 1 then s.fault("version", version .. " is not MIKEY version 1", 0) end
    message.data_type = s:choice("type", "data type", registry.data_type)
    message.first = s:choice("next_payload", "next payload", registry.payload)
    local octet = s:take(1, "V and PRF func"):byte()
    s:note("v", 1)
    s:note("prf", 1)
    message.v, message.prf = octet >= 128, octet % 128
    s:check_registered(message.prf, registry.prf, "PRF func", s.position - 1)
    message.csb_id = s:take(4, "CSB ID")
    s:note("csb_id", 4)
    message.cs_count = s:number(1, "cs_count", "#CS")
    message.map_type = s:choice("map_type", "CS ID map type", registry.map_type)
    if message.map_type == 0 then
      for number = 1, message.cs_count do srtp_id(s, message, number) end
    elseif message.map_type == 2 then
      for _ = 1, message.cs_count do generic_id(s, message) end
    elseif message.map_type ~= 1 then
      local detail = ("unknown map %d, so of unknown length"):format(message.map_type)
      s.fault("CS ID map type", detail, s.position - 1)
    end
  end)
end

local LIMITS = { payloads = 64, certificates = 8, sessions = 64, parameters = 64 }

-- Return what a strict reader refuses although its octets can be followed.
local function refusal(message)
  if not registry.data_type[message.data_type] then return { "data type", "unknown value " .. message.data_type } end
  if not registry.prf[message.prf] then return { "PRF func", "unknown value " .. message.prf } end
  local function look(list)
    for _, p in ipairs(list or {}) do
      local inner = p.refused or look(p.payloads)
      if inner then return inner end
    end
  end
  return look(message.payloads)
end

local function excess(message)
  if message.cs_count > LIMITS.sessions then return "#CS" end
  local function look(list)
    local certificates = 0
    for number, p in ipairs(list or {}) do
      if p.type == 7 then certificates = certificates + 1 end
      if number > LIMITS.payloads or certificates > LIMITS.certificates then return "message" end
      if p.params and #p.params > LIMITS.parameters then return "SP" end
      local inner = look(p.payloads)
      if inner then return inner end
    end
  end
  return look(message.payloads)
end

local function wrong(findings, field, detail, offset)
  findings[#findings + 1] = { kind = "wrong", field = field, detail = detail, offset = offset }
end

-- Read the message that `s` stands at into the tree; return its record, nil where it cannot be followed.
local function read(s)
  local message = { raw = s.raw, entries = {} }
  local ok, result = pcall(function()
    header(s, message)
    message.payloads = payloads.chain(s, message.first, 0)
    if s:remaining() > 0 then
      s.fault("message", s:remaining() .. " octets after the last payload", s.position)
    end
  end)
  if not ok then
    if not (type(result) == "table" and result.fault) then error(result, 0) end
    wrong(s.findings, result.field, result.detail, result.offset)
    if s:remaining() > 0 then s.tree:add(import("fields").by_name["rest"], s.range(s.position)) end
    return nil, message.data_type
  end
  local refused = refusal(message)
  if refused then
    wrong(s.findings, refused[1], refused[2])
    return nil, message.data_type
  end
  local field = excess(message)
  if field then s:warn(field, "more than a peer need read", 0) end
  return message, message.data_type
end

return { read = read }
