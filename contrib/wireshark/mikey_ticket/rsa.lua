-- Verifying RSA signatures (RFC 8017) with the key of an X.509 certificate. Numbers are lists of 16-bit digits,
-- the lowest first.

local import = ...
if type(import) ~= "function" then return end

local hash, aes, bits = import("hash"), import("aes"), import("bits")
local from_hex = import("kdf").from_hex
local B = 65536
local floor = math.floor
local SHA1 = { digest = hash.sha1, size = 20, info = from_hex("3021300906052b0e03021a05000414") }
local SHA256 = { digest = hash.sha256, size = 32, info = from_hex("3031300d060960864801650304020105000420") }
local ACCEPTED = { [0] = { SHA1, SHA256 }, [1] = { SHA256 } } -- by PRF func
local RSA = from_hex("2a864886f70d010101")
local FEWEST_BITS = 2048

local function digits(octets)
  local number = {}
  for at = #octets, 1, -2 do
    number[#number + 1] = octets:byte(at) + (at > 1 and 256 * octets:byte(at - 1) or 0)
  end
  return number
end

local function octets_of(number, length)
  local parts = {}
  for at = 1, #number do parts[at] = string.char(number[at] % 256, floor(number[at] / 256)) end
  local text = table.concat(parts):reverse()
  if #text > length then return text:sub(-length) end
  return ("\0"):rep(length - #text) .. text
end

local function less(a, b)
  for at = #b, 1, -1 do
    if a[at] ~= b[at] then return a[at] < b[at] end
  end
  return false
end

-- Subtract b from a in place; `top` is what stands above a.
local function subtract(a, b, top)
  local borrow = 0
  for at = 1, #b do
    local difference = a[at] - b[at] - borrow
    borrow = difference < 0 and 1 or 0
    a[at] = difference + borrow * B
  end
  return top - borrow
end

local function doubled(a, n)
  local carry = 0
  for at = 1, #a do
    local sum = 2 * a[at] + carry
    carry = sum >= B and 1 or 0
    a[at] = sum - carry * B
  end
  if carry > 0 or not less(a, n) then subtract(a, n, carry) end
end

-- Return a * b / 2^(16 k) modulo n (Montgomery, coarsely integrated operand scanning).
local function montgomery(a, b, n, inverse)
  local k, t = #n, {}
  for at = 1, k + 2 do t[at] = 0 end
  for i = 1, k do
    local carry, factor = 0, a[i]
    for j = 1, k do
      local sum = t[j] + factor * b[j] + carry
      carry = floor(sum / B)
      t[j] = sum - carry * B
    end
    local sum = t[k + 1] + carry
    t[k + 1], t[k + 2] = sum % B, floor(sum / B)
    local m = t[1] * inverse % B
    carry = floor((t[1] + m * n[1]) / B)
    for j = 2, k do
      sum = t[j] + m * n[j] + carry
      carry = floor(sum / B)
      t[j - 1] = sum - carry * B
    end
    sum = t[k + 1] + carry
    t[k], t[k + 1] = sum % B, t[k + 2] + floor(sum / B)
  end
  local top = t[k + 1]
  t[k + 1], t[k + 2] = nil, nil
  if top > 0 or not less(t, n) then subtract(t, n, top) end
  return t
end

-- Return base ^ exponent modulo n; n is odd, the exponent a list of bits from the highest.
local function power(base, exponent, n)
  local inverse = 1 -- of -n modulo 2^16, by Newton
  for _ = 1, 4 do inverse = inverse * ((2 + n[1] * inverse) % B) % B end
  local one = { 1 }
  for at = 2, #n do one[at] = 0 end
  local square = { table.unpack(one) }
  for _ = 1, 32 * #n do doubled(square, n) end
  local factor = montgomery(base, square, n, inverse)
  local result = factor
  for at = 2, #exponent do
    result = montgomery(result, result, n, inverse)
    if exponent[at] == 1 then result = montgomery(result, factor, n, inverse) end
  end
  return montgomery(result, one, n, inverse)
end

-- Return tag, contents and where the next element begins of the DER element at `at`; nil where there is none.
local function element(der, at)
  local tag, length = der:byte(at, at + 1)
  if not length then return nil end
  local start = at + 2
  if length >= 128 then
    local count = length - 128
    if count < 1 or count > 3 or start + count > #der then return nil end
    length = 0
    for place = start, start + count - 1 do length = length * 256 + der:byte(place) end
    start = start + count
  end
  if start + length - 1 > #der then return nil end
  return tag, der:sub(start, start + length - 1), start + length
end

-- Return the elements in `contents`, each {tag, contents}.
local function elements(contents)
  local found, at = {}, 1
  while at <= #(contents or "") do
    local tag, inner, following = element(contents, at)
    if not tag then break end
    found[#found + 1] = { tag, inner }
    at = following
  end
  return found
end

local function inner(list, place)
  return elements((list[place] or {})[2])
end

-- Return modulus and exponent, as octets, of an X.509 certificate with an RSA key; nil for another.
local function public_key(der)
  local fields = inner(inner(elements(der), 1), 1)
  if fields[1] and fields[1][1] == 0xa0 then table.remove(fields, 1) end -- version
  local info = inner(fields, 6)
  local algorithm = inner(info, 1)[1]
  if not algorithm or algorithm[2] ~= RSA or not info[2] then return nil end
  local key = inner(elements(info[2][2]:sub(2)), 1)
  if not key[1] or not key[2] then return nil end
  return key[1][2]:gsub("^%z+", ""), key[2][2]:gsub("^%z+", "")
end

local function mask(seed, length, algorithm)
  local parts, count = {}, 0
  while 20 * count < length + 32 do
    local counter = string.char(0, 0, floor(count / 256), count % 256)
    parts[#parts + 1] = algorithm.digest(seed .. counter)
    count = count + 1
  end
  return table.concat(parts):sub(1, length)
end

-- EMSA-PSS-VERIFY with a salt as long as the hash (RFC 8017 section 9.1.2).
local function pss(encoded, message, algorithm, modulus_bits)
  local size, unused = algorithm.size, (8 - (modulus_bits - 1) % 8) % 8
  if #encoded < 2 * size + 2 or encoded:byte(#encoded) ~= 0xbc then return false end
  local covered = encoded:sub(1, #encoded - size - 1)
  local digest = encoded:sub(#encoded - size, #encoded - 1)
  if covered:byte(1) >= 2 ^ (8 - unused) then return false end
  local block = aes.xored(covered, mask(digest, #covered, algorithm))
  block = string.char(block:byte(1) % 2 ^ (8 - unused)) .. block:sub(2)
  local zeros = #block - size - 1
  if block:sub(1, zeros + 1) ~= ("\0"):rep(zeros) .. "\1" then return false end
  local salt = block:sub(-size)
  return algorithm.digest(("\0"):rep(8) .. algorithm.digest(message) .. salt) == digest
end

local function pkcs1(encoded, message, algorithm)
  local tail = "\0" .. algorithm.info .. algorithm.digest(message)
  return encoded == "\0\1" .. ("\255"):rep(#encoded - #tail - 2) .. tail
end

local function bit_list(octets)
  local list = {}
  for at = 1, #octets do
    for place = 7, 0, -1 do
      local bit = bits.band(bits.rshift(octets:byte(at), place), 1)
      if bit == 1 or list[1] then list[#list + 1] = bit end
    end
  end
  return list
end

-- Tell whether `signature` of S type 0 (PKCS #1 v1.5) or 1 (PSS) is one over `message`, and else why not.
local function verifies(certificate, kind, signature, message, prf)
  local modulus, exponent = public_key(certificate)
  if not modulus then return false, "the certificate has no RSA key" end
  local top = bit_list(modulus:sub(1, 1))
  local modulus_bits = 8 * (#modulus - 1) + #top
  if modulus_bits < FEWEST_BITS then return false, ("the key has %d bits"):format(modulus_bits) end
  local n, s = digits(modulus), digits(signature)
  for at = #s + 1, #n do s[at] = 0 end
  if #signature ~= #modulus or #exponent > 8 or n[1] % 2 == 0 or not less(s, n) then
    return false, "signature does not verify"
  end
  local encoded = octets_of(power(s, bit_list(exponent), n), #modulus)
  for _, algorithm in ipairs(ACCEPTED[prf]) do
    if kind == 0 and pkcs1(encoded, message, algorithm) then return true end
    if kind == 1 and pss(encoded:sub(modulus_bits % 8 == 1 and 2 or 1), message, algorithm, modulus_bits) then
      return true
    end
  end
  return false, "signature does not verify"
end

return { verifies = verifies }
