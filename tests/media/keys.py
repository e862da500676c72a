"""Keys and packets for the tests of SRTP."""

from __future__ import annotations

import random
from dataclasses import replace

from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import PROFILES, profile_by_name
from sipmikey.media.rtp import RtpPacket
from sipmikey.mikey.secret import Secret

PYTHON_PROFILES = [profile.name for profile in PROFILES]
AES_80 = "AES_CM_128_HMAC_SHA1_80"
AES_32 = "AES_CM_128_HMAC_SHA1_32"
GCM_128 = "AEAD_AES_128_GCM"
SSRC = 0xCAFEBABE


def make_key(
    profile: str = AES_80,
    *,
    seed: int = 1,
    ssrc: int = SSRC,
    roc: int = 0,
    seq: int | None = None,
    mki: bytes = b"",
) -> StreamKey:
    rng = random.Random(f"{profile} {seed}")
    lengths = profile_by_name(profile)
    return StreamKey(
        profile=lengths,
        key=Secret(rng.randbytes(lengths.key_length)),
        salt=Secret(rng.randbytes(lengths.salt_length)),
        ssrc=ssrc,
        roc=roc,
        seq=seq,
        mki=mki,
    )


def as_profile(key: StreamKey, profile: str) -> StreamKey:
    return replace(key, profile=profile_by_name(profile))


def rtp(sequence: int, *, ssrc: int = SSRC, payload: bytes | None = None) -> bytes:
    """A packet of 160 octets that look like nothing in particular, different for every number."""
    if payload is None:
        payload = random.Random(sequence).randbytes(160)
    return RtpPacket(
        payload_type=8,
        sequence=sequence & 0xFFFF,
        timestamp=sequence * 160 & 0xFFFFFFFF,
        ssrc=ssrc,
        payload=payload,
    ).encode()


def noise_frames(count: int, *, seed: int) -> tuple[bytes, ...]:
    """Frames of 160 octets, no two alike."""
    rng = random.Random(seed)
    return tuple(rng.randbytes(160) for _ in range(count))
