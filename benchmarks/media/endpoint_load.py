"""Many calls of the Python endpoint in one process: ``endpoint_load.py CALLS REFLECTOR_PORT SUITE``.

A call sends 50 SRTP packets a second and gets them back, which it authenticates, decrypts and counts under
the same key. Prints ``ready``; for each line on standard input, ``counts {...}``.
"""

from __future__ import annotations

import json
import os
import sys
from sys import argv, stdin

from sipmikey.media.endpoint import MediaLoop, udp_socket
from sipmikey.media.g711 import PCMA
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import profile_by_name
from sipmikey.media.stream import RtpStream
from sipmikey.media.wav import FrameSource
from sipmikey.mikey.secret import Secret

calls, reflector, profile = int(argv[1]), ("127.0.0.1", int(argv[2])), profile_by_name(argv[3])
frames = tuple(os.urandom(160) for _ in range(50))
loop = MediaLoop()
streams = []
for number in range(calls):
    key = StreamKey(
        profile=profile,
        key=Secret(os.urandom(profile.key_length)),
        salt=Secret(os.urandom(profile.salt_length)),
        ssrc=number,
    )
    stream = RtpStream(codec=PCMA, cname="load@example.org", source=FrameSource(frames, loop=True))
    stream.send_with(key)
    stream.receive_with(key)
    loop.open(stream, udp_socket("127.0.0.1")).send_to(reflector)
    streams.append(stream)
loop.start()
print("ready", flush=True)
for _ in stdin:
    reports = loop.call(lambda: [stream.statistics() for stream in streams]).result()
    counts = {
        "sent": sum(report.sent for report in reports),
        "received": sum(report.reception.received for report in reports),
        "lost": sum(report.reception.lost for report in reports),
        "refused": sum(sum(report.refused.values()) for report in reports),
        "skipped_ticks": loop.skipped_ticks,
    }
    print("counts", json.dumps(counts), flush=True)
sys.stdout.flush()
os._exit(0)
