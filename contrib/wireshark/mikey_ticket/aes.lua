-- AES (FIPS 197) in counter mode, and key unwrapping (RFC 3394), over Lua strings.

local import = ...
if type(import) ~= "function" then return end

local bits = import("bits")
local bxor = bits.bxor

local SBOX, INVERSE = {}, {}

local function double(value)
  value = value * 2
  if value > 255 then value = bxor(value - 256, 0x1b) end
  return value
end

local function product(a, b)
  local result = 0
  while b > 0 do
    if b % 2 == 1 then result = bxor(result, a) end
    a, b = double(a), math.floor(b / 2)
  end
  return result
end

local function rotated(value, count)
  value = value * 2 ^ count
  return value % 256 + math.floor(value / 256)
end

do -- 3 generates the field: p runs through its powers and q through their inverses
  local p, q = 1, 1
  repeat
    p = bxor(p, double(p))
    q = product(q, 0xf6)
    local s = bxor(bxor(bxor(q, rotated(q, 1)), bxor(rotated(q, 2), rotated(q, 3))), bxor(rotated(q, 4), 0x63))
    SBOX[p] = s
    INVERSE[s] = p
  until p == 1
  SBOX[0], INVERSE[0x63] = 0x63, 0
end

local MULTIPLES = {} -- factor -> value -> product
for _, factor in ipairs({ 2, 3, 9, 11, 13, 14 }) do
  MULTIPLES[factor] = {}
  for value = 0, 255 do MULTIPLES[factor][value] = product(value, factor) end
end

-- Return the round keys of a key of 16 or 32 octets: a list of octets.
local function expand(key)
  local w = { key:byte(1, -1) }
  local length, rcon = #key, 1
  local total = 16 * (length / 4 + 7)
  while #w < total do
    local a, b, c, d = w[#w - 3], w[#w - 2], w[#w - 1], w[#w]
    if #w % length == 0 then
      a, b, c, d = bxor(SBOX[b], rcon), SBOX[c], SBOX[d], SBOX[a]
      rcon = double(rcon)
    elseif length > 24 and #w % length == 16 then
      a, b, c, d = SBOX[a], SBOX[b], SBOX[c], SBOX[d]
    end
    for _, octet in ipairs({ a, b, c, d }) do w[#w + 1] = bxor(w[#w + 1 - length], octet) end
  end
  return w
end

local function add_key(state, w, round)
  for at = 1, 16 do state[at] = bxor(state[at], w[16 * round + at]) end
end

local function shift_and_substitute(state, box, direction)
  local moved = {}
  for column = 0, 3 do
    for row = 0, 3 do
      moved[4 * column + row + 1] = box[state[4 * ((column + direction * row) % 4) + row + 1]]
    end
  end
  return moved
end

local function mix(state, f1, f2, f3, f4)
  local one = {}
  for value = 0, 255 do one[value] = value end
  local m = { MULTIPLES[f1] or one, MULTIPLES[f2] or one, MULTIPLES[f3] or one, MULTIPLES[f4] or one }
  for column = 0, 12, 4 do
    local old = { state[column + 1], state[column + 2], state[column + 3], state[column + 4] }
    for row = 0, 3 do
      local sum = 0
      for each = 0, 3 do sum = bxor(sum, m[(each - row) % 4 + 1][old[each + 1]]) end
      state[column + row + 1] = sum
    end
  end
end

local function encrypt_block(w, block)
  local state = { block:byte(1, 16) }
  local rounds = #w / 16 - 1
  add_key(state, w, 0)
  for round = 1, rounds do
    state = shift_and_substitute(state, SBOX, 1)
    if round < rounds then mix(state, 2, 3, 1, 1) end
    add_key(state, w, round)
  end
  return string.char(table.unpack(state))
end

local function decrypt_block(w, block)
  local state = { block:byte(1, 16) }
  for round = #w / 16 - 1, 1, -1 do
    add_key(state, w, round)
    if round < #w / 16 - 1 then mix(state, 14, 11, 13, 9) end
    state = shift_and_substitute(state, INVERSE, -1)
  end
  add_key(state, w, 0)
  return string.char(table.unpack(state))
end

local function xored(a, b)
  local parts = {}
  for at = 1, #a do parts[at] = string.char(bxor(a:byte(at), b:byte(at))) end
  return table.concat(parts)
end

-- Encrypt or decrypt in counter mode from a counter block whose last two octets are zero.
local function counter_mode(key, block, data)
  local w, parts = expand(key), {}
  for at = 0, #data - 1, 16 do
    local number = at / 16
    local counter = block:sub(1, 14) .. string.char(math.floor(number / 256) % 256, number % 256)
    local piece = data:sub(at + 1, at + 16)
    parts[#parts + 1] = xored(piece, encrypt_block(w, counter):sub(1, #piece))
  end
  return table.concat(parts)
end

-- Unwrap as RFC 3394 section 2.2.2; return nil where the initial value does not come out.
local function unwrap(key, initial, wrapped)
  if #wrapped % 8 ~= 0 or #wrapped < 24 then return nil end
  local w, a, r = expand(key), wrapped:sub(1, 8), {}
  for at = 9, #wrapped, 8 do r[#r + 1] = wrapped:sub(at, at + 7) end
  local counter = 6 * #r
  for _ = 1, 6 do
    for index = #r, 1, -1 do
      local tail = string.char(
        math.floor(counter / 16777216) % 256, math.floor(counter / 65536) % 256,
        math.floor(counter / 256) % 256, counter % 256
      )
      local block = decrypt_block(w, xored(a, "\0\0\0\0" .. tail) .. r[index])
      a, r[index] = block:sub(1, 8), block:sub(9)
      counter = counter - 1
    end
  end
  if a ~= initial then return nil end
  return table.concat(r)
end

return { counter_mode = counter_mode, unwrap = unwrap, xored = xored }
