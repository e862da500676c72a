-- Ticket Transfer and CSB updates, and the SRTP keys that follow from them (RFC 6043 sections 4.2.2, 5.1, 5.2).

local import = ...
if type(import) ~= "function" then return end

local find, kdf, rules = import("find"), import("kdf"), import("rules")
local policy, times = import("policy"), import("times")
local value_of = import("scribe").value_of
local M = {}

function M.init(state, csb_id)
  return state.transfers[csb_id]
end

-- Return what the MAC of TRANSFER_INIT covers of the message (section 5.5).
local function without_initiator_data(message)
  local ticket = find.first(message.payloads, 17)
  local v = find.first(message.payloads, 9)
  local raw = message.raw:sub(1, #message.raw - #v.mac)
  if not ticket then return raw end
  return raw:sub(1, ticket.stop - #ticket.initiator_data - 2) .. raw:sub(ticket.stop + 1)
end

local function owner(state, message, ticket)
  local idr = find.first(message.payloads, 14, 1) or find.first(ticket.payloads, 14, 1)
  return idr and idr.data or state.keys.initiator
end

local function check_initiator_data(state, ticket, mpk_r)
  local chain, v = ticket.initiator_payloads or {}, find.all(ticket.initiator_payloads, 9)
  local mac = rules.suites[ticket.prf].mac
  if #v ~= 2 or chain[#chain] ~= v[2] or v[1].alg ~= mac or v[2].alg ~= mac then
    state.refute("Initiator Data", "must hold Vi and, last, Vr")
  end
  local covered = ticket.initiator_data:sub(1, #ticket.initiator_data - #v[2].mac)
  if kdf.mac(mac, kdf.initiator_data(ticket.prf, mpk_r), covered) ~= v[2].mac then
    state.refute("Initiator Data Vr", "authentication failure: the MAC does not verify")
  end
end

local function srtp_keys(bundle, state, report)
  local derived = {}
  for _, entry in ipairs(bundle.message.entries) do
    local where = "CS ID " .. entry.cs_id
    if entry.protocol ~= 0 then state.refute(where, "Prot type is not SRTP") end
    if #entry.policies ~= 1 then state.refute(where, "#P must be 1") end
    local sp = bundle.policies[entry.policies[1]]
    if not sp then state.refute(where, "its policy is not given in an SP payload") end
    local wrong, given = policy.srtp(sp)
    if wrong then state.refute("SP", wrong) end
    if entry.session_data == "" then state.refute(where, "Session Data is missing") end
    local key
    for _, each in ipairs(bundle.keys) do
      if not key and each.spi == entry.spi and entry.spi ~= "" and each.key_type ~= 6 then key = each end
    end
    if not key then state.refute(where, "its SPI names no session key of the bundle") end
    local master, salt
    if key.key_type == 2 or key.key_type == 3 then
      if #key.key ~= given(1) then state.refute(where, "the TEK is not as long as the policy wants") end
      master, salt = key.key, key.salt or ""
    else
      local function derive(is_salt, length)
        return kdf.session(bundle.prf, key.key, is_salt, entry.cs_id, length, bundle.rand_i, bundle.rand_r)
      end
      master, salt = derive(false, given(1)), key.salt or derive(true, given(4))
    end
    derived[#derived + 1] = { entry.cs_id, master, salt }
  end
  for _, session in ipairs(derived) do report.session(table.unpack(session)) end
end

local function numbered(policies, message)
  local found = {}
  for number, sp in pairs(policies) do found[number] = sp end
  for _, sp in ipairs(find.all(message.payloads, 10)) do found[sp.number] = sp end
  return found
end

local function static(list, messages)
  for _, message in ipairs(messages) do
    for _, p in ipairs(message.payloads) do
      if p.type == 15 or p.type == 17 then list[message.raw:sub(p.start + 2, p.stop) .. p.type] = true end
    end
  end
  return list
end

-- Remember the bundle that the first and the last message of the initial exchange make.
local function established(state, init, last, protected, rand_r, keys, report)
  local ticket, message = find.first(init.message.payloads, 17), last
  local answered = find.first(last.payloads, 14, 2)
  local all = {}
  for _, list in ipairs({ keys, init.carried, last ~= init.message and last.carried or {} }) do
    for _, key in ipairs(list) do all[#all + 1] = key end
  end
  local policies = numbered(numbered({}, init.message), last)
  local bundle = {
    message = message, prf = init.message.prf, flags = ticket.flags, protected = protected, keys = all,
    policies = policies, identity_i = owner(state, init.message, ticket),
    identity_r = answered and answered.data or state:name(init.message, 2),
    rand_i = ticket.flags.H and init.rand_i or "", rand_r = ticket.flags.G and rand_r or "",
    static = static({}, { init.message, last }),
    times = { find.first(init.message.payloads, 5), find.first(last.payloads, 5) },
  }
  srtp_keys(bundle, state, report)
  state.bundles[init.message.csb_id] = bundle
end

local function transfer_init(state, message, opened, report)
  local ticket = find.first(message.payloads, 17)
  local rand, v = find.first(message.payloads, 15, 1), find.first(message.payloads, 9)
  if not rand or not v then state.refute("message", "RANDRi or V is missing") end
  local protected = kdf.message(message.prf, opened.mpk_i, message.csb_id, 1, rand.data, "")
  local covered = without_initiator_data(message) .. owner(state, message, ticket) .. state:name(message, 2)
  if v.alg == 0 or kdf.mac(v.alg, protected, covered) ~= v.mac then
    state.refute("V", "authentication failure: the MAC does not verify")
  end
  report.proven("V", "the MAC verifies with the ticket's MPKi")
  if opened.mpk_r and ticket.flags.I then
    check_initiator_data(state, ticket, opened.mpk_r)
    report.proven("Initiator Data", "Initiator Data verifies: the owner of the ticket sent it")
  end
  local carried = {}
  if find.first(message.payloads, 1) then
    carried = state:open_of(message, protected, report, "Keys of the Initiator")
  end
  local init = { message = message, protected = protected, rand_i = rand.data, carried = carried }
  state.transfers[message.csb_id] = init
  if not ticket.flags.F then established(state, init, message, protected, "", opened.keys, report) end
end

-- Return the MPK and session keys of the branch that answered (section 5.1.1).
local function branch(state, message, ticket, opened)
  if not ticket.flags.I then return opened.mpk_i, opened.keys end
  if not opened.mpk_r then
    if not opened.forked_mpk_r then state.refute("message", "the forked keys of this branch are not known") end
    return opened.forked_mpk_r, opened.forked_keys
  end
  local idr, rand = find.first(message.payloads, 14, 2), find.first(message.payloads, 15, 3)
  if not idr or not rand then state.refute("IDRr or RANDRkms", "is missing") end
  local keys = {}
  for _, key in ipairs(opened.keys) do
    local forked = key
    if key.key_type <= 1 then
      forked = { key_type = key.key_type, salt = key.salt, spi = key.spi }
      forked.key = kdf.forked(ticket.prf, key.key, false, idr.data, rand.data)
    end
    keys[#keys + 1] = forked
  end
  return kdf.forked(ticket.prf, opened.mpk_r, true, idr.data, rand.data), keys
end

local function transfer_resp(state, message, report)
  local init = M.init(state, message.csb_id)
  if not init then
    report.unknown("the TRANSFER_INIT, which the MAC covers, was not seen or not verified")
    return
  end
  local ticket = find.first(init.message.payloads, 17)
  local mpk, keys = branch(state, message, ticket, state.tickets[ticket.ticket_data])
  local rand = find.first(message.payloads, 15, 2)
  if ticket.flags.G and not rand then state.refute("RANDRr", "is missing") end
  local rand_r = ticket.flags.G and rand.data or ""
  local protected = kdf.message(message.prf, mpk, message.csb_id, 2, init.rand_i, rand_r)
  if not state.verifies(message, protected, init.message.raw) then
    state.refute("V", "authentication failure: the MAC does not verify")
  end
  report.proven("V", "the MAC verifies with the branch's MPK")
  message.carried = {}
  if find.first(message.payloads, 1) then
    message.carried = state:open_of(message, protected, report, "Keys of the Responder")
  end
  established(state, init, message, protected, rand_r, keys, report)
end

local function later(one, other)
  if not other then return true end
  if one.ts_type ~= 2 and other.ts_type ~= 2 then return times.unix(one) > times.unix(other) end
  return one.ts_type == other.ts_type and value_of(one.ts_octets) > value_of(other.ts_octets)
end

-- Open the keys of an update that the Ticket Policy lets its sender carry.
local function update_keys(state, bundle, message, by_initiator, report)
  local kemac = find.first(message.payloads, 1)
  if not kemac then return {} end
  if not bundle.flags[by_initiator and "L" or "M"] then
    state.refute("KEMAC", "the Ticket Policy allows no keys here")
  end
  local keys = state:open_of(message, bundle.protected, report, "New keys")
  local seen = {}
  for _, key in ipairs(bundle.keys) do seen[key.spi or ""] = true end
  for _, key in ipairs(keys) do
    if key.key_type == 6 then state.refute("KEMAC", "an MPK is not sent in Ticket Transfer") end
    if #key.key < 16 then state.refute("KEMAC", "a key has 128 bits or more") end
    if not key.spi or seen[key.spi] then state.refute("KEMAC", "a key has no SPI of its own") end
    seen[key.spi] = true
  end
  return keys
end

local function check_update(state, bundle, message, following)
  if message.prf ~= bundle.prf then state.refute("PRF func", "is not this bundle's") end
  if not state.verifies(message, bundle.protected, following) then
    state.refute("V", "authentication failure: the MAC does not verify")
  end
  for octets in pairs(static({}, { message })) do
    if not bundle.static[octets] then state.refute("RANDR or TICKET", "a CSB update has no new RAND or TICKET") end
  end
  for _, entry in ipairs(message.entries) do
    for _, number in ipairs(entry.policies) do
      if not numbered(bundle.policies, message)[number] then
        state.refute("CS ID " .. entry.cs_id, "its policy is not given in an SP payload")
      end
    end
  end
end

local function merged(state, bundle, messages, keys, stamps, report)
  local updated = {}
  for name, value in pairs(bundle) do updated[name] = value end
  updated.message, updated.keys, updated.times = messages[#messages], {}, stamps
  for _, list in ipairs({ bundle.keys, keys }) do
    for _, key in ipairs(list) do updated.keys[#updated.keys + 1] = key end
  end
  for _, message in ipairs(messages) do updated.policies = numbered(updated.policies, message) end
  srtp_keys(updated, state, report)
  return updated
end

local function update_init(state, message, report)
  local bundle = state.bundles[message.csb_id]
  local idr_i, idr_r = find.first(message.payloads, 14, 1), find.first(message.payloads, 14, 2)
  local identity_i = idr_i and idr_i.data or bundle.identity_i
  local identity_r = idr_r and idr_r.data or bundle.identity_r
  check_update(state, bundle, message, identity_i .. identity_r)
  if identity_i ~= bundle.identity_i or identity_r ~= bundle.identity_r then
    state.refute("IDR", "names other parties than the bundle's")
  end
  local first, t = find.first(message.payloads, 14), find.first(message.payloads, 5)
  local by_initiator = not (first and first.role == 2)
  if not later(t, bundle.times[by_initiator and 1 or 2]) then by_initiator = not by_initiator end
  if not later(t, bundle.times[by_initiator and 1 or 2]) then
    state.refute("T", "is not later than the last of this bundle")
  end
  report.proven("V", "a CSB update: the MAC verifies with the keys of the set-up")
  local keys = update_keys(state, bundle, message, by_initiator, report)
  local stamps = by_initiator and { t, bundle.times[2] } or { bundle.times[1], t }
  if message.v then
    state.updates[message.csb_id] =
      { bundle = bundle, message = message, keys = keys, by_initiator = by_initiator, t = t }
  else
    state.bundles[message.csb_id] = merged(state, bundle, { message }, keys, stamps, report)
  end
end

local function update_resp(state, message, report)
  local update = state.updates[message.csb_id]
  local bundle, t = update.bundle, find.first(message.payloads, 5)
  check_update(state, bundle, message, update.message.raw)
  local carries = find.first(message.payloads, 1) and find.first(update.message.payloads, 1)
  if carries and times.iv_octets(t) == times.iv_octets(update.t) then
    state.refute("T", "repeats that of the initial message, and both carry keys")
  end
  local keys = {}
  for _, key in ipairs(update.keys) do keys[#keys + 1] = key end
  for _, key in ipairs(update_keys(state, bundle, message, not update.by_initiator, report)) do
    keys[#keys + 1] = key
  end
  report.proven("V", "a CSB update: the MAC verifies with the keys of the set-up")
  state.updates[message.csb_id] = nil
  local stamps = update.by_initiator and { update.t, t } or { t, update.t }
  state.bundles[message.csb_id] = merged(state, bundle, { update.message, message }, keys, stamps, report)
end

-- Verify a TRANSFER_INIT or TRANSFER_RESP, of an initial exchange or an update.
function M.look(state, message, report)
  local ticket = find.first(message.payloads, 17)
  if message.data_type == 15 then
    if state.updates[message.csb_id] then return update_resp(state, message, report) end
    return transfer_resp(state, message, report)
  end
  if state.bundles[message.csb_id] then return update_init(state, message, report) end
  if not ticket then
    report.unknown("an update of a bundle whose set-up was not seen or not verified")
  elseif state.tickets[ticket.ticket_data] then
    transfer_init(state, message, state.tickets[ticket.ticket_data], report)
  elseif #state.keys.tpk == 0 then
    report.unknown("the MAC is of a key in the ticket, which none of the keys given opens")
  end
end

return M
