"""Send every datagram back to where it came from. Prints ``port N``.

It looks every 2 ms instead of waiting: waking another process for each packet would be charged to the sender.
"""

from __future__ import annotations

import socket
import time

BUFFER = 16 << 20
SO_RCVBUFFORCE = 33

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
except PermissionError:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
sock.bind(("127.0.0.1", 0))
print("port", sock.getsockname()[1], flush=True)
sock.setblocking(False)
receive, send = sock.recvfrom, sock.sendto
while True:
    try:
        send(*receive(2048))
    except BlockingIOError:
        time.sleep(0.002)
