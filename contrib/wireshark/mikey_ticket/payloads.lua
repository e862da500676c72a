-- What stands in each payload (RFC 3830 section 6, RFC 6043 section 6 and Appendix A).
-- Each function reads the octets after Next Payload into the tree and into the record `p`.

local import = ...
if type(import) ~= "function" then return end

local registry, times = import("registry"), import("times")
local value_of = import("scribe").value_of

local MAX_NESTING = 4
local M = {}

local function known_length(s, lengths, value, field, what)
  if not lengths[value] then
    s.fault(field, ("unknown %s %d, so of unknown length"):format(what, value), s.position - 1)
  end
  return lengths[value]
end

local function validity(s, kind, p)
  if kind == 1 then
    p.spi = s:counted(1, "key.spi_length", "key.spi", "SPI")
  elseif kind == 2 then
    s:counted(1, "key.from_length", "key.from", "Valid From")
    s:counted(1, "key.to_length", "key.to", "Valid To")
  elseif kind ~= 0 then
    s.fault("KV", "unknown key validity " .. kind, s.position)
  end
end

local function kemac(s, p, depth)
  p.encr_alg = s:choice("encr_alg", "Encr alg", registry.encryption)
  local length = s:number(2, "encr_data_length", "Encr data len")
  p.data_at = s.position
  if p.encr_alg == 0 and length > 0 then
    s:group("Encr data, not encrypted", function()
      s:inside(length, "Encr data", function() p.keys = M.chain(s, 20, depth) end)
    end)
    p.encr_data = s.raw:sub(p.data_at + 1, s.position)
  else
    p.encr_data = s:octets(length, "encr_data", "Encr data")
  end
  p.mac_alg = s:choice("mac_alg", "Mac alg", registry.mac)
  s:octets(known_length(s, registry.mac_length, p.mac_alg, "Mac alg", "algorithm"), "mac", "MAC")
  if not registry.encryption[p.encr_alg] then
    p.refused = { "Encr alg", "unknown value " .. p.encr_alg }
  end
  return registry.encryption[p.encr_alg] or "unknown encryption"
end

local function pke(s, p)
  local at = s.position
  local word = value_of(s:take(2, "Data len"))
  s:note("pke.cache", 2)
  s:note("pke.length", 2)
  s:check_registered(math.floor(word / 16384), registry.cache, "C", at)
  p.data = s:octets(word % 16384, "pke.data", "Data")
  return "envelope key, encrypted"
end

local function dh(s, p)
  local group = s:choice("dh.group", "DH-Group", registry.group)
  s:octets(known_length(s, registry.group_length, group, "DH-Group", "group"), "dh.value", "DH-value")
  local octet = s:take(1, "KV"):byte()
  s:note("dh.reserved", 1)
  s:note("dh.kv", 1)
  validity(s, octet % 16, p)
end

local function sign(s, p)
  local at = s.position
  local word = value_of(s:take(2, "Signature len"))
  s:note("sign.type", 2)
  s:note("sign.length", 2)
  s:check_registered(math.floor(word / 4096), registry.signature, "S type", at)
  p.kind = math.floor(word / 4096)
  p.data = s:octets(word % 4096, "sign.signature", "Signature")
end

local function timestamp(s, p)
  p.ts_type = s:choice("ts.type", "TS type", registry.ts_type)
  local length = known_length(s, registry.ts_length, p.ts_type, "TS type", "type")
  p.ts_octets = s:take(length, "TS value")
  s:note("ts.value", length):append_text(" (" .. times.text(p) .. ")")
  return times.text(p)
end

local function role_timestamp(s, p)
  p.role = s:choice("ts.role", "TS Role", registry.ts_role)
  local text = timestamp(s, p)
  if p.role == 4 then text = ("every %d s at the latest"):format(times.seconds(p)) end
  return (registry.ts_role[p.role] or "unknown role") .. ": " .. text
end

local function identity(s, p)
  p.id_type = s:choice("id.type", "ID Type", registry.id_type)
  local length = s:number(2, "id.length", "ID Data length")
  local following = s.raw:sub(s.position + 1, s.position + length)
  local is_text = p.id_type ~= 2 and not following:find("[%z\1-\31\127-\255]")
  p.data = s:octets(length, is_text and "id" or "id.octets", "ID Data")
  return is_text and p.data or (length .. " octets")
end

local function role_identity(s, p)
  p.role = s:choice("id.role", "ID Role", registry.id_role)
  return (registry.id_role[p.role] or "unknown role") .. ": " .. identity(s, p)
end

local function certificate(s, p)
  p.kind = s:choice("cert.type", "Cert Type", registry.cert_type)
  p.data = s:counted(2, "cert.length", p.kind == 1 and "cert.url" or "cert.data", "Certificate")
  return registry.cert_type[p.kind]
end

