"""Crypto sessions of m-lines: offering them, answering them, and reading the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sipmikey.mikey.errors import MalformedMessage, PeerError, UnsupportedSecurityPolicy
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.registry import ProtType
from sipmikey.mikey.security_policy import SP, SrtpPolicy
from sipmikey.sdp.errors import MediaMismatch
from sipmikey.sdp.keys import MediaKeys, SessionKeys
from sipmikey.sdp.mapping import Direction, MediaStream, crypto_session_ids
from sipmikey.sdp.suite import SrtpSuite, suite_of
from sipmikey.ticket.bundle import CryptoSession, CryptoSessionBundle
from sipmikey.ticket.request import canonical_or_same


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyExchange:
    """One MIKEY exchange of a session.

    ``levels`` are where its messages are (None for the session level, else m-line indexes), ``pairs`` the
    CS IDs of each m-line it keys: what the MIKEY Initiator sends, and what the Responder sends. ``sent``
    and ``received`` are the last messages of both sides, repeated by offers and answers that change nothing.
    """

    levels: tuple[int | None, ...]
    pairs: Mapping[int, tuple[int, int]]
    bundle: CryptoSessionBundle
    sent: bytes
    received: bytes

    def own_cs_id(self, index: int) -> int:
        """Return the CS ID of what this side sends on an m-line."""
        return self.pairs[index][0 if self.bundle.is_initiator else 1]

    def own_ssrc(self, index: int) -> int | None:
        """Return the SSRC this side has said it sends with on an m-line."""
        session = self.bundle.crypto_session(self.own_cs_id(index))
        return None if session is None else session.ssrc

    def media_keys(self, own: MediaStream, theirs: MediaStream) -> MediaKeys:
        """Return the keys of an m-line; raise `MediaMismatch` where the bundle lacks a direction."""
        forward, backward = (self._session(cs_id, own) for cs_id in self.pairs[own.index])
        initiator = self.bundle.is_initiator
        return MediaKeys(
            index=own.index,
            mid=own.mid,
            direction=_agreed(own.direction, theirs.direction),
            send=forward if initiator else backward,
            receive=backward if initiator else forward,
        )

    def _session(self, cs_id: int, stream: MediaStream) -> CryptoSession:
        session = self.bundle.crypto_session(cs_id)
        if session is None:
            raise MediaMismatch(
                f"no crypto session {cs_id} for {stream.name}",
                field="CS ID map info",
                section="RFC 4567 section 7.1",
            )
        return session


def _agreed(own: Direction, theirs: Direction) -> Direction:
    sends = own.sends and theirs.receives
    receives = own.receives and theirs.sends
    if sends:
        return Direction.SENDRECV if receives else Direction.SENDONLY
    return Direction.RECVONLY if receives else Direction.INACTIVE


def offered_entries(
    streams: Iterable[MediaStream], ssrcs: Mapping[int, int], policies: Sequence[int]
) -> tuple[GenericIdEntry, ...]:
    """Return the two crypto sessions of each m-line as an Initiator offers them.

    The first says the SSRC of this side; Session Data of the second and both SPIs are for the Responder to
    fill in. *policies* are the numbers of the SP payloads to choose from.
    """
    entries = []
    for stream in streams:
        forward, backward = crypto_session_ids(stream.index)
        data = SrtpSessionData(ssrc=ssrcs[stream.index])
        entries.append(GenericIdEntry(cs_id=forward, policies=tuple(policies), session_data=data.encode()))
        entries.append(GenericIdEntry(cs_id=backward, policies=tuple(policies)))
    return tuple(entries)


def choose_policy(
    entry: GenericIdEntry, policies: Mapping[int, SP], suites: Sequence[SrtpSuite]
) -> tuple[int, SrtpSuite] | None:
    """Return the first policy of a crypto session that is one of *suites*, in the offerer's order.

    Policies that are unknown or contradict themselves are skipped: they are alternatives. None when the
    session names no policy and leaves the choice to the answerer. Raises `UnsupportedSecurityPolicy` when it
    names some and none is acceptable.
    """
    where = f"CS ID {entry.cs_id}"
    if entry.prot_type != ProtType.SRTP:
        raise UnsupportedSecurityPolicy(f"Prot type {entry.prot_type} is not SRTP", field=where)
    if not entry.policies:
        return None
    offered = []
    for number in entry.policies:
        try:
            suite = suite_of(SrtpPolicy.from_payload(policies[number]))
        except PeerError as error:
            offered.append(f"a policy that cannot be used ({error})")
            continue
        if suite is not None and suite in suites:
            return number, suite
        offered.append("a suite without a name" if suite is None else suite.value)
    raise UnsupportedSecurityPolicy(
        f"none of {', '.join(offered)} is among {', '.join(suites)}",
        field=where,
        section="RFC 6043 section 4.2.2.2",
    )


def check_suite(session: CryptoSession, suites: Sequence[SrtpSuite]) -> None:
    """Raise `UnsupportedSecurityPolicy` unless the policy of a crypto session is one of *suites*."""
    if suite_of(session.policy) not in suites:
        raise UnsupportedSecurityPolicy(
            "the policy chosen is not among those offered",
            field=f"CS ID {session.cs_id}",
            section="RFC 6043 section 4.2.2.4",
        )


def with_ssrc(entry: GenericIdEntry, ssrc: int) -> GenericIdEntry:
    """Return a crypto session with this SSRC, and without ROC and SEQ."""
    return replace(entry, s=False, session_data=SrtpSessionData(ssrc=ssrc).encode())


def completed(entry: GenericIdEntry, *, policy: int, ssrc: int, spi: bytes) -> GenericIdEntry:
    """Return a crypto session as a response describes it; SSRC and SPI stay where the offer gives them."""
    if not entry.session_data:
        entry = with_ssrc(entry, ssrc)
    return replace(entry, policies=(policy,), spi=entry.spi or spi)


def check_spi(entry: GenericIdEntry, keys: Sequence[KeyData]) -> None:
    """Raise `MalformedMessage` when a crypto session names an unknown session key."""
    if entry.spi and not any(key.spi == entry.spi and key.key_type.is_session_key for key in keys):
        raise MalformedMessage(f"SPI {entry.spi.hex()} names no session key", field=f"CS ID {entry.cs_id}")


def preferred_spi(keys: Sequence[KeyData]) -> bytes:
    """Return the SPI of the key from which crypto sessions are derived when none is named.

    It is that of a TGK or GTGK, which gives every session its own key, as a TEK does not. The last one is
    taken, which after a CSB update is the newest. Raises `UnsupportedSecurityPolicy` when there is none.
    """
    for key in reversed(keys):
        if key.key_type.is_session_key and not key.key_type.is_tek and key.spi:
            return key.spi
    raise UnsupportedSecurityPolicy("no TGK or GTGK to derive crypto sessions from", field="KEMAC")


def session_keys(
    exchanges: Sequence[KeyExchange],
    own: Sequence[MediaStream],
    theirs: Sequence[MediaStream],
    *,
    called: str,
    ticket_id: str,
    before: SessionKeys | None,
) -> SessionKeys:
    """Return the keys of every m-line that is active SRTP on both sides.

    Raises `MediaMismatch` for one that no exchange covers.
    """
    media = []
    for ours, other in zip(own, theirs, strict=True):
        if not (ours.active and other.active and ours.secure):
            continue
        exchange = next((item for item in exchanges if ours.index in item.pairs), None)
        if exchange is None:
            raise MediaMismatch(f"{ours.name} has no keys", field="key-mgmt")
        media.append(exchange.media_keys(ours, other))
    bundle = exchanges[0].bundle
    suite = suite_of(media[0].send.policy) if media else None
    return SessionKeys(
        peer=canonical_or_same(bundle.peer),
        called=canonical_or_same(called),
        kms=bundle.policy.kms,
        ticket_id=ticket_id,
        suite="other" if suite is None else suite.value,
        media=tuple(media),
        changed=before is None or _changed(before.media, media),
        rekey_interval_s=bundle.policy.rekeying_interval_s,
    )


def _changed(before: Sequence[MediaKeys], after: Sequence[MediaKeys]) -> bool:
    known = {item.index: item for item in before}
    return any(
        item.index not in known
        or (item.send, item.receive) != (known[item.index].send, known[item.index].receive)
        for item in after
    )
