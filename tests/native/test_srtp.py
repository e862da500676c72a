"""The native SRTP and libsrtp protect for one another, and refuse the same packets for the same reasons."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from typing import Any

import pytest

from sipmikey.media.context import SrtpContext
from sipmikey.media.errors import PacketNotSent, PacketRefused
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import PROFILES
from sipmikey.mikey.secret import Secret
from sipmikey.native import REPLACED

pytestmark = pytest.mark.skipif("SrtpContext" not in REPLACED, reason="the native core does not run here")

SSRC = 0x1234
RUNNABLE = [profile for profile in PROFILES if profile.python_name is not None]


def rtp(seq: int, payload: bytes = b"speech" * 20, first: int = 0x80) -> bytes:
    return struct.pack("!BBHII", first, 8, seq & 0xFFFF, seq * 160, SSRC) + payload


def rtcp(number: int) -> bytes:
    return struct.pack("!BBHI", 0x80, 201, 1, SSRC) + bytes((number & 0xFF,)) * 24


@pytest.fixture(params=RUNNABLE, ids=lambda profile: profile.name)
def key(request: pytest.FixtureRequest) -> StreamKey:
    profile = request.param
    return StreamKey(
        profile=profile,
        key=Secret(os.urandom(profile.key_length)),
        salt=Secret(os.urandom(profile.salt_length)),
        ssrc=SSRC,
    )


def both(key: StreamKey, **options: Any) -> tuple[Any, Any]:
    """Return libsrtp's context and the native one."""
    return REPLACED["SrtpContext"](key, **options), SrtpContext(key, **options)


@pytest.mark.parametrize("mki", [b"", b"mki1"])
@pytest.mark.parametrize("after", [None, (3 << 16) - 3])
def test_they_protect_the_same(key: StreamKey, mki: bytes, after: int | None) -> None:
    key = replace(key, mki=mki)
    library, native = both(key, outbound=True, after=after)
    library_in, native_in = both(key, outbound=False, after=after)
    first = 0xFFF0 if after is None else 0xFFFE
    for seq in range(first, first + 40):
        plain = rtp(seq) if seq % 3 else rtp(seq, b"", 0x90)[:12] + b"\xbe\xde\0\1abcd" + b"extended"
        sent = library.protect(plain)
        assert native.protect(plain) == sent
        assert library_in.unprotect(sent) == native_in.unprotect(sent) == plain
        report = rtcp(seq)
        protected = library.protect_rtcp(report)
        assert native.protect_rtcp(report) == protected
        assert library_in.unprotect_rtcp(protected) == native_in.unprotect_rtcp(protected) == report


def said(function: Any, packet: bytes) -> tuple[str, str]:
    """Return what comes of a packet: its octets, or the kind of refusal."""
    try:
        return "gave", function(packet).hex()
    except (PacketRefused, PacketNotSent) as error:
        return type(error).__name__, str(error.error)


@pytest.mark.parametrize("mki", [b"", b"mki1"])
def test_they_refuse_the_same(key: StreamKey, mki: bytes) -> None:
    key = replace(key, mki=mki)
    library, native = both(key, outbound=False)
    sender = SrtpContext(key, outbound=True)
    packets = [sender.protect(rtp(seq)) for seq in (1, 2, 2000, 2001, 40_000, 65_535, 65_536, 65_900)]
    tried = [
        packets[0],
        packets[0],
        packets[2],
        packets[1],
        packets[3],
        *packets[4:],
        packets[2],
        b"",
        bytes(12),
    ]
    for packet in packets:
        tried += [
            packet[:at] + bytes((packet[at] ^ 4,)) + packet[at + 1 :] for at in range(0, len(packet), 7)
        ]
        tried += [packet[:13], packet[:20], packet + b"x", bytes(1600)]
    for packet in tried:
        assert said(native.unprotect, packet) == said(library.unprotect, packet)


@pytest.mark.parametrize("mki", [b"", b"mki1"])
def test_they_refuse_the_same_rtcp(key: StreamKey, mki: bytes) -> None:
    key = replace(key, mki=mki)
    library, native = both(key, outbound=False)
    sender = SrtpContext(key, outbound=True)
    packets = [sender.protect_rtcp(rtcp(number)) for number in range(300)]
    tried = [*packets[:3], packets[1], packets[200], packets[4], packets[199], packets[199], packets[299]]
    tried += [packets[150][:at] + b"\x55" + packets[150][at + 1 :] for at in range(0, len(packets[150]), 3)]
    tried += [packets[150], b"", bytes(8), bytes(60)]
    for packet in tried:
        assert said(native.unprotect_rtcp, packet) == said(library.unprotect_rtcp, packet)


def test_they_send_no_packet_twice(key: StreamKey) -> None:
    library, native = both(key, outbound=True)
    for seq in (5, 6, 6, 4, 3000, 5, 70_000):
        assert said(native.protect, rtp(seq)) == said(library.protect, rtp(seq))
    for packet in (b"", bytes(20), rtp(7)[:8] + b"\0\0\0\1rest", bytes(1400)):
        assert said(native.protect, packet) == said(library.protect, packet)
