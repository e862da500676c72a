"""rtpengine in user space: start it, and set up relays from RTP to SRTP through its ng protocol."""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from processes import running

HOST = "127.0.0.1"
PORTS = (30000, 39999)
START_S = 5.0
SUITE = "AES_CM_128_HMAC_SHA1_80"
INLINE = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"


def encode(value: Any) -> bytes:
    """Bencode."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        return encode(value.encode())
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(encode, value)) + b"e"
    return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"


class RtpEngine:
    """A running rtpengine; ``command`` sends one ng command and returns the SDP of its answer."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self._address = (HOST, port)
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.settimeout(3)

    def command(self, **fields: Any) -> str:
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        self._sock.sendto(secrets.token_hex(4).encode() + b" " + encode(fields), self._address)
        answer = self._sock.recv(65535).decode("latin-1")
        if "6:result2:ok" not in answer and "6:result4:pong" not in answer:
            raise RuntimeError(answer)
        return answer

    def relay(self, source: int, sink: int) -> int:
        """Set up a call from the RTP port *source* to SRTP at *sink*; return the port to send RTP to."""
        call = secrets.token_hex(4)
        offer = self.command(
            command="offer",
            call_id=call,
            from_tag="a",
            sdp=_sdp(source, "RTP/AVP"),
            transport_protocol="RTP/SAVP",
            ICE="remove",
            DTLS="off",
        )
        offered = re.search(rf"a=crypto:(\d+) {SUITE} ", offer)
        assert offered is not None, offer
        answer = self.command(
            command="answer",
            call_id=call,
            from_tag="a",
            to_tag="b",
            sdp=_sdp(sink, "RTP/SAVP", f"a=crypto:{offered.group(1)} {SUITE} inline:{INLINE}\r\n"),
            ICE="remove",
        )
        found = re.search(r"m=audio (\d+)", answer)
        assert found is not None, answer
        return int(found.group(1))


def _sdp(port: int, protocol: str, crypto: str = "") -> str:
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} {protocol} 8\r\na=rtpmap:8 PCMA/8000\r\n{crypto}"
    )


@contextmanager
def rtpengine(core: int) -> Iterator[RtpEngine]:
    """Run rtpengine on one core, on loopback, without its kernel module."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    argv = ["rtpengine", "--config-file=none", "--table=-1", f"--interface={HOST}"]
    argv += [f"--listen-ng={HOST}:{port}", f"--port-min={PORTS[0]}", f"--port-max={PORTS[1]}"]
    argv += ["--foreground", "--log-stderr", "--log-level=3", "--num-threads=2"]
    with running(*argv, core=core, python=False) as process:
        engine = RtpEngine(process, port)
        deadline = time.monotonic() + START_S
        while True:
            try:
                engine.command(command="ping")
                break
            except (OSError, RuntimeError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield engine


def relay_all(engine: RtpEngine, sources: Sequence[int], sink: int) -> list[int]:
    """Set up one relay for each source port; return the ports to send to."""
    return [engine.relay(source, sink) for source in sources]
