"""Descriptions keyed by SDES, and what agents told of such calls."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from sipmikey.sip import SipMessage
from tests.agent.processes import Process

SUITE = "AES_CM_128_HMAC_SHA1_80"
OURS = base64.b64encode(bytes(range(30))).decode()
THEIRS = base64.b64encode(bytes(range(100, 130))).decode()
WITHOUT_TLS = {"security": "preferred", "alternative": "sdes-without-tls", "suites": ("128",)}


def crypto(key: str, *, tag: int = 1, suite: str = SUITE, rest: str = "") -> str:
    return f"a=crypto:{tag} {suite} inline:{key}{rest}\r\n"


def sdp(*lines: str, profile: str = "RTP/SAVP", session: str = "") -> str:
    head = f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{session}"
    return head + f"m=audio 4000 {profile} 8\r\n" + "".join(lines)


def secrets_in(seen: list[dict[str, Any]]) -> list[str]:
    """Long runs of base64 in events: no key may be there."""
    return re.findall(r"inline:|[A-Za-z0-9+/]{40,}", json.dumps(seen).replace("CM_128_HMAC", ""))


def events(who: Process, kind: str) -> list[dict[str, Any]]:
    return [event for event in who.seen if event["type"] == kind]


def sent_key(message: SipMessage) -> tuple[str, bytes]:
    """Tag and key of the 128-bit suite in a description."""
    found = re.search(rf"a=crypto:(\d+) {SUITE} inline:(\S+)", message.sdp)
    assert found is not None
    return found[1], base64.b64decode(found[2].partition("|")[0])
