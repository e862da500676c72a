"""Plain RTP in many flows to given ports, and a sink: ``rtp_flows.py CALLS``.

Prints ``ports [[FROM...], SINK]``; then reads the list of ports to send to, prints ``ready``, and for each
further line on standard input ``counts {...}``.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

CALLS = int(sys.argv[1])
TICK_S, TICKS = 0.005, 4
BUFFER = 16 << 20
SO_RCVBUFFORCE = 33

sources = []
for _ in range(CALLS):
    source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    source.bind(("127.0.0.1", 0))
    sources.append(source)
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
except PermissionError:
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
sink.bind(("127.0.0.1", 0))
sink.setblocking(False)
print("ports", json.dumps([[s.getsockname()[1] for s in sources], sink.getsockname()[1]]), flush=True)
for source, port in zip(sources, json.loads(sys.stdin.readline()), strict=True):
    source.connect(("127.0.0.1", port))
print("ready", flush=True)
payload = bytes(range(160))
sent = received = number = 0
due = time.monotonic()
while True:
    slot, sequence = number % TICKS, number // TICKS
    for index in range(slot, CALLS, TICKS):
        header = struct.pack("!BBHII", 0x80, 8, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, index)
        try:
            sources[index].send(header + payload)
            sent += 1
        except OSError:
            pass
    number += 1
    due += TICK_S
    while True:
        try:
            sink.recv(2048)
            received += 1
        except BlockingIOError:
            wait = due - time.monotonic()
            if wait <= 0:
                break
            time.sleep(wait)
            break
    if select.select([sys.stdin], [], [], 0)[0]:
        if not sys.stdin.readline():
            break
        print("counts", json.dumps({"sent": sent, "received": received}), flush=True)
