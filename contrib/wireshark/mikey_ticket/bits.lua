-- 32-bit arithmetic for every Lua that Wireshark has been built with (5.2 to 5.4). Numbers are unsigned.

local import = ...
if type(import) ~= "function" then return end -- Wireshark also loads this file by itself: it is a part only

local WORD = 4294967296

if bit32 then
  return { band = bit32.band, bor = bit32.bor, bxor = bit32.bxor, lshift = bit32.lshift, rshift = bit32.rshift }
end

local native = load([[
  return {
    band = function(a, b) return a & b end,
    bor = function(a, b) return a | b end,
    bxor = function(a, b) return a ~ b end,
    lshift = function(a, n) return a << n & 0xffffffff end,
    rshift = function(a, n) return a >> n end,
  }
]])
if native then
  local made = native()
  -- Sums of words are floats with a whole value here; the operators want integers.
  for name, operate in pairs(made) do
    made[name] = function(a, b) return operate(math.tointeger(a), math.tointeger(b)) end
  end
  return made
end

local made = {}
for _, name in ipairs({ "band", "bor", "bxor", "lshift", "rshift" }) do
  local operate = bit[name]
  made[name] = function(a, b) return operate(a, b) % WORD end
end
return made
