-- Where MIKEY travels: SDP, HTTP, RTSP headers, datagrams and connections of its own, and two bodies that this
-- project made: messages about the session of a group (docs/groups.md), and deposits (docs/deferred.md).

local import = ...
if type(import) ~= "function" then return end

local PORT = 2269 -- "MIKEY" at IANA
local M = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- Return the octets of base64 text, nil where it is not that.
local function from_base64(text)
  text = text:gsub("%s", "")
  if not text:match("^[%w+/]+=?=?$") or #text % 4 ~= 0 then return nil end
  local parts = {}
  for group in text:gmatch("....") do
    local bits, pad = 0, select(2, group:gsub("=", ""))
    for at = 1, 4 do
      local place = ALPHABET:find(group:sub(at, at), 1, true)
      bits = bits * 64 + (place and place - 1 or 0)
    end
    local octets = string.char(math.floor(bits / 65536), math.floor(bits / 256) % 256, bits % 256)
    parts[#parts + 1] = octets:sub(1, 3 - pad)
  end
  return table.concat(parts)
end

function M.as_tvb(octets, title)
  local hex = octets:gsub(".", function(octet) return ("%02x"):format(octet:byte()) end)
  return ByteArray.new(hex):tvb(title)
end

-- Return a Tvb of what a body spells in base64, nil where the body is the message itself.
function M.octets(tvb)
  local raw = tvb:range():raw()
  if raw:byte(1) == 1 then return nil end
  local octets = from_base64(raw)
  return octets and M.as_tvb(octets, "MIKEY from base64")
end

-- Wireshark leaves two carriers as text, which are read after it: KeyMgmt headers of RTSP (RFC 4567 section 3.2)
-- and the attribute at the media level of SDP (it hands on only what stands at the session level).
local function read_after(mikey)
  local rtsp, attributes = Field.new("rtsp"), Field.new("sdp.media_attr")
  local reader = Proto("mikey_ticket_text", "MIKEY-TICKET in text")

  local function hand_on(text, title, pinfo, root)
    local octets = from_base64(text)
    if octets then mikey.dissector(M.as_tvb(octets, title), pinfo, root) end
  end

  function reader.dissector(_, pinfo, root)
    for _, info in ipairs({ attributes() }) do
      local text = tostring(info.value):match("^[Kk][Ee][Yy]%-[Mm][Gg][Mm][Tt]:mikey%s+(%S+)")
      if text then hand_on(text, "MIKEY from the media level", pinfo, root) end
    end
    for _, info in ipairs({ rtsp() }) do
      local head = (info.range:raw() .. "\r\n\r\n"):match("^(.-\r?\n)\r?\n")
      local unfolded = (head or ""):gsub("\r?\n[ \t]+", " ")
      for header in unfolded:gmatch("\n[Kk][Ee][Yy][Mm][Gg][Mm][Tt]%s*:([^\r\n]*)") do
        for text in header:gmatch('data%s*=%s*"([^"]*)"') do hand_on(text, "MIKEY from KeyMgmt", pinfo, root) end
      end
    end
  end

  register_postdissector(reader)
end

-- A message about a group is JSON; `key` and `taken` carry MIKEY in base64.
local function read_groups(mikey)
  local reader = Proto("mikey_ticket_group", "MIKEY-TICKET of a group")
  function reader.dissector(tvb, pinfo, root)
    local text = tvb:range():raw()
    local verb = text:match('"verb"%s*:%s*"(%a+)"')
    local octets = (verb == "key" or verb == "taken") and text:match('"octets"%s*:%s*"([^"]*)"')
    octets = octets and from_base64(octets)
    root:add(reader, tvb:range()):append_text(verb and (", %s"):format(verb) or "")
    if octets then mikey.dissector(M.as_tvb(octets, "MIKEY of a group"), pinfo, root) end
    return tvb:len()
  end
  return reader
end

-- A deposit begins with MTDD, its version, and TRANSFER_INIT after its length in three octets.
local function read_deposits(mikey)
  local reader = Proto("mikey_ticket_deposit", "MIKEY-TICKET deposit")
  function reader.dissector(tvb, pinfo, root)
    root:add(reader, tvb:range())
    if tvb:len() < 8 or tvb:range(0, 5):raw() ~= "MTDD\1" then return 0 end
    local length = tvb:range(5, 3):uint()
    if length > 0 and tvb:len() >= 8 + length then mikey.dissector(tvb:range(8, length):tvb(), pinfo, root) end
    return tvb:len()
  end
  return reader
end

-- Take the place of Wireshark's own dissector everywhere.
function M.attach(mikey)
  DissectorTable.get("key_mgmt"):set("mikey", mikey)
  DissectorTable.get("media_type"):set("application/mikey", mikey)
  DissectorTable.get("media_type"):set("application/vnd.sipmikey.group+json", read_groups(mikey))
  DissectorTable.get("media_type"):set("application/vnd.sipmikey.deposit", read_deposits(mikey))
  DissectorTable.get("udp.port"):set(PORT, mikey)
  DissectorTable.get("tcp.port"):set(PORT, mikey)
  read_after(mikey)
end

return M