local function certificate_hash(s)
  local func = s:choice("hash.func", "Hash func", registry.hash)
  s:octets(known_length(s, registry.hash_length, func, "Hash func", "function"), "hash", "Hash")
end

local function verification(s, p)
  p.alg = s:choice("auth_alg", "Auth alg", registry.mac)
  p.mac = s:octets(known_length(s, registry.mac_length, p.alg, "Auth alg", "algorithm"), "ver_data", "Ver data")
  return registry.mac[p.alg]
end

local function security_policy(s, p)
  p.number = s:number(1, "sp.number", "Policy no")
  p.protocol = s:choice("sp.protocol", "Prot type", registry.protocol)
  p.params = {}
  s:inside(s:number(2, "sp.length", "Policy param length"), "Policy param", function()
    while s:remaining() > 0 do
      s:group("Parameter", function(node)
        local at = s.position
        local kind = s:number(1, "sp.type", "Type")
        local octets = s:counted(1, "sp.param_length", "sp.value", "Value")
        p.params[#p.params + 1] = { type = kind, octets = octets }
        if p.protocol ~= 0 then return end
        local value = #octets <= 4 and value_of(octets) or "..."
        local text = (registry.srtp_value[kind] or {})[value]
        local name = registry.srtp_param[kind] or "not registered"
        node:set_text(("Parameter %d: %s: %s%s"):format(kind, name, value, text and " (" .. text .. ")" or ""))
        s:check_registered(kind, registry.srtp_param, "SP param type", at)
      end)
    end
  end)
  return ("policy %d, %s"):format(p.number, registry.protocol[p.protocol] or "unknown protocol")
end

local function rand(s, p)
  p.data = s:counted(1, "rand.length", "rand", "RAND")
  return #p.data .. " octets"
end

local function role_rand(s, p)
  p.role = s:choice("rand.role", "RAND Role", registry.rand_role)
  rand(s, p)
  return registry.rand_role[p.role]
end

local function error_payload(s, p)
  p.number = s:choice("error_no", "Error no", registry.error)
  if s:number(2, "error.reserved", "Reserved") ~= 0 then s:warn("Reserved", "should be 0", s.position - 2) end
  return registry.error[p.number]
end

local function read_flags(s, p, word)
  local letters = {}
  p.flags = {}
  s:group("Flags", function(node)
    for position, flag in ipairs(registry.flags) do
      local value = math.floor(word / 2 ^ (17 - position)) % 2
      p.flags[flag[1]] = value == 1
      if value == 1 then letters[#letters + 1] = flag[1] end
      s:note("ticket.flag." .. flag[1]:lower(), 3)
    end
    node:set_text("Flags " .. table.concat(letters))
  end)
  p.letters = table.concat(letters)
end

local function ticket_policy(s, p, depth)
  p.policy_at = s.position
  p.ticket_type = s:choice("ticket.type", "Ticket Type", registry.ticket_type, 2)
  p.subtype = s:number(1, "ticket.subtype", "Subtype")
  p.version = s:number(1, "ticket.version", "Version")
  local at = s.position
  local word = value_of(s:take(3, "flags"))
  p.prf = math.floor(word / 131072)
  s:note("ticket.prf", 3)
  s:check_registered(p.prf, registry.prf, "PRF Func", at)
  read_flags(s, p, word)
  s:note("ticket.reserved", 3)
  for _, rule in ipairs(registry.flag_rules) do
    if p.flags[rule[2]] == rule[3] and not p.flags[rule[4]] then
      s:warn("flags", ("%s break the rule %s"):format(p.letters, rule[1]), at)
      p.refused = { "flags", rule[1] }
    end
  end
  if not registry.prf[p.prf] then p.refused = { "PRF Func", "unknown value " .. p.prf } end
  local length = s:number(2, "ticket.tp_length", "TP Data length")
  s:group("TP Data", function()
    s:inside(length, "TP Data", function()
      if depth >= MAX_NESTING then s.fault("TP Data", "nested deeper than " .. MAX_NESTING, s.position) end
      local first = s:choice("ticket.first_payload", "First Payload", registry.payload)
      p.payloads = M.chain(s, first, depth + 1)
    end)
  end)
  p.policy_octets = s.raw:sub(p.policy_at + 1, s.position)
  return registry.ticket_type[p.ticket_type]
end

-- Describe an area; one that is not of the base ticket's form is shown as octets, without a fault.
local function area(s, length, title, name, describe)
  local start, count = s.position, #s.findings
  if length > s:remaining() then
    s.fault(title, ("needs %d octets, %d are left"):format(length, s:remaining()), start)
  end
  local tree = s.tree
  local node = tree:add(s:place(start, length), title)
  s.tree = node
  local ok, result = pcall(function() return s:inside(length, title, describe) end)
  s.tree = tree
  if ok then return result end
  if not (type(result) == "table" and result.fault) then error(result, 0) end
  while #s.findings > count do table.remove(s.findings) end
  s:warn(title, "is not of the base ticket's form: " .. result.field .. ": " .. result.detail, result.offset)
  s.position = start
  s.tree = node
  s:octets(length, name, title)
  s.tree = tree
  return nil
end

local function ticket(s, p, depth)
  local text = ticket_policy(s, p, depth)
  local length = s:number(2, "ticket.data_length", "Ticket Data length")
  local start = s.position
  p.ticket_payloads = area(s, length, "Ticket Data", "ticket.data", function()
    local first
    s:group("THDR", function()
      first = s:choice("next_payload", "Next Payload", registry.payload)
      s:counted(2, "thdr.length", "thdr.data", "THDR Data")
    end)
    return M.chain(s, first, depth + 1)
  end)
  p.ticket_data = s.raw:sub(start + 1, s.position)
  length = s:number(2, "ticket.initiator_length", "Initiator Data length")
  start = s.position
  if length > 0 then
    p.initiator_payloads = area(s, length, "Initiator Data", "ticket.initiator_data", function()
      local first = s:choice("ticket.first_payload", "First Payload", registry.payload)
      return M.chain(s, first, depth + 1)
    end)
  end
  p.initiator_data = s.raw:sub(start + 1, s.position)
  return text
end

local function key_data(s, p)
  local at = s.position
  local octet = s:take(1, "Type and KV"):byte()
  p.key_type, p.kv = math.floor(octet / 16), octet % 16
  s:note("key.type", 1)
  s:note("key.kv", 1)
  if not registry.key_type[p.key_type] then s.fault("Type", "unknown key type " .. p.key_type, at) end
  p.key = s:counted(2, "key.length", "key", "Key data")
  if p.key_type == 1 or p.key_type == 3 or p.key_type == 5 then
    p.salt = s:counted(2, "key.salt_length", "key.salt", "Salt data")
  end
  validity(s, p.kv, p)
  return registry.key_type[p.key_type]
end

local function extension(s, p)
  p.kind = s:choice("ext.type", "Type", registry.extension)
  local length = s:number(2, "ext.length", "Length")
  if p.kind ~= 3 then
    p.data = s:octets(length, p.kind == 1 and "ext.sdp_ids" or "ext.data", "Data")
    return registry.extension[p.kind]
  end
  s:inside(length, "Data", function()
    while s:remaining() > 0 do
      s:choice("key_id.type", "Key ID Type", registry.key_id_type)
      s:counted(1, "key_id.length", "key_id", "Key ID")
    end
  end)
  return registry.extension[p.kind]
end

-- Number -> short name, section, what reads it.
M.kinds = {
  [1] = { "KEMAC", "RFC 3830 6.2", kemac }, [2] = { "PKE", "RFC 3830 6.3", pke },
  [3] = { "DH", "RFC 3830 6.4", dh }, [4] = { "SIGN", "RFC 3830 6.5", sign },
  [5] = { "T", "RFC 3830 6.6", timestamp }, [6] = { "ID", "RFC 3830 6.7", identity },
  [7] = { "CERT", "RFC 3830 6.7", certificate }, [8] = { "CHASH", "RFC 3830 6.8", certificate_hash },
  [9] = { "V", "RFC 3830 6.9", verification }, [10] = { "SP", "RFC 3830 6.10", security_policy },
  [11] = { "RAND", "RFC 3830 6.11", rand }, [12] = { "ERR", "RFC 3830 6.12", error_payload },
  [13] = { "TR", "RFC 6043 6.4", role_timestamp }, [14] = { "IDR", "RFC 6043 6.6", role_identity },
  [15] = { "RANDR", "RFC 6043 6.8", role_rand }, [16] = { "TP", "RFC 6043 6.10", ticket_policy },
  [17] = { "TICKET", "RFC 6043 6.10", ticket }, [20] = { "Key data", "RFC 3830 6.13", key_data },
  [21] = { "General Extension", "RFC 3830 6.15", extension },
}

-- Read payloads up to the last one and return their records; `first` is the number of the first.
function M.chain(s, first, depth)
  local found, following = {}, first
  while following ~= 0 do
    local kind = M.kinds[following]
    if not kind then
      local detail = ("unknown payload %d: its length cannot be known"):format(following)
      s.fault("next payload", detail, s.position)
    end
    local p = { type = following, name = kind[1], start = s.position }
    s:group(kind[1], function(node)
      following = 0
      if p.type ~= 4 then following = s:choice("next_payload", "Next Payload", registry.payload) end
      local text = kind[3](s, p, depth)
      node:set_text(("%s%s [%s]"):format(kind[1], text and ": " .. text or "", kind[2]))
    end)
    p.stop = s.position
    found[#found + 1] = p
  end
  return found
end

return M
