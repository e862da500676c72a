-- SHA-1, SHA-256 (FIPS 180-4) and HMAC (RFC 2104) over Lua strings.

local import = ...
if type(import) ~= "function" then return end

local bits = import("bits")
local band, bor, bxor, lshift, rshift = bits.band, bits.bor, bits.bxor, bits.lshift, bits.rshift
local WORD = 4294967296

local function rotate_left(word, count)
  return bor(lshift(word, count), rshift(word, 32 - count))
end

local function rotate_right(word, count)
  return bor(rshift(word, count), lshift(word, 32 - count))
end

local function octets(word)
  return string.char(
    rshift(word, 24), band(rshift(word, 16), 255), band(rshift(word, 8), 255), band(word, 255)
  )
end

local function padded(data)
  local length = 8 * #data
  local zeros = string.rep("\0", (55 - #data) % 64)
  return data .. "\128" .. zeros .. octets(math.floor(length / WORD)) .. octets(length % WORD)
end

local function word_at(data, at)
  local a, b, c, d = data:byte(at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function sha1_block(data, at, h)
  local w = {}
  for t = 0, 15 do w[t] = word_at(data, at + 4 * t) end
  for t = 16, 79 do w[t] = rotate_left(bxor(bxor(w[t - 3], w[t - 8]), bxor(w[t - 14], w[t - 16])), 1) end
  local a, b, c, d, e = h[1], h[2], h[3], h[4], h[5]
  for t = 0, 79 do
    local f, k
    if t < 20 then
      f, k = bxor(d, band(b, bxor(c, d))), 0x5A827999
    elseif t < 40 then
      f, k = bxor(b, bxor(c, d)), 0x6ED9EBA1
    elseif t < 60 then
      f, k = bor(band(b, c), band(d, bor(b, c))), 0x8F1BBCDC
    else
      f, k = bxor(b, bxor(c, d)), 0xCA62C1D6
    end
    local sum = (rotate_left(a, 5) + f + e + k + w[t]) % WORD
    a, b, c, d, e = sum, a, rotate_left(b, 30), c, d
  end
  for number, value in ipairs({ a, b, c, d, e }) do h[number] = (h[number] + value) % WORD end
end

local function finished(h)
  local parts = {}
  for number, word in ipairs(h) do parts[number] = octets(word) end
  return table.concat(parts)
end

local function sha1(data)
  local h = { 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0 }
  data = padded(data)
  for at = 1, #data, 64 do sha1_block(data, at, h) end
  return finished(h)
end

-- The constants are the first 32 bits of the fractional parts of square and cube roots of primes.
local function primes(count)
  local found, candidate = {}, 2
  while #found < count do
    local prime = true
    for _, each in ipairs(found) do
      if candidate % each == 0 then prime = false end
    end
    if prime then found[#found + 1] = candidate end
    candidate = candidate + 1
  end
  return found
end

local START, ROUND = {}, {}
for number, prime in ipairs(primes(64)) do
  if number <= 8 then START[number] = math.floor(prime ^ (1 / 2) % 1 * WORD) end
  ROUND[number - 1] = math.floor(prime ^ (1 / 3) % 1 * WORD)
end

local function sha256_block(data, at, h)
  local w = {}
  for t = 0, 15 do w[t] = word_at(data, at + 4 * t) end
  for t = 16, 63 do
    local early, late = w[t - 15], w[t - 2]
    local s0 = bxor(bxor(rotate_right(early, 7), rotate_right(early, 18)), rshift(early, 3))
    local s1 = bxor(bxor(rotate_right(late, 17), rotate_right(late, 19)), rshift(late, 10))
    w[t] = (w[t - 16] + s0 + w[t - 7] + s1) % WORD
  end
  local a, b, c, d, e, f, g, i = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
  for t = 0, 63 do
    local s1 = bxor(bxor(rotate_right(e, 6), rotate_right(e, 11)), rotate_right(e, 25))
    local choose = bxor(g, band(e, bxor(f, g)))
    local first = (i + s1 + choose + ROUND[t] + w[t]) % WORD
    local s0 = bxor(bxor(rotate_right(a, 2), rotate_right(a, 13)), rotate_right(a, 22))
    local majority = bor(band(a, b), band(c, bor(a, b)))
    a, b, c, d, e, f, g, i = (first + s0 + majority) % WORD, a, b, c, (d + first) % WORD, e, f, g
  end
  for number, value in ipairs({ a, b, c, d, e, f, g, i }) do h[number] = (h[number] + value) % WORD end
end

local function sha256(data)
  local h = {}
  for number, word in ipairs(START) do h[number] = word end
  data = padded(data)
  for at = 1, #data, 64 do sha256_block(data, at, h) end
  return finished(h)
end

local function masked(key, mask)
  return (key:gsub(".", function(octet) return string.char(bxor(octet:byte(), mask)) end))
end

-- HMAC with a 64-octet block, which both hashes have.
local function hmac(hash, key, data)
  if #key > 64 then key = hash(key) end
  key = key .. string.rep("\0", 64 - #key)
  return hash(masked(key, 0x5c) .. hash(masked(key, 0x36) .. data))
end

return { sha1 = sha1, sha256 = sha256, hmac = hmac }
