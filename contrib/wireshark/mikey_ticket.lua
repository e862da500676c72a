-- MIKEY-TICKET for Wireshark and tshark: RFC 3830, RFC 4563, RFC 4567 and RFC 6043.
--
-- Wireshark's own dissector of MIKEY does not know RFC 6043. This one takes its place in SDP
-- (a=key-mgmt:mikey), RTSP (KeyMgmt headers), HTTP (application/mikey) and on port 2269. It names every
-- octet, tells what is wrong, and verifies and decrypts with the keys of a key file (preference `Key file`).

local folder = (__DIR__ or ".") .. "/mikey_ticket/"
local loaded = {}

local function import(name)
  if loaded[name] == nil then loaded[name] = assert(loadfile(folder .. name .. ".lua"))(import) end
  return loaded[name]
end

local fields, registry, message_reader = import("fields"), import("registry"), import("message")
local scribe, payloads, rules = import("scribe"), import("payloads"), import("rules")
local keyfile, unlock, carriers = import("keyfile"), import("unlock"), import("carriers")

local mikey = Proto("mikey_ticket", "MIKEY-TICKET")
mikey.fields = fields.list
mikey.prefs.key_file = Pref.string("Key file", "", "Lines of `psk HEX`, `tpk HEX` or `envelope HEX`")

local is_wrong = ProtoExpert.new("mikey_ticket.expert.wrong", "Wrong", expert.group.PROTOCOL, expert.severity.ERROR)
local is_doubtful = ProtoExpert.new("mikey_ticket.expert.doubt", "Doubtful", expert.group.PROTOCOL, expert.severity.WARN)
mikey.experts = { is_wrong, is_doubtful }

local history, key_faults

local function begin()
  local keys
  keys, key_faults = keyfile.read(mikey.prefs.key_file)
  history = unlock.history(keys)
end

mikey.init = begin
begin()

-- Show findings in the tree, where their octets are known.
local function tell(tree, finding)
  local field = fields.by_name[finding.kind]
  local text = ("%s: %s"):format(finding.field, finding.detail)
  if finding.offset then text = ("%s (octet %d)"):format(text, finding.offset) end
  local item = tree:add(field, text)
  item:set_generated()
  if finding.kind == "wrong" then item:add_proto_expert_info(is_wrong, text) end
  if finding.kind == "doubt" then item:add_proto_expert_info(is_doubtful, text) end
end

-- What unlocking finds goes into the tree and, for the verdict, into `findings`.
local function reporter(tree, findings)
  local report = {}
  local function say(kind)
    return function(field, detail)
      findings[#findings + 1] = { kind = kind, field = field, detail = detail }
    end
  end
  report.wrong, report.proven = say("wrong"), say("proven")
  function report.unknown(detail) say("doubt")("V", "not verified: " .. detail) end
  function report.plaintext(octets, title)
    if octets == "" then return end
    local range = carriers.as_tvb(octets, title):range()
    payloads.chain(scribe.new(range, tree:add(range, title .. ", decrypted"), {}), 20, 0)
  end
  function report.session(cs_id, key, salt)
    local node = tree:add(("SRTP keys of crypto session %d"):format(cs_id))
    node:set_generated()
    for name, octets in pairs({ ["srtp.key"] = key, ["srtp.salt"] = salt ~= "" and salt or nil }) do
      node:add(fields.by_name[name], carriers.as_tvb(octets, name):range()):set_generated()
    end
  end
  return report
end

function mikey.dissector(tvb, pinfo, root)
  local range = tvb:range()
  local raw = carriers.octets(tvb)
  if raw then range = raw:range() end
  local tree = root:add(mikey, range)
  local findings = {}
  local s = scribe.new(range, tree, findings)
  local message, data_type = message_reader.read(s)
  if message then
    for _, finding in ipairs(rules.broken(message)) do findings[#findings + 1] = finding end
    local report = reporter(tree, findings)
    for _, event in ipairs(history:look(pinfo.number .. ":" .. message.raw, message)) do
      report[event[1]](table.unpack(event, 2))
    end
  end
  for _, fault in ipairs(key_faults) do
    findings[#findings + 1] = { kind = "doubt", field = "key file", detail = fault }
  end
  local bad = 0
  for _, finding in ipairs(findings) do
    if finding.kind == "wrong" then bad = bad + 1 end
    tell(tree, finding)
  end
  local name = registry.data_type[data_type] or data_type and ("data type %d"):format(data_type)
    or "not a MIKEY message"
  local verdict = bad == 0 and "well formed" or "wrong"
  tree:add(fields.by_name["verdict"], verdict):set_generated()
  tree:append_text((", %s, %d octets, %s"):format(name, range:len(), verdict))
  if not tostring(pinfo.cols.info):find(name, 1, true) then pinfo.cols.info:append(" [" .. name .. "]") end
  return tvb:len()
end

carriers.attach(mikey)
