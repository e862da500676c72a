-- The display filter fields: `mikey_ticket.` and the name in each line.

local import = ...
if type(import) ~= "function" then return end

local registry = import("registry")
local fields, order = {}, {}

local function add(name, make, ...)
  fields[name] = make("mikey_ticket." .. name, ...)
  order[#order + 1] = fields[name]
end

local function choice(name, label, values)
  add(name, ProtoField.uint8, label, base.DEC, values)
end

local function number(name, label, make)
  add(name, make or ProtoField.uint8, label, base.DEC)
end

local function octets(name, label)
  add(name, ProtoField.bytes, label)
end

local function text(name, label)
  add(name, ProtoField.string, label)
end

-- HDR (RFC 3830 section 6.1, RFC 6043 section 6.1)
number("version", "Version")
choice("type", "Data type", registry.data_type)
choice("next_payload", "Next payload", registry.payload)
add("v", ProtoField.uint8, "V (response expected)", base.DEC, { [0] = "No", [1] = "Yes" }, 0x80)
add("prf", ProtoField.uint8, "PRF func", base.DEC, registry.prf, 0x7f)
add("csb_id", ProtoField.uint32, "CSB ID", base.HEX)
number("cs_count", "#CS")
choice("map_type", "CS ID map type", registry.map_type)
number("cs.id", "CS ID")
choice("cs.protocol", "Prot type", registry.protocol)
add("cs.s", ProtoField.uint8, "S (ROC and SEQ given)", base.DEC, { [0] = "No", [1] = "Yes" }, 0x80)
add("cs.policies", ProtoField.uint8, "#P", base.DEC, nil, 0x7f)
number("cs.policy", "Policy_no")
number("cs.data_length", "Session Data Length", ProtoField.uint16)
octets("cs.data", "Session Data")
add("cs.ssrc", ProtoField.uint32, "SSRC", base.HEX)
number("cs.roc", "ROC", ProtoField.uint32)
number("cs.seq", "SEQ", ProtoField.uint16)
number("cs.spi_length", "SPI Length")
octets("cs.spi", "SPI")

-- KEMAC, PKE, DH, SIGN, V (RFC 3830 sections 6.2 to 6.5 and 6.9)
choice("encr_alg", "Encr alg", registry.encryption)
number("encr_data_length", "Encr data len", ProtoField.uint16)
octets("encr_data", "Encr data")
choice("mac_alg", "Mac alg", registry.mac)
octets("mac", "MAC")
choice("auth_alg", "Auth alg", registry.mac)
octets("ver_data", "Ver data")
add("pke.cache", ProtoField.uint16, "C", base.DEC, registry.cache, 0xc000)
add("pke.length", ProtoField.uint16, "Data len", base.DEC, nil, 0x3fff)
octets("pke.data", "Data")
choice("dh.group", "DH-Group", registry.group)
octets("dh.value", "DH-value")
add("dh.reserved", ProtoField.uint8, "Reserv", base.DEC, nil, 0xf0)
add("dh.kv", ProtoField.uint8, "KV", base.DEC, registry.validity, 0x0f)
add("sign.type", ProtoField.uint16, "S type", base.DEC, registry.signature, 0xf000)
add("sign.length", ProtoField.uint16, "Signature len", base.DEC, nil, 0x0fff)
octets("sign.signature", "Signature")

-- T, TR, ID, IDR, CERT, CHASH, RAND, RANDR, ERR (RFC 3830 sections 6.6 to 6.12, RFC 6043 sections 6.3 to 6.9)
choice("ts.type", "TS type", registry.ts_type)
octets("ts.value", "TS value")
choice("ts.role", "TS Role", registry.ts_role)
choice("id.role", "ID Role", registry.id_role)
choice("id.type", "ID Type", registry.id_type)
number("id.length", "ID len", ProtoField.uint16)
text("id", "ID Data")
octets("id.octets", "ID Data")
choice("cert.type", "Cert Type", registry.cert_type)
number("cert.length", "Cert len", ProtoField.uint16)
octets("cert.data", "Certificate")
text("cert.url", "Certificate URL")
choice("hash.func", "Hash func", registry.hash)
octets("hash", "Hash")
choice("rand.role", "RAND Role", registry.rand_role)
number("rand.length", "RAND len")
octets("rand", "RAND")
choice("error_no", "Error no", registry.error)
number("error.reserved", "Reserved", ProtoField.uint16)

-- SP (RFC 3830 section 6.10)
number("sp.number", "Policy no")
choice("sp.protocol", "Prot type", registry.protocol)
number("sp.length", "Policy param length", ProtoField.uint16)
choice("sp.type", "Type", registry.srtp_param)
number("sp.param_length", "Length")
octets("sp.value", "Value")

-- TP and TICKET (RFC 6043 section 6.10), THDR (Appendix A.3)
add("ticket.type", ProtoField.uint16, "Ticket Type", base.DEC, registry.ticket_type)
number("ticket.subtype", "Subtype")
number("ticket.version", "Version")
add("ticket.prf", ProtoField.uint24, "PRF Func", base.DEC, registry.prf, 0xfe0000)
for position, flag in ipairs(registry.flags) do
  local name = "ticket.flag." .. flag[1]:lower()
  local values = { [0] = flag[2], [1] = flag[3] }
  add(name, ProtoField.uint24, flag[1], base.DEC, values, 2 ^ (17 - position))
end
add("ticket.reserved", ProtoField.uint24, "Res", base.DEC, nil, 0x00001f)
number("ticket.tp_length", "TP Data length", ProtoField.uint16)
choice("ticket.first_payload", "First Payload", registry.payload)
number("ticket.data_length", "Ticket Data length", ProtoField.uint16)
octets("ticket.data", "Ticket Data")
number("ticket.initiator_length", "Initiator Data length", ProtoField.uint16)
octets("ticket.initiator_data", "Initiator Data")
number("thdr.length", "THDR Data length", ProtoField.uint16)
octets("thdr.data", "THDR Data")

-- Key data sub-payload (RFC 3830 sections 6.13 and 6.14, RFC 6043 section 6.2.1)
add("key.type", ProtoField.uint8, "Type", base.DEC, registry.key_type, 0xf0)
add("key.kv", ProtoField.uint8, "KV", base.DEC, registry.validity, 0x0f)
number("key.length", "Key data len", ProtoField.uint16)
octets("key", "Key data")
number("key.salt_length", "Salt len", ProtoField.uint16)
octets("key.salt", "Salt data")
number("key.spi_length", "SPI Length")
octets("key.spi", "SPI")
number("key.from_length", "VF Length")
octets("key.from", "Valid From")
number("key.to_length", "VT Length")
octets("key.to", "Valid To")

-- General Extension (RFC 3830 section 6.15, RFC 4563, RFC 4567)
choice("ext.type", "Type", registry.extension)
number("ext.length", "Length", ProtoField.uint16)
octets("ext.data", "Data")
text("ext.sdp_ids", "SDP IDs")
choice("key_id.type", "Key ID Type", registry.key_id_type)
number("key_id.length", "Key ID Length")
octets("key_id", "Key ID")

-- What the dissector concludes
octets("rest", "Octets that cannot be followed")
text("verdict", "Verdict")
text("wrong", "Wrong")
text("doubt", "Doubt")
text("proven", "Proven")
octets("srtp.key", "SRTP master key")
octets("srtp.salt", "SRTP master salt")

return { by_name = fields, list = order }
