-- Key derivation: RFC 3830 section 4.1, RFC 6043 sections 5.1 and 6.10, Appendix A.2.

local import = ...
if type(import) ~= "function" then return end

local hash, aes = import("hash"), import("aes")

local function from_hex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local ENCRYPTION, AUTHENTICATION, SALT = from_hex("150533E1"), from_hex("2D22AC75"), from_hex("29B88916")
local TEK, SESSION_SALT = from_hex("2AD01C64"), from_hex("39A2C14B")
local FORKED_MPK, FORKED_TGK = from_hex("2B288856"), from_hex("1512B54A")
local TICKET_MPKI, TICKET_MPKR = from_hex("220E99A2"), from_hex("1F4D675B")
local NO_CS, NO_CSB = "\255", "\255\255\255\255"

local function with_length(octets)
  return string.char(#octets) .. octets
end

-- PRF func 0 is MIKEY-1 with SHA-1 (RFC 3830 section 4.1.2), 1 uses SHA-256 (RFC 6043 section 6.1).
local function prf(func, inkey, label, length)
  local digest = func == 0 and hash.sha1 or hash.sha256
  local size = func == 0 and 20 or 32
  local outkey
  for at = 1, #inkey, 32 do
    local part, a, blocks = inkey:sub(at, at + 31), label, {}
    for _ = 1, math.ceil(length / size) do
      a = hash.hmac(digest, part, a)
      blocks[#blocks + 1] = hash.hmac(digest, part, a .. label)
    end
    local block = table.concat(blocks)
    outkey = outkey and aes.xored(outkey, block) or block
  end
  return outkey:sub(1, length)
end

-- What protects one message or ticket: `key(constant, length)` derives from its inkey and label.
local function protection(func, inkey, tail)
  return {
    func = func,
    inkey = inkey,
    key = function(constant, length) return prf(func, inkey, constant .. tail, length) end,
  }
end

local M = {}

function M.message(func, inkey, csb_id, number, rand_i, rand_r)
  local tail = NO_CS .. csb_id .. string.char(number) .. with_length(rand_i) .. with_length(rand_r)
  return protection(func, inkey, tail)
end

function M.initiator_data(func, mpk_r)
  return protection(func, mpk_r, NO_CS .. NO_CSB .. "\4")
end

function M.ticket(func, tpk, rand)
  return protection(func, tpk, NO_CS .. NO_CSB .. "\5" .. with_length(rand))
end

-- Return MPKi and MPKr of a ticket (Appendix A.2.2).
function M.mpks(func, mpk, rand)
  local tail = NO_CS .. NO_CSB .. "\6" .. with_length(rand)
  return prf(func, mpk, TICKET_MPKI .. tail, #mpk), prf(func, mpk, TICKET_MPKR .. tail, #mpk)
end

-- Return MPKr' or TGK' of the branch that answered as `id_data` (section 5.1.1).
function M.forked(func, key, is_mpk, id_data, rand_kms)
  local length = string.char(math.floor(#id_data / 256), #id_data % 256)
  local constant = is_mpk and FORKED_MPK or FORKED_TGK
  local label = constant .. NO_CS .. NO_CSB .. "\0" .. length .. id_data .. with_length(rand_kms)
  return prf(func, key, label, #key)
end

-- Return the SRTP master key or salt of a crypto session (section 5.1.3).
function M.session(func, tgk, is_salt, cs_id, length, rand_i, rand_r)
  local constant = is_salt and SESSION_SALT or TEK
  local tail = string.char(cs_id) .. NO_CSB .. "\3" .. with_length(rand_i) .. with_length(rand_r)
  return prf(func, tgk, constant .. tail, length)
end

local MAC_LENGTH = { [1] = 20, [2] = 32 }

-- Return the MAC of `data`; algorithm 1 is HMAC-SHA-1-160, 2 is HMAC-SHA-256-256.
function M.mac(alg, protected, data)
  local key = protected.key(AUTHENTICATION, MAC_LENGTH[alg])
  return hash.hmac(alg == 1 and hash.sha1 or hash.sha256, key, data)
end

-- Decrypt Encr data: 1 is AES-CM-128, 2 is AES-KW-128, 3 is AES-CM-256. Return nil where it does not open.
function M.decrypt(alg, protected, csb_id, timestamp, data)
  local key = protected.key(ENCRYPTION, alg == 3 and 32 or 16)
  if alg == 2 then return aes.unwrap(key, protected.key(SALT, 8), data) end
  local block = aes.xored(protected.key(SALT, 14), "\0\0" .. csb_id .. timestamp) .. "\0\0"
  return aes.counter_mode(key, block, data)
end

M.NO_CSB = NO_CSB
M.from_hex = from_hex
return M
