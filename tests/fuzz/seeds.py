"""Where fuzzing begins: well-formed input for each target, small and of many kinds."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sipmikey.sip.pidf import Presence
from tests.fuzz.torture import ODD, WRONG

_VECTORS = Path(__file__).parent.parent / "vectors"

_TOML = {
    "policy": b'[[rule]]\ninitiator = ["*@example.com"]\nresponder = ["*@example.com"]\nallow = true\n',
    "agent_toml": b'[identity]\nuri = "sip:alice@example.com"\n[sip]\nbind = "127.0.0.1"\nport = 5060\n',
    "kms_toml": b'identity = "sip:kms@example.com"\n[http]\nport = 8042\n[policy]\nfile = "policy.toml"\n',
}
_RTP = bytes.fromhex("80080001000000a01234567800112233")
_RTCP = bytes.fromhex("80c80006123456780000000000000000000000000000000000000000")
_CAPTURE = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
_DUMP = b"#!rtpplay1.0 192.0.2.1/5004\n" + bytes(16)


@functools.cache
def mikey_messages() -> tuple[bytes, ...]:
    """Return every message of the exchanges of the test vectors."""
    return tuple(_mikey_messages())


def _mikey_messages() -> Iterator[bytes]:
    for path in sorted(_VECTORS.glob("exchange-*.json")):
        for vector in json.loads(path.read_text())["vectors"]:
            yield from _octets_in(vector.get("messages"))


def _octets_in(data: Any) -> Iterator[bytes]:
    if isinstance(data, str):
        with contextlib.suppress(ValueError):
            yield bytes.fromhex(data)
    elif isinstance(data, dict | list):
        for inner in data.values() if isinstance(data, dict) else data:
            yield from _octets_in(inner)


def seeds(target: str) -> list[bytes]:
    """Return the seeds of *target*, never none."""
    messages = list(mikey_messages())
    if target in _TOML:
        return [_TOML[target]]
    if target in ("mikey", "explained", "ticket", "body"):
        return messages
    if target in ("sip", "screen", "decoded"):
        return [
            *ODD.values(),
            *WRONG.values(),
            *([messages[0].hex().encode()] if target == "decoded" else ()),
        ]
    if target == "signalling":
        return [_call(), *ODD.values()]
    if target == "described":
        return [_DESCRIPTION]
    if target == "sdp":
        return [_offer(message) for message in messages[:8]]
    if target == "vectors":
        return [(_VECTORS / "prf.json").read_bytes()[:6000]]
    if target == "channel":
        return [b'[3,0,0,"Played",[]]', b'[0,1,0,"LocalSdp",[1,"v=0","",""]]', b'[2,1,0,["x",1,"","local"]]']
    if target == "identity":
        return [b"sip:alice@example.com\nsips:Alice@EXAMPLE.com.:5061", b"*@example.com\nsip:a@example.com"]
    if target == "deposit":
        return [_deposit(messages[0]), b'{"00": ["name", 1.0]}']
    if target == "summary":
        return [
            b"Messages-Waiting: yes\r\nMessage-Account: sip:bob@example.com\r\nVoice-Message: 2/8 (0/2)\r\n"
        ]
    if target == "presence":
        return [Presence(entity="sip:bob@example.com", open=True, note="here").encode()]
    return {"captured": [_CAPTURE], "rtpdump": [_DUMP], "rtp": [_RTP, _RTCP]}[target]


_DESCRIPTION = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\na=ice-ufrag:abcd\r\n"
    b"a=ice-pwd:abcdefghijklmnopqrstuv\r\nm=audio 4000 RTP/AVPF 8 96 101\r\na=rtpmap:96 opus/48000/2\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=rtcp:4001 IN IP4 192.0.2.9\r\na=rtcp-mux\r\na=sendrecv\r\n"
    b"a=candidate:1 1 UDP 2130706431 192.0.2.9 4000 typ host\r\n"
)


def _call() -> bytes:
    """Return an INVITE, its ACK and what may come within the call, between them two zero octets."""
    within = ("ACK", "UPDATE", "INVITE", "PRACK", "INFO", "REFER", "NOTIFY", "BYE")
    made = []
    for number, method in enumerate(("INVITE", *within), start=1):
        body = _DESCRIPTION if method in ("INVITE", "UPDATE") else b""
        tag = ";tag=@tag@" if number > 1 else ""
        counted = 1 if method == "ACK" else number
        head = (
            f"{method} sip:bob@192.0.2.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 192.0.2.2;rport;branch=z9hG4bK{number}\r\n"
            f"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>{tag}\r\n"
            f"Call-ID: x\r\nCSeq: {counted} {method}\r\n"
            "Contact: <sip:alice@192.0.2.2>\r\nRefer-To: <sip:carol@example.com>\r\nEvent: refer\r\n"
            "Supported: timer, 100rel\r\nSession-Expires: 300\r\n"
            f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return b"\0\0".join(made)


def _deposit(message: bytes) -> bytes:
    head = b"MTDD\1" + len(message).to_bytes(3, "big") + message
    rtp = bytes.fromhex("800800010000000000c0ffee") + bytes(20)
    report = bytes.fromhex("80c8000600c0ffee") + bytes(20)
    return head + b"".join(len(packet).to_bytes(2, "big") + packet for packet in (rtp, report))


def _offer(message: bytes) -> bytes:
    return (
        b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=key-mgmt:mikey "
        + base64.b64encode(message)
        + b"\r\nm=audio 40000 RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    )
