"""Inputs that the tests of `sipmikey decode` share."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from sipmikey.cli.main import main

VECTORS = Path(__file__).parents[2] / "vectors"


def exchange(name: str) -> dict:
    for path in sorted(VECTORS.glob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
            if vector["name"] == name and vector["kind"] == "exchange":
                return vector
    raise LookupError(name)


FULL = exchange("full-256-forking")
MESSAGES = {name: bytes.fromhex(octets) for name, octets in FULL["messages"].items()}
TRANSFER_INIT = MESSAGES["transfer_init"]
B64 = base64.b64encode(TRANSFER_INIT).decode()


def decode(capsys, *words: str, expect: int = 0) -> str:
    assert main(["decode", *words]) == expect
    return capsys.readouterr().out


def as_json(capsys, *words: str, expect: int = 0) -> list[dict]:
    return [json.loads(line) for line in decode(capsys, "--json", *words, expect=expect).splitlines()]


def sip(body: str, kind: str = "application/sdp") -> bytes:
    octets = body.encode()
    return (
        b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n"
        b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind.encode(), len(octets), octets)
    )


SDP = "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{session}m=audio 4000 RTP/SAVP 0\r\n{media}"
SESSION_LEVEL = SDP.format(session=f"a=key-mgmt:mikey {B64}\r\n", media="")
MEDIA_LEVEL = SDP.format(session="", media=f"a=key-mgmt:mikey {B64}\r\n")
