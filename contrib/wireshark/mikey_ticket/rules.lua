-- Rules about a whole message that its encoding does not enforce.

local import = ...
if type(import) ~= "function" then return end

local registry, find, policy = import("registry"), import("find"), import("policy")

local KMS = { [11] = true, [12] = true, [13] = true, [16] = true, [17] = true, [18] = true }
local TRANSFER = { [14] = true, [15] = true }
local SIGNED = { [12] = true, [17] = true }
-- Data type -> payload number, role, name, section.
local NEEDED = {
  [11] = { { 15, 1, "RANDRi", "4.2.1.1" }, { 16, nil, "TP", "4.2.1" } },
  [12] = { { 15, 1, "RANDRi", "4.2.1.1" }, { 16, nil, "TP", "4.2.1" } },
  [13] = { { 17, nil, "TICKET", "4.2.1.5" }, { 1, nil, "KEMAC", "4.2.1.5" } },
  [16] = { { 15, 2, "RANDRr", "4.2.3.1" }, { 17, nil, "TICKET", "4.2.3.1" } },
  [17] = { { 15, 2, "RANDRr", "4.2.3.1" }, { 17, nil, "TICKET", "4.2.3.1" } },
  [18] = { { 1, nil, "KEMAC", "4.2.3.5" } },
  [6] = { { 12, nil, "ERR", "5.4" } },
}
local IDENTITIES = { [11] = { 1, 3 }, [12] = { 1, 3 }, [16] = { 2, 3 }, [17] = { 2, 3 }, [14] = { 1, 2 } }
local SUITES = { [0] = { mac = 1, encryption = { [1] = true, [2] = true } }, [1] = { mac = 2, encryption = { [3] = true } } }

