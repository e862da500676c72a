-- Verifying and decrypting with the keys of a key file. A State learns keys from message to message.

local import = ...
if type(import) ~= "function" then return end

local find, kdf, rules = import("find"), import("kdf"), import("rules")
local payloads, scribe = import("payloads"), import("scribe")
local registry, rsa = import("registry"), import("rsa")
local times, transfer = import("times"), import("transfer")

local State = {}
State.__index = State

local function new(keys)
  return setmetatable({
    keys = keys, has_keys = #keys.psk + #keys.tpk + #keys.envelope > 0,
    inits = {}, tickets = {}, told = {}, transfers = {}, bundles = {}, updates = {},
  }, State)
end

-- Return the ID Data of a role: as sent, or as the key file names it.
function State:name(message, role)
  local idr = find.first(message.payloads, 14, role)
  return idr and idr.data or ({ self.keys.initiator, self.keys.responder, self.keys.kms })[role]
end

-- Raise what `pcall` in `look` turns into a finding.
function State.refute(field, detail)
  error({ refuted = true, field = field, detail = detail }, 0)
end

-- Tell whether the last payload is a V that verifies over the message and `following`.
function State.verifies(message, protected, following)
  local v = message.payloads[#message.payloads]
  if not v or v.type ~= 9 or v.alg ~= rules.suites[message.prf].mac then return false end
  return kdf.mac(v.alg, protected, message.raw:sub(1, #message.raw - #v.mac) .. following) == v.mac
end

-- Decrypt a KEMAC, report its plaintext and return the key records in it.
function State.open(kemac, protected, csb_id, timestamp, report, title)
  if kemac.encr_alg == 0 then return {} end
  local plain = kdf.decrypt(kemac.encr_alg, protected, csb_id, times.iv_octets(timestamp), kemac.encr_data)
  if not plain then State.refute("KEMAC", "the key wrap does not verify") end
  local ok, keys = pcall(payloads.chain, scribe.silent(plain), 20, 0)
  if not ok then State.refute("KEMAC", "the plaintext is not key data") end
  report.plaintext(plain, title)
  return keys
end

function State:open_of(message, protected, report, title)
  local kemac, t = find.first(message.payloads, 1), find.first(message.payloads, 5)
  return self.open(kemac, protected, message.csb_id, t, report, title)
end

-- Split keys into MPKs and session keys.
function State.split(keys)
  local mpks, sessions = {}, {}
  for _, key in ipairs(keys) do
    if key.key_type == 6 then mpks[#mpks + 1] = key.key else sessions[#sessions + 1] = key end
  end
  return mpks, sessions
end

local function try_ticket(self, ticket, tpk, report)
  local chain = ticket.ticket_payloads
  local t, rand, kemac = find.first(chain, 5), find.first(chain, 11), find.first(chain, 1)
  local v = chain and chain[#chain]
  local suite = rules.suites[ticket.prf]
  if not (t and rand and kemac and v and v.type == 9 and v.alg == suite.mac) then return nil end
  if not suite.encryption[kemac.encr_alg] or ticket.ticket_type ~= 1 then return nil end
  local protected = kdf.ticket(ticket.prf, tpk, rand.data)
  local length = #ticket.ticket_data
  local covered = ticket.policy_octets .. string.char(math.floor(length / 256), length % 256)
    .. ticket.ticket_data:sub(1, length - #v.mac)
  if kdf.mac(v.alg, protected, covered) ~= v.mac then return nil end
  local keys = self.open(kemac, protected, kdf.NO_CSB, t, report, "Keys in the ticket")
  if not keys[1] or keys[1].key_type ~= 6 then return nil end
  local mpk = table.remove(keys, 1).key
  if #mpk < 16 or #rand.data < math.max(#tpk, #mpk) then return nil end
  for _, key in ipairs(keys) do
    if key.key_type == 6 then return nil end
    if key.key_type <= 1 and ticket.flags.I and not ticket.flags.F then return nil end
  end
  local mpk_i, mpk_r = kdf.mpks(ticket.prf, mpk, rand.data)
  return { mpk_i = mpk_i, mpk_r = mpk_r, keys = keys }
end

function State:open_ticket(ticket, report)
  if self.told[ticket.ticket_data] then return end
  for _, tpk in ipairs(self.keys.tpk) do
    local ok, opened = pcall(try_ticket, self, ticket, tpk, report)
    if ok and opened then
      self.tickets[ticket.ticket_data] = opened
      self.told[ticket.ticket_data] = true
      report.proven("TICKET", "the ticket opens with a TPK of the key file")
      return
    end
  end
  if #self.keys.tpk > 0 then report.wrong("TICKET", "the ticket opens with none of the TPKs given") end
end

-- Verify the signature of a public-key message with the certificate that it carries.
function State:check_signature(message, following, report)
  local sign, certificate = find.first(message.payloads, 4), find.first(message.payloads, 7)
  if not sign then self.refute("SIGN", "is missing") end
  if not certificate or not registry.signature[sign.kind] then return end
  if certificate.kind ~= 0 and certificate.kind ~= 2 then
    self.refute("Cert Type", "a certificate of this type signs nothing")
  end
  local covered = message.raw:sub(1, #message.raw - #sign.data) .. following
  local ok, why = rsa.verifies(certificate.data, sign.kind, sign.data, covered, message.prf)
  if not ok then self.refute("SIGN signature", why) end
  report.proven("SIGN", "the signature is of the certificate sent; its chain is not checked here")
end

function State:kms_init(message, report)
  local request = message.data_type == 11 or message.data_type == 12
  local psk = message.data_type == 11 or message.data_type == 16
  local rands = find.all(message.payloads, 15, request and 1 or 2)
  if #rands ~= 1 then self.refute("RANDR", "is missing or given twice") end
  local rand = rands[1]
  local rand_i, rand_r = request and rand.data or "", request and "" or rand.data
  local following = self:name(message, request and 1 or 2) .. self:name(message, 3)
  if not psk then
    self:check_signature(message, following, report)
    local candidates = self.keys.envelope -- which of them is meant shows in the response
    if candidates[1] then
      local protected = kdf.message(message.prf, candidates[1], message.csb_id, 1, rand_i, rand_r)
      self.inits[message.csb_id] =
        { message = message, inkeys = candidates, protected = protected, rand_i = rand_i, rand_r = rand_r }
    end
    return
  end
  for _, key in ipairs(self.keys.psk) do
    local protected = kdf.message(message.prf, key, message.csb_id, 1, rand_i, rand_r)
    if self.verifies(message, protected, following) then
      self.inits[message.csb_id] =
        { message = message, inkeys = { key }, protected = protected, rand_i = rand_i, rand_r = rand_r }
      report.proven("V", "the MAC verifies with a PSK of the key file")
      return
    end
  end
  if #self.keys.psk > 0 then report.wrong("V", "the MAC verifies with none of the PSKs given") end
end

function State:kms_response(message, report)
  local init = self.inits[message.csb_id]
  if not init then
    if #self.keys.psk + #self.keys.envelope > 0 then
      report.unknown("the initial message, which the MAC covers, was not seen or not verified")
    end
    return
  end
  local protected
  for _, inkey in ipairs(init.inkeys) do
    local candidate = kdf.message(message.prf, inkey, message.csb_id, 2, init.rand_i, init.rand_r)
    if self.verifies(message, candidate, init.message.raw) then protected = candidate end
  end
  if not protected then
    self.refute("V", "authentication failure: the MAC does not verify")
  end
  report.proven("V", "the MAC verifies with the key of the initial message")
  local mpks, sessions = self.split(self:open_of(message, protected, report, "Keys from the KMS"))
  if not mpks[1] then return end
  local request = message.data_type == 13
  local ticket = find.first((request and message or init.message).payloads, 17)
  if not ticket then return end
  local opened = self.tickets[ticket.ticket_data] or { mpk_i = mpks[1], keys = {} }
  self.tickets[ticket.ticket_data] = opened
  if request then
    opened.mpk_r, opened.keys = mpks[2], sessions
  elseif ticket.flags.I then
    opened.forked_mpk_r, opened.forked_keys = mpks[2], sessions
  else
    opened.keys = sessions
  end
end

function State:error_message(message, report)
  if not find.first(message.payloads, 9) then return end
  local init = self.inits[message.csb_id] or transfer.init(self, message.csb_id)
  if not init then
    report.unknown("the message it is about was not seen or not verified")
    return
  end
  if not self.verifies(message, init.protected, "") then
    self.refute("V", "authentication failure: the MAC does not verify")
  end
  report.proven("V", "the MAC verifies with the keys of the message it is about")
end

local LOOK = {
  [11] = State.kms_init, [12] = State.kms_init, [16] = State.kms_init, [17] = State.kms_init,
  [13] = State.kms_response, [18] = State.kms_response, [6] = State.error_message,
  [14] = transfer.look, [15] = transfer.look,
}

-- Return a report that writes down what it is told.
local function recorder()
  local events, report = {}, {}
  for _, name in ipairs({ "wrong", "proven", "unknown", "plaintext", "session" }) do
    report[name] = function(...) events[#events + 1] = { name, ... } end
  end
  return report, events
end

-- Verify and decrypt what can be of a message that was read; return what to tell, in order.
function State:look(message)
  local report, events = recorder()
  if not self.has_keys then return events end
  local ok, result = pcall(function()
    local ticket = find.first(message.payloads, 17)
    if ticket then self:open_ticket(ticket, report) end
    local look = LOOK[message.data_type]
    if look then look(self, message, report) end
  end)
  if not ok then
    if not (type(result) == "table" and result.refuted) then error(result, 0) end
    report.wrong(result.field, result.detail)
  end
  return events
end

local History = {}
History.__index = History

-- A History looks at each message when it is first seen, and at all of them once more when one is shown
-- again: by then the KMS may have given keys of tickets that were sent before.
local function history(keys)
  return setmetatable({ keys = keys, state = new(keys), list = {}, told = {}, complete = 0 }, History)
end

function History:look(mark, message)
  if not self.told[mark] then
    self.list[#self.list + 1] = { mark, message }
    self.told[mark] = self.state:look(message)
  elseif self.complete < #self.list then
    local again = new(self.keys)
    again.tickets = self.state.tickets
    for _, item in ipairs(self.list) do self.told[item[1]] = again:look(item[2]) end
    self.complete = #self.list
  end
  return self.told[mark]
end

return { history = history }
