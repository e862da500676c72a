"""V payloads on messages: sealing and verifying (RFC 6043 section 5.5)."""

from __future__ import annotations

from collections.abc import Sequence

from sipmikey.keys.derivation import ProtectionKeys
from sipmikey.keys.mac import compute_mac, verify_mac
from sipmikey.keys.suite import Suite
from sipmikey.mikey.errors import MalformedMessage
from sipmikey.mikey.header import Header
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.registry import PayloadType
from sipmikey.mikey.verification import V
from sipmikey.native import native


def empty_v(suite: Suite) -> V:
    """Return a V payload of the suite with a MAC of zeros, to be filled in."""
    return V(auth_alg=suite.mac_alg, mac=bytes(suite.mac_alg.length))


@native
def seal(
    header: Header,
    payloads: Sequence[Payload],
    suite: Suite,
    protection: ProtectionKeys,
    following: bytes,
) -> bytes:
    """Return the octets of a message closed by a V payload.

    *following* is what the MAC covers after the message: the identities, or the initial message.
    """
    unsigned = Message.build(header, (*payloads, empty_v(suite))).raw[: -suite.mac_alg.length]
    return unsigned + compute_mac(suite.mac_alg, protection.auth_key(suite.mac_alg), unsigned + following)


def last_v(message: Message, suite: Suite) -> V:
    """Return the V payload that closes a message.

    Raises `MalformedMessage` where V is missing or not last, `UnsupportedMac` where its algorithm is not
    the suite's.
    """
    v = message.one(V)
    if message.payloads[-1].payload_type != PayloadType.V:
        raise MalformedMessage("is not the last payload", field="V", section="RFC 6043 section 4.2")
    suite.check_mac(v.auth_alg, "V")
    return v


@native
def verify(message: Message, suite: Suite, protection: ProtectionKeys, following: bytes) -> None:
    """Check the V payload of a whole message; raise `AuthenticationFailure` if it does not verify."""
    v = last_v(message, suite)
    covered = message.raw[: -v.auth_alg.length] + following
    verify_mac(v.auth_alg, protection.auth_key(v.auth_alg), covered, v.mac, "V")