local function rules(message, wrong, doubt)
  local R = {}

  function R.map()
    if KMS[message.data_type] then
      if message.map_type ~= 1 then wrong("CS ID map type", "must be the Empty map [RFC 6043 4.2.1.1]", 9) end
      if message.cs_count > 0 then wrong("#CS", "must be 0 [RFC 6043 4.2.1.1]", 8) end
    elseif TRANSFER[message.data_type] and message.map_type == 0 then
      wrong("CS ID map type", "SRTP-ID shall not be used here [RFC 6043 6.1]", 9)
    end
  end

  local function session(entry)
    local where = "crypto session " .. entry.cs_id
    local length, expected = #entry.session_data, entry.s and 10 or 4
    if entry.protocol == 0 then
      if length == 0 and entry.s then return wrong(where, "S is 1 without Session Data [RFC 6043 6.1.1]") end
      if length > 0 and length ~= expected then
        local detail = "SRTP Session Data has %d octets, must have %d [RFC 6043 6.1.1]"
        return wrong(where, detail:format(length, expected))
      end
      if message.data_type == 15 and length == 0 then wrong(where, "no Session Data in a response [RFC 6043 6.1.1]") end
    end
    if message.data_type == 15 and entry.spi == "" then wrong(where, "no SPI in a response [RFC 6043 6.1.1]") end
    if message.data_type == 15 and #entry.policies ~= 1 then
      wrong(where, #entry.policies .. " policies in a response, not 1 [RFC 6043 6.1.1]")
    end
  end

  function R.sessions()
    if message.map_type ~= 2 then return end
    local seen = {}
    for _, entry in ipairs(message.entries) do
      if seen[entry.cs_id] then wrong("CS ID map info", ("CS ID %d stands twice"):format(entry.cs_id)) end
      seen[entry.cs_id] = true
      session(entry)
    end
  end

  function R.presence()
    if not find.first(message.payloads, 5) then wrong("T", "is missing [RFC 6043 4.2]") end
    for _, needed in ipairs(NEEDED[message.data_type] or {}) do
      if not find.first(message.payloads, needed[1], needed[2]) then
        wrong(needed[3], ("is missing [RFC 6043 %s]"):format(needed[4]))
      end
    end
    if message.data_type == 14 then
      if not find.first(message.payloads, 17) then
        doubt("TICKET", "is missing: this can only be a CSB update [RFC 6043 5.2]")
      elseif not find.first(message.payloads, 15, 1) then
        wrong("RANDRi", "is missing [RFC 6043 4.2.2.1]")
      end
    end
  end

  function R.last()
    if message.data_type == 6 then return end
    local wanted = SIGNED[message.data_type] and 4 or 9
    local last = message.payloads[#message.payloads]
    if not last or last.type ~= wanted then
      wrong(registry.payload[wanted], "must be the last payload [RFC 6043 4.2]")
    end
  end

  function R.twice()
    local seen, single = {}, { [5] = 1, [16] = 1, [17] = 1, [1] = 1, [9] = 1, [4] = 1 }
    for _, p in ipairs(message.payloads) do
      local name
      if p.type == 14 or p.type == 15 then name = p.name .. " with role " .. p.role end
      if p.type == 10 then name = "SP number " .. p.number end
      if single[p.type] then name = p.name end
      if name then seen[name] = (seen[name] or 0) + 1 end
    end
    for name, count in pairs(seen) do
      if count > 1 then wrong(name, ("stands here %d times"):format(count)) end
    end
  end

  function R.suite()
    local suite = SUITES[message.prf]
    for _, p in ipairs(message.payloads) do
      if p.type == 6 then wrong("ID", "MIKEY-TICKET uses IDR instead [RFC 6043 6.6]", p.start) end
      if p.type == 11 then doubt("RAND", "MIKEY-TICKET uses RANDR instead [RFC 6043 6.8]", p.start) end
      if p.type == 15 and #p.data < 16 then
        doubt("RANDR", #p.data .. " octets; should have at least 16 [RFC 3830 6.11]", p.start)
      end
      if p.type == 9 and p.alg == 0 then
        wrong("V", "the NULL MAC protects nothing [RFC 3830 4.2.4]", p.start)
      elseif p.type == 9 and p.alg ~= suite.mac then
        wrong("V", registry.mac[p.alg] .. " is not of the PRF's suite [RFC 6043 12.1]", p.start)
      elseif p.type == 1 then
        if p.encr_alg == 0 then
          wrong("KEMAC", "keys without encryption [RFC 3830 4.2.3]", p.start)
        elseif not suite.encryption[p.encr_alg] then
          wrong("KEMAC", registry.encryption[p.encr_alg] .. " is not of the PRF's suite [RFC 6043 12.1]", p.start)
        end
        if p.mac_alg ~= 0 then wrong("KEMAC", "must use the NULL MAC: V has the MAC [RFC 6043 4.2.1.5]", p.start) end
      end
    end
  end

  function R.policies()
    for _, p in ipairs(message.payloads) do
      local what
      if p.type == 16 or p.type == 17 then what = policy.ticket(p) end
      if p.type == 10 and p.protocol == 0 then what = policy.srtp(p) end
      if what then wrong(p.name, what, p.start) end
    end
  end

  function R.forking()
    for _, p in ipairs(find.all(message.payloads, 17)) do
      if message.data_type == 13 then
        if p.initiator_data ~= "" then wrong("Initiator Data", "is not yet there in REQUEST_RESP [RFC 6043 6.10]", p.start) end
      elseif p.flags.I and p.initiator_data == "" then
        wrong("Initiator Data", "is missing although keys are forked [RFC 6043 6.10]", p.start)
      elseif p.initiator_data ~= "" and not p.flags.I then
        wrong("Initiator Data", "is there although keys are not forked [RFC 6043 6.10]", p.start)
      end
    end
  end

  function R.identities()
    for _, role in ipairs(IDENTITIES[message.data_type] or {}) do
      if not find.first(message.payloads, 14, role) then
        doubt("IDR", registry.id_role[role] .. ", is left out: the MAC then covers the name known locally [RFC 6043 5.5]")
      end
    end
  end

  return R
end

-- Return the findings about a message that can be read: `kind` is "wrong" or "doubt".
local function broken(message)
  local findings = {}
  local function say(kind)
    return function(field, detail, offset)
      findings[#findings + 1] = { kind = kind, field = field, detail = detail, offset = offset }
    end
  end
  if not (KMS[message.data_type] or TRANSFER[message.data_type] or message.data_type == 6) then
    for _, p in ipairs(find.all(message.payloads, 1)) do
      if p.encr_alg == 0 and p.encr_data ~= "" then
        say("doubt")("KEMAC", "keys without encryption: who reads this message can decrypt the media", p.start)
      end
    end
    return findings
  end
  local R = rules(message, say("wrong"), say("doubt"))
  for _, name in ipairs({ "map", "sessions", "presence", "last", "twice", "suite", "policies", "forking", "identities" }) do
    R[name]()
  end
  return findings
end

return { broken = broken, suites = SUITES }
