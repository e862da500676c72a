"""Why the first bad packet of a stream does not authenticate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from sipmikey.media.context import SrtpContext
from sipmikey.media.errors import PacketRefused, SrtpError
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import PROFILES, RTP_HEADER_LENGTH
from sipmikey.mikey.errors import LocalError

_LONGEST_GUESSED_MKI = 8
_ROLLOVERS_AROUND = 2
_OCTET_VALUES = 256
_CLEAR_SHARE = 0.75
_SHORTEST_JUDGED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A packet that no key of its stream accepts, and what it was expected to be.

    ``keys`` are those of the stream, ``candidates`` other keys by a name to show (branches of a forked
    call, our own sending key), ``roc`` the rollover counter reached so far.
    """

    packet: bytes
    rtcp: bool
    error: SrtpError
    detail: str
    keys: tuple[StreamKey, ...]
    candidates: Mapping[str, StreamKey]
    roc: int

    @property
    def ssrc(self) -> int:
        """SSRC in the packet's clear header."""
        offset = 4 if self.rtcp else 8
        return int.from_bytes(self.packet[offset : offset + 4], "big")


def fits(key: StreamKey, packet: bytes, *, rtcp: bool = False) -> bool:
    """Return whether *packet* authenticates under *key*, from its SSRC and rollover counter."""
    index = key.roc << 16 | int.from_bytes(packet[2:4], "big")
    after = index - 1 if key.roc and not rtcp else None
    try:
        context = SrtpContext(key, outbound=False, after=after)
        if rtcp:
            context.unprotect_rtcp(packet)
        else:
            context.unprotect(packet)
    except (PacketRefused, LocalError):
        return False
    return True


def looks_clear(payload: bytes) -> bool:
    """Return whether *payload* has far fewer different octets than ciphertext of that length would have.

    Random octets of length n show 256 * (1 - (255/256)**n) values; speech, tones and silence in G.711 show
    much fewer. Compressed codecs cannot be told from ciphertext, so False means nothing.
    """
    if len(payload) < _SHORTEST_JUDGED:
        return False
    expected = _OCTET_VALUES * (1 - (1 - 1 / _OCTET_VALUES) ** len(payload))
    return len(set(payload)) < _CLEAR_SHARE * expected


def _other_ssrc(suspect: Suspect) -> PacketRefused | None:
    expected = suspect.keys[0].ssrc
    if suspect.ssrc == expected:
        return None
    text = f"SSRC {suspect.ssrc:#010x} in the packet, {expected:#010x} bound to the key"
    for key in suspect.keys:
        if fits(replace(key, ssrc=suspect.ssrc), suspect.packet, rtcp=suspect.rtcp):
            return PacketRefused(SrtpError.OTHER_SSRC, f"{text}; the key fits otherwise")
    return _candidates(suspect) or PacketRefused(SrtpError.OTHER_SSRC, text)


def _clear(suspect: Suspect) -> PacketRefused | None:
    if suspect.rtcp:
        # SDES and reception reports in clear parse as a compound to the last octet; ciphertext does not.
        clear = _is_clear_compound(suspect.packet)
    else:
        clear = looks_clear(suspect.packet[RTP_HEADER_LENGTH:])
    if not clear:
        return None
    return PacketRefused(
        SrtpError.CLEAR_RTP, f"{suspect.keys[0].profile.name} was agreed, and the packet looks like clear RTP"
    )


def _is_clear_compound(packet: bytes) -> bool:
    offset = 0
    while offset + 4 <= len(packet):
        if packet[offset] >> 6 != 2 or not 200 <= packet[offset + 1] <= 207:
            return False
        offset += 4 * (int.from_bytes(packet[offset + 2 : offset + 4], "big") + 1)
    return offset == len(packet)


def _mki(suspect: Suspect) -> PacketRefused | None:
    for key in suspect.keys:
        if key.mki:
            if fits(replace(key, mki=b""), suspect.packet, rtcp=suspect.rtcp):
                return PacketRefused(
                    SrtpError.MKI_MISSING, f"no MKI in the packet, {key.mki.hex()} was agreed"
                )
        else:
            for size, packet in _without_some_mki(suspect, key):
                if fits(key, packet, rtcp=suspect.rtcp):
                    return PacketRefused(
                        SrtpError.MKI_UNEXPECTED,
                        f"the packet carries an MKI of {size} bytes, none was agreed",
                    )
    return PacketRefused(suspect.error, suspect.detail) if suspect.error is SrtpError.MKI_UNKNOWN else None


def _without_some_mki(suspect: Suspect, key: StreamKey) -> Iterator[tuple[int, bytes]]:
    tag = key.profile.rtcp_tag_length if suspect.rtcp else key.profile.tag_length
    packet = suspect.packet
    for size in range(1, _LONGEST_GUESSED_MKI + 1):
        if key.profile.aead:
            yield size, packet[:-size]
        else:
            yield size, packet[: -tag - size] + packet[-tag:]


def _tag_length(suspect: Suspect) -> PacketRefused | None:
    for key in suspect.keys:
        for profile in PROFILES:
            if (profile.key_length, profile.aead) != (key.profile.key_length, key.profile.aead):
                continue
            if profile is not key.profile and fits(
                replace(key, profile=profile), suspect.packet, rtcp=suspect.rtcp
            ):
                return PacketRefused(
                    SrtpError.TAG_LENGTH,
                    f"the peer sends {profile.name} (tag of {profile.tag_length} bytes), "
                    f"{key.profile.name} ({key.profile.tag_length} bytes) was agreed",
                )
    return None


def _candidates(suspect: Suspect) -> PacketRefused | None:
    own = {(key.keying(), key.ssrc) for key in suspect.keys}
    for name, key in suspect.candidates.items():
        if (key.keying(), key.ssrc) not in own and fits(key, suspect.packet, rtcp=suspect.rtcp):
            return PacketRefused(SrtpError.OTHER_CANDIDATE, f"the key of {name} fits")
    return None


def _rollover(suspect: Suspect) -> PacketRefused | None:
    if suspect.rtcp:  # SRTCP carries its index
        return None
    around = range(max(0, suspect.roc - _ROLLOVERS_AROUND), suspect.roc + _ROLLOVERS_AROUND + 1)
    for key in suspect.keys:
        for roc in sorted({0, *around} - {suspect.roc}):
            if fits(replace(key, roc=roc), suspect.packet):
                return PacketRefused(
                    SrtpError.ROLLOVER_COUNTER,
                    f"the key fits with rollover counter {roc}, this side is at {suspect.roc}",
                )
    return None


_SENDER_UNKNOWN = (_other_ssrc, _clear, _mki, _tag_length, _candidates, _rollover)

_LOOKS: dict[SrtpError, tuple[Callable[[Suspect], PacketRefused | None], ...]] = {
    SrtpError.AUTHENTICATION: _SENDER_UNKNOWN,
    SrtpError.MKI_UNKNOWN: _SENDER_UNKNOWN,
    SrtpError.OTHER_SSRC: _SENDER_UNKNOWN,
    # The library looks at the sequence number first: another party may have used the same.
    SrtpError.REPLAYED: (_clear, _candidates),
    SrtpError.TOO_OLD: (_clear, _candidates),
}
"""Where to look, by the library's error; other errors need no closer look."""


def diagnose(suspect: Suspect) -> PacketRefused:
    """Return the refusal of *suspect*, as exact as one packet allows."""
    for look in _LOOKS.get(suspect.error, ()):
        if (found := look(suspect)) is not None:
            return found
    return PacketRefused(suspect.error, suspect.detail)
