"""The crypto session bundle: crypto sessions and their keys (RFC 6043 sections 5.1.3 and 6.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sipmikey.keys.derivation import SESSION_SALT, SESSION_TEK, ProtectionKeys, session_key
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import Suite
from sipmikey.mikey.errors import (
    InvalidSecurityPolicy,
    MalformedMessage,
    UnsupportedSecurityPolicy,
)
from sipmikey.mikey.header import GenericIdEntry, Header, SrtpSessionData
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, KeyDataType, ProtType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, SrtpPolicy
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.policy import TicketPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptoSession:
    """One SRTP crypto session, ready for use: one direction of one stream.

    ``ssrc`` and ``roc`` have 32 bits, ``seq`` 16 (None where not given). ``spi`` names the key, also
    called MKI. ``master_key`` and ``master_salt`` are as long as ``policy`` says; a TEK sent without a salt
    leaves the salt empty.
    """

    cs_id: int
    ssrc: int
    roc: int
    seq: int | None
    spi: bytes
    key_type: KeyDataType
    master_key: Secret
    master_salt: Secret
    policy: SrtpPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRands:
    """The RANDs that enter key derivation: those the H and G flags leave in, else empty."""

    rand_i: bytes
    rand_r: bytes


def session_rands(policy: TicketPolicy, rand_i: bytes, rand_r: bytes) -> SessionRands:
    """Return the RANDs used to derive session keys under a Ticket Policy (RFC 6043 section 5.1.3)."""
    return SessionRands(
        rand_i=rand_i if policy.flags.randr_i else b"", rand_r=rand_r if policy.flags.randr_r else b""
    )


def static_payloads(payloads: Iterable[Payload]) -> frozenset[bytes]:
    """Return the RANDRs and TICKETs among *payloads*, encoded: an update may repeat these, and no others."""
    return frozenset(
        bytes((item.payload_type,)) + item.encode_body()
        for item in payloads
        if isinstance(item, RANDR | TICKET)
    )


def generic_ids(header: Header) -> tuple[GenericIdEntry, ...]:
    """Return the crypto sessions of a Ticket Transfer message.

    The Empty map is accepted without sessions. Raises `MalformedMessage` for the SRTP-ID map (RFC 6043
    section 6.1) and for a CS ID given twice.
    """
    if header.map_type is CsIdMapType.SRTP_ID or (header.cs_count and not header.generic_ids()):
        raise MalformedMessage(
            f"the {header.map_type.name} map is not used in Ticket Transfer",
            field="CS ID map type",
            offset=9,
            section="RFC 6043 section 6.1",
        )
    seen: set[int] = set()
    for entry in header.generic_ids():
        if entry.cs_id in seen:
            raise MalformedMessage(f"CS ID {entry.cs_id} is given twice", field="CS ID")
        seen.add(entry.cs_id)
        if entry.prot_type == ProtType.SRTP:
            SrtpSessionData.of(entry)
    return header.generic_ids()


def check_policies(entries: Iterable[GenericIdEntry], policies: Mapping[int, SP]) -> None:
    """Raise `InvalidSecurityPolicy` when a crypto session names a policy no SP payload gives."""
    for entry in entries:
        for number in entry.policies:
            if number not in policies:
                raise InvalidSecurityPolicy(
                    f"policy {number} is not given in an SP payload", field=f"CS ID {entry.cs_id}"
                )
            if policies[number].prot_type != entry.prot_type:
                raise InvalidSecurityPolicy(
                    f"policy {number} is of another Prot type", field=f"CS ID {entry.cs_id}"
                )


def derive_crypto_session(
    entry: GenericIdEntry,
    policies: Mapping[int, SP],
    keys: Sequence[KeyData],
    suite: Suite,
    rands: SessionRands,
) -> CryptoSession:
    """Derive master key and salt of a completely described crypto session.

    A response describes each session completely: exactly one policy, Session Data and an SPI that names a
    session key of the bundle. Raises `MalformedMessage`, `InvalidSecurityPolicy` or
    `UnsupportedSecurityPolicy` otherwise.
    """
    where = f"CS ID {entry.cs_id}"
    if entry.prot_type != ProtType.SRTP:
        raise UnsupportedSecurityPolicy(f"Prot type {entry.prot_type} is not SRTP", field=where)
    if len(entry.policies) != 1:
        raise MalformedMessage(
            f"#P is {len(entry.policies)}, must be 1", field=where, section="RFC 6043 section 6.1.1"
        )
    check_policies([entry], policies)
    policy = SrtpPolicy.from_payload(policies[entry.policies[0]])
    data = SrtpSessionData.of(entry)
    if data is None:
        raise MalformedMessage("Session Data is missing", field=where, section="RFC 6043 section 6.1.1")
    key = _named_key(entry, keys)
    master_key, master_salt = _masters(key, entry.cs_id, policy, suite, rands)
    return CryptoSession(
        cs_id=entry.cs_id,
        ssrc=data.ssrc,
        roc=data.roc or 0,
        seq=data.seq,
        spi=entry.spi,
        key_type=key.key_type,
        master_key=master_key,
        master_salt=master_salt,
        policy=policy,
    )


def _named_key(entry: GenericIdEntry, keys: Sequence[KeyData]) -> KeyData:
    where = f"CS ID {entry.cs_id}"
    if not entry.spi:
        raise MalformedMessage("SPI is missing", field=where, section="RFC 6043 section 6.1.1")
    for key in keys:
        if key.spi == entry.spi and key.key_type.is_session_key:
            return key
    raise MalformedMessage(f"SPI {entry.spi.hex()} names no session key of the bundle", field=where)


def _masters(
    key: KeyData, cs_id: int, policy: SrtpPolicy, suite: Suite, rands: SessionRands
) -> tuple[Secret, Secret]:
    length = policy.session_encr_key_length
    if key.key_type.is_tek:
        if len(key.key) != length:
            raise InvalidSecurityPolicy(
                f"the TEK has {len(key.key)} bytes, the policy wants {length}", field=f"CS ID {cs_id}"
            )
        return key.key, key.salt or Secret(b"")
    prf = Prf(suite.prf, key.key)
    label = {"rand_i": rands.rand_i, "rand_r": rands.rand_r}
    master_key = session_key(prf, SESSION_TEK, cs_id, length, **label)
    if key.salt is not None:
        return master_key, key.salt
    return master_key, session_key(prf, SESSION_SALT, cs_id, policy.session_salt_length, **label)


def longest_key(keys: Iterable[KeyData]) -> int:
    """Return the length of the longest TGK or GTGK, in bytes; 0 without any."""
    return max((len(key.key) for key in keys if not key.key_type.is_tek), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptoSessionBundle:
    """An established CSB, as either side holds it. A CSB update yields a new one.

    ``identity_i`` and ``identity_r`` are the ID Data of the Initiator and of the peer that answered;
    ``entries`` and ``policies`` the last CS ID map and every SP payload so far, ``keys`` every session key.
    ``protection`` gives the keys that protected the last message of the initial exchange and protect every
    update (RFC 6043 section 5.2). ``sent`` and ``received`` are the last timestamps of both directions.
    ``static`` are the RANDRs and the TICKET of the initial exchange, as `static_payloads` gives them.
    """

    csb_id: int
    is_initiator: bool
    suite: Suite
    policy: TicketPolicy
    identity_i: bytes
    identity_r: bytes
    entries: tuple[GenericIdEntry, ...]
    policies: Mapping[int, SP]
    keys: tuple[KeyData, ...]
    rands: SessionRands
    protection: ProtectionKeys = field(repr=False)
    sent: Timestamp | None = None
    received: Timestamp | None = None
    static: frozenset[bytes] = field(default=frozenset(), repr=False)
    crypto_sessions: tuple[CryptoSession, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        sessions = tuple(
            derive_crypto_session(entry, self.policies, self.keys, self.suite, self.rands)
            for entry in self.entries
        )
        object.__setattr__(self, "crypto_sessions", sessions)

    @property
    def peer(self) -> str:
        """The identity of the other side, as its ID Data gives it."""
        octets = self.identity_r if self.is_initiator else self.identity_i
        return octets.decode("utf-8", "replace")

    def crypto_session(self, cs_id: int) -> CryptoSession | None:
        """Return a crypto session by its CS ID, or None."""
        return next((item for item in self.crypto_sessions if item.cs_id == cs_id), None)
