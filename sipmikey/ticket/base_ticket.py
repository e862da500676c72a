"""The MIKEY base ticket: sealing and opening Ticket Data (RFC 6043 Appendix A)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.keys.derivation import derive_mpks, ticket_keys
from sipmikey.keys.mac import compute_mac, verify_mac
from sipmikey.keys.suite import MINIMUM_KEY_LENGTH
from sipmikey.keys.transport import NO_CSB_ID, open_keys, seal_keys
from sipmikey.mikey.errors import AuthenticationFailure, InvalidTicket, LocalError, PeerError
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.message import find_payload, one_payload
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RAND
from sipmikey.mikey.registry import IdRole, KeyDataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import THDR, TICKET, decode_ticket_data, encode_ticket_data
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import V
from sipmikey.native import native
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import psk_identity
from sipmikey.ticket.policy import RequestedKey, TicketPolicy

SPI_LENGTH = 4
"""Length of the SPIs this side makes, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketContents:
    """The keys a ticket encodes: MPKi and MPKr derived from its MPK, and the session keys in order."""

    mpk_i: Secret
    mpk_r: Secret
    keys: tuple[KeyData, ...]


def ticket_id(ticket: TICKET) -> str:
    """Return 16 hexadecimal digits that name a ticket in logs: a digest of its Ticket Data."""
    return hashlib.sha256(ticket.ticket_data).hexdigest()[:16]


@native
def make_session_keys(env: Environment, wanted: Sequence[RequestedKey]) -> tuple[KeyData, ...]:
    """Draw the session keys of a new ticket, each with an SPI of its own."""
    spis: set[bytes] = set()
    keys = []
    for item in wanted:
        spi = env.random(SPI_LENGTH)
        while spi in spis:
            spi = env.random(SPI_LENGTH)
        spis.add(spi)
        keys.append(
            KeyData(
                key_type=item.key_type,
                key=Secret(env.random(item.length)),
                salt=Secret(env.random(item.salt_length)) if item.key_type.has_salt else None,
                spi=spi,
            )
        )
    return tuple(keys)


@native
def seal_ticket(
    env: Environment, policy: TicketPolicy, tpk: TicketProtectionKey, keys: Sequence[KeyData]
) -> tuple[TICKET, TicketContents]:
    """Make a MIKEY base ticket that encodes *keys*, protected with a TPK of the policy's suite.

    Raises `LocalError` when the TPK or a key does not fit the suite (RFC 6043 section 12.1).
    """
    suite = policy.suite
    policy.check_type()
    policy.check_keys(keys)
    if len(tpk.key) < suite.key_length:
        raise LocalError(f"a TPK of {suite.name} has at least {suite.key_length} bytes")
    timestamp = env.timestamp()
    rand = env.random(max(suite.rand_length, len(tpk.key)))
    protection = ticket_keys(tpk.prf(suite.prf), rand)
    mpk = KeyData(
        key_type=KeyDataType.MPK, key=Secret(env.random(suite.key_length)), spi=env.random(SPI_LENGTH)
    )
    kemac = seal_keys((mpk, *keys), suite.encr_alg, protection, csb_id=NO_CSB_ID, timestamp=timestamp)
    payloads: list[Payload] = [T(timestamp=timestamp), RAND(rand=rand), kemac]
    if tpk.key_id is not None:
        payloads.append(psk_identity(tpk.key_id))
    unsigned = encode_ticket_data(
        THDR(), (*payloads, V(auth_alg=suite.mac_alg, mac=bytes(suite.mac_alg.length)))
    )
    ticket = policy.ticket(unsigned)
    auth_key = protection.auth_key(suite.mac_alg)
    mac = compute_mac(suite.mac_alg, auth_key, _covered(ticket, suite.mac_alg.length))
    sealed = ticket.with_data(ticket_data=unsigned[: -suite.mac_alg.length] + mac)
    mpk_i, mpk_r = derive_mpks(suite.prf, mpk.key, rand)
    return sealed, TicketContents(mpk_i=mpk_i, mpk_r=mpk_r, keys=tuple(keys))


def _covered(ticket: TICKET, mac_length: int) -> bytes:
    """The octets of a TICKET that its own MAC covers (Appendix A.1)."""
    length = len(ticket.ticket_data).to_bytes(2, "big")
    return b"".join((ticket.policy_octets, length, ticket.ticket_data[:-mac_length]))


@native
def tpk_id(ticket: TICKET, limits: Limits) -> bytes | None:
    """Return the identifier of the TPK a ticket is protected with (IDRpsk of Ticket Data), if given."""
    _, payloads, _ = decode_ticket_data(ticket.ticket_data, limits)
    idr = find_payload(payloads, IDR, IdRole.PSK)
    return None if idr is None else idr.data


@native
def open_ticket(
    ticket: TICKET, policy: TicketPolicy, tpk: TicketProtectionKey, limits: Limits
) -> TicketContents:
    """Verify and decrypt a MIKEY base ticket. *policy* is that of the ticket.

    Raises `InvalidTicket` for another type or contents that are not those of Appendix A,
    `AuthenticationFailure` when its MAC does not verify, `InvalidTicketPolicy` when a TGK is forked although
    no TRANSFER_RESP is sent.
    """
    policy.check_type()
    suite = policy.suite
    try:
        _, payloads, _ = decode_ticket_data(ticket.ticket_data, limits)
        t = one_payload(payloads, T)
        rand = one_payload(payloads, RAND).rand
        kemac = one_payload(payloads, KEMAC)
        v = one_payload(payloads, V)
        if payloads[-1] is not v:
            raise InvalidTicket("V is not the last payload", field="Ticket Data")
        suite.check_mac(v.auth_alg, "Ticket Data V")
        suite.check_encryption(kemac.encr_alg, "Ticket Data KEMAC")
        protection = ticket_keys(tpk.prf(suite.prf), rand)
        covered = _covered(ticket, v.auth_alg.length)
        verify_mac(v.auth_alg, protection.auth_key(v.auth_alg), covered, v.mac, "Ticket Data V")
        keys = open_keys(
            kemac, protection, csb_id=NO_CSB_ID, timestamp=t.timestamp, limits=limits, what="Ticket Data"
        )
    except (AuthenticationFailure, InvalidTicket):
        raise
    except PeerError as error:
        raise InvalidTicket(str(error), field="Ticket Data") from None
    if not keys or keys[0].key_type is not KeyDataType.MPK:
        raise InvalidTicket("the first key is not an MPK", field="Ticket Data KEMAC")
    mpk, session_keys = keys[0].key, keys[1:]
    if any(not key.key_type.is_session_key for key in session_keys):
        raise InvalidTicket("more than one MPK", field="Ticket Data KEMAC")
    if len(mpk) < MINIMUM_KEY_LENGTH or len(rand) < max(len(tpk.key), len(mpk)):
        raise InvalidTicket("MPK or RAND is too short", field="Ticket Data", section="RFC 6043 section 12.1")
    policy.check_keys(session_keys)
    mpk_i, mpk_r = derive_mpks(suite.prf, mpk, rand)
    return TicketContents(mpk_i=mpk_i, mpk_r=mpk_r, keys=session_keys)
