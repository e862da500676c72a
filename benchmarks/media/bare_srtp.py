"""CPU per 172-byte packet of pylibsrtp alone, both ways: ``bare_srtp.py SUITE COUNT``."""

from __future__ import annotations

import json
import os
import struct
import sys
import time

from pylibsrtp import Policy, Session

SUITES = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
}
profile, length = SUITES[sys.argv[1]]
count = int(sys.argv[2])
key = os.urandom(length)
sender, receiver = (
    Session(Policy(key=key, ssrc_type=Policy.SSRC_SPECIFIC, ssrc_value=1, srtp_profile=profile))
    for _ in range(2)
)
packets = [struct.pack("!BBHII", 0x80, 8, n & 0xFFFF, n * 160, 1) + bytes(160) for n in range(count)]
start = time.process_time_ns()
protected = [sender.protect(packet) for packet in packets]
middle = time.process_time_ns()
for packet in protected:
    receiver.unprotect(packet)
end = time.process_time_ns()
print(
    "result",
    json.dumps({"protect_us": (middle - start) / count / 1e3, "unprotect_us": (end - middle) / count / 1e3}),
)
