-- The names of registered numbers, as the tables of RFC 3830, 4563, 4567, 6043 and 7714 give them.

local import = ...
if type(import) ~= "function" then return end

return {
  data_type = {
    [0] = "PSK_INIT (RFC 3830)", [1] = "PSK_RESP (RFC 3830)", [2] = "PK_INIT (RFC 3830)",
    [3] = "PK_RESP (RFC 3830)", [4] = "DH_INIT (RFC 3830)", [5] = "DH_RESP (RFC 3830)", [6] = "ERROR",
    [11] = "REQUEST_INIT_PSK", [12] = "REQUEST_INIT_PK", [13] = "REQUEST_RESP", [14] = "TRANSFER_INIT",
    [15] = "TRANSFER_RESP", [16] = "RESOLVE_INIT_PSK", [17] = "RESOLVE_INIT_PK", [18] = "RESOLVE_RESP",
  },
  payload = {
    [0] = "Last payload", [1] = "KEMAC", [2] = "PKE", [3] = "DH", [4] = "SIGN", [5] = "T", [6] = "ID",
    [7] = "CERT", [8] = "CHASH", [9] = "V", [10] = "SP", [11] = "RAND", [12] = "ERR", [13] = "TR",
    [14] = "IDR", [15] = "RANDR", [16] = "TP", [17] = "TICKET", [20] = "Key data", [21] = "General Extension",
  },
  prf = { [0] = "MIKEY-1", [1] = "PRF-HMAC-SHA-256" },
  map_type = { [0] = "SRTP-ID", [1] = "Empty map", [2] = "GENERIC-ID" },
  protocol = { [0] = "SRTP" },
  encryption = { [0] = "NULL", [1] = "AES-CM-128", [2] = "AES-KW-128", [3] = "AES-CM-256" },
  mac = { [0] = "NULL", [1] = "HMAC-SHA-1-160", [2] = "HMAC-SHA-256-256" },
  mac_length = { [0] = 0, [1] = 20, [2] = 32 },
  key_type = {
    [0] = "TGK", [1] = "TGK+SALT", [2] = "TEK", [3] = "TEK+SALT", [4] = "GTGK", [5] = "GTGK+SALT", [6] = "MPK",
  },
  validity = { [0] = "Null", [1] = "SPI/MKI", [2] = "Interval" },
  ts_type = { [0] = "NTP-UTC", [1] = "NTP", [2] = "COUNTER", [3] = "NTP-UTC-32" },
  ts_length = { [0] = 8, [1] = 8, [2] = 4, [3] = 4 },
  ts_role = {
    [1] = "TRi, time of issue", [2] = "TRs, start of validity", [3] = "TRe, end of validity",
    [4] = "TRr, rekeying interval",
  },
  id_type = { [0] = "NAI", [1] = "URI", [2] = "Byte string" },
  id_role = {
    [1] = "IDRi, Initiator", [2] = "IDRr, Responder", [3] = "IDRkms, KMS", [4] = "IDRpsk, pre-shared key",
    [5] = "IDRapp, application",
  },
  cert_type = { [0] = "X.509v3", [1] = "X.509v3 URL", [2] = "X.509v3 Sign", [3] = "X.509v3 Encr" },
  hash = { [0] = "SHA-1", [1] = "MD5", [2] = "SHA-256" },
  hash_length = { [0] = 20, [1] = 16, [2] = 32 },
  signature = { [0] = "RSA/PKCS#1/1.5", [1] = "RSA/PSS" },
  cache = { [0] = "No cache", [1] = "Cache", [2] = "Cache for CSB" },
  group = { [0] = "OAKLEY 5", [1] = "OAKLEY 1", [2] = "OAKLEY 2" },
  group_length = { [0] = 192, [1] = 96, [2] = 128 },
  rand_role = { [1] = "RANDRi, Initiator", [2] = "RANDRr, Responder", [3] = "RANDRkms, KMS" },
  error = {
    [0] = "Authentication failure", [1] = "Invalid timestamp", [2] = "PRF function not supported",
    [3] = "MAC algorithm not supported", [4] = "Encryption algorithm not supported",
    [5] = "Hash function not supported", [6] = "DH group not supported", [7] = "ID not supported",
    [8] = "Certificate not supported", [9] = "SP type not supported", [10] = "SP parameters not supported",
    [11] = "Data type not supported", [12] = "Unspecified error", [14] = "Ticket Type not supported",
    [15] = "TP parameters not supported",
  },
  extension = { [0] = "Vendor ID", [1] = "SDP IDs", [3] = "Key ID" },
  key_id_type = { [0] = "MBMS key domain", [1] = "MBMS service key", [2] = "MBMS traffic key" },
  ticket_type = { [1] = "MIKEY Base Ticket", [2] = "3GPP Base Ticket" },
  srtp_param = {
    [0] = "Encryption algorithm", [1] = "Session Encr. key length", [2] = "Authentication algorithm",
    [3] = "Session Auth. key length", [4] = "Session Salt key length", [5] = "SRTP pseudo-random function",
    [6] = "Key derivation rate", [7] = "SRTP encryption off/on", [8] = "SRTCP encryption off/on",
    [9] = "Sender's FEC order", [10] = "SRTP authentication off/on", [11] = "Authentication tag length",
    [12] = "SRTP prefix length", [20] = "AEAD authentication tag length",
  },
  srtp_value = {
    [0] = { [0] = "NULL", [1] = "AES-CM", [2] = "AES-F8", [6] = "AES-GCM" },
    [2] = { [0] = "NULL", [1] = "HMAC-SHA-1" },
    [5] = { [0] = "AES-CM" },
    [7] = { [0] = "Off", [1] = "On" },
    [8] = { [0] = "Off", [1] = "On" },
    [9] = { [0] = "First FEC, then SRTP" },
    [10] = { [0] = "Off", [1] = "On" },
  },
  -- Ticket Policy flags from bit 16 of the three octets downwards: letter, meaning of 0, meaning of 1.
  flags = {
    { "D", "The Initiator made the ticket", "The KMS made the ticket" },
    { "E", "The Responder may open the ticket", "The ticket must be resolved at the KMS" },
    { "F", "TRANSFER_RESP shall not be sent", "TRANSFER_RESP shall be sent" },
    { "G", "No RANDRr", "The Responder generates RANDRr" },
    { "H", "RANDRi does not go into session keys", "RANDRi goes into session keys" },
    { "I", "No key forking", "Key forking" },
    { "J", "The ticket must not be reused", "The ticket may be reused" },
    { "K", "The KMS did not change the policy", "The KMS changed the policy asked for" },
    { "L", "The Initiator may not supply session keys", "The Initiator may supply session keys" },
    { "M", "The Responder may not supply session keys", "The Responder may supply session keys" },
    { "N", "The Initiator needs additional processing", "A standard Initiator can use the ticket" },
    { "O", "The Responder needs additional processing", "A standard Responder can process the ticket" },
  },
  -- Rules of RFC 6043 section 6.10: name, flag that is set or clear, whether it is set, flag then set.
  flag_rules = {
    { "NOT D implies L", "D", false, "L" }, { "G implies F", "G", true, "F" },
    { "NOT G implies H", "G", false, "H" }, { "I implies E", "I", true, "E" },
    { "K implies D", "K", true, "D" }, { "M implies F", "M", true, "F" },
  },
}
