"""What unlocking messages finds: proofs, keys to show, and what is known of tickets and initial messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.decode.explain.node import Finding, Node
from sipmikey.keys.derivation import ProtectionKeys
from sipmikey.keys.transport import open_keys
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import EncrAlg, IdRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.timestamp import T
from sipmikey.ticket.bundle import CryptoSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names for identities that messages leave out, as ID Data."""

    initiator: bytes = b""
    responder: bytes = b""
    kms: bytes = b""

    def of(self, message: Message, role: IdRole) -> bytes:
        """Return the ID Data of a role: as sent, or as known here."""
        found = message.all(IDR, role)
        if found:
            return found[0].data
        known = {IdRole.INITIATOR: self.initiator, IdRole.RESPONDER: self.responder, IdRole.KMS: self.kms}
        return known[role]


@dataclass(slots=True, kw_only=True)
class OpenedMessage:
    """The keys of a ticket: from the TPK or the KMS before forking, or forked from RESOLVE_RESP."""

    mpk_i: Secret
    mpk_r: Secret | None = None
    keys: tuple[KeyData, ...] = ()
    forked_mpk_r: Secret | None = None
    forked_keys: tuple[KeyData, ...] = ()


@dataclass(slots=True)
class Init:
    """An initial message that verified, and the keys that protect it and its response."""

    message: Message
    inkey: Secret
    protection: ProtectionKeys
    rand_i: bytes = b""
    rand_r: bytes = b""


def open_kemac(message: Message, protection: ProtectionKeys) -> tuple[KeyData, ...]:
    """Decrypt the keys of a message; none where they are not encrypted."""
    kemac = message.one(KEMAC)
    if kemac.encr_alg is EncrAlg.NULL:
        return ()
    return open_keys(
        kemac,
        protection,
        csb_id=message.header.csb_id,
        timestamp=message.one(T).timestamp,
        limits=DEFAULT_LIMITS,
        what=message.header.data_type.name,
    )


def proven(detail: str, where: str) -> Finding:
    """Return that something verifies."""
    return Finding(kind="proof", detail=detail, field=where)


def refuted(detail: str, where: str) -> Finding:
    """Return that something does not verify."""
    return Finding(kind="error", detail=detail, field=where)


def unknown(detail: str) -> Finding:
    """Return that something could not be verified."""
    return Finding(kind="warning", detail=f"not verified: {detail}", field="V")


def secret(name: str, value: Secret) -> Node:
    """Return a key to be shown on request."""
    return Node(
        name=name,
        offset=0,
        length=len(value),
        value=value.reveal().hex(),
        meaning=f"fingerprint {value.fingerprint()}",
        secret=True,
    )


def key_group(
    name: str, keys: Sequence[KeyData], *, mpk_i: Secret | None = None, mpk_r: Secret | None = None
) -> Node:
    """Return keys to be shown on request."""
    group = Node(name=name, offset=0, section="RFC 6043 section 6.2.1")
    if mpk_i is not None:
        group.children.append(secret("MPKi", mpk_i))
    if mpk_r is not None:
        group.children.append(secret("MPKr", mpk_r))
    for key in keys:
        spi = f" SPI {key.spi.hex()}" if key.spi else ""
        group.children.append(secret(f"{key.key_type.name}{spi}", key.key))
        if key.salt is not None:
            group.children.append(secret(f"salt of{spi}", key.salt))
    return group


def session_group(sessions: Sequence[CryptoSession]) -> Node:
    """Return the SRTP keys of crypto sessions."""
    group = Node(name="SRTP keys", offset=0, section="RFC 6043 section 5.1.3")
    for session in sessions:
        group.children += [
            secret(f"crypto session {session.cs_id} master key", session.master_key),
            secret(f"crypto session {session.cs_id} master salt", session.master_salt),
        ]
    return group
