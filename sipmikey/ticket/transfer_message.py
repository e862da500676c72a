"""What Ticket Transfer messages are made of, shared by both sides (RFC 6043 sections 4.2.2 and 5.5)."""

from __future__ import annotations

from collections.abc import Sequence

from sipmikey.keys.derivation import ProtectionKeys, initial_message_keys
from sipmikey.keys.mac import compute_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import suite_of
from sipmikey.keys.transport import open_keys, seal_keys
from sipmikey.mikey.errors import InvalidTicketPolicy, MalformedMessage
from sipmikey.mikey.header import GenericIdEntry, Header
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, DataType, IdRole, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import EXT, V
from sipmikey.ticket.bundle import longest_key
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical, uri_identity
from sipmikey.ticket.key_rules import check_transported_keys
from sipmikey.ticket.protection import empty_v
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.resolve import make_initiator_data


def transfer_init_coverage(message: Message, identities: bytes) -> bytes:
    """Return what the MAC of TRANSFER_INIT covers (RFC 6043 section 5.5).

    That is the message without its MAC, Initiator Data and Initiator Data length, then the identities.
    """
    mac_length = len(message.one(V).mac)
    return message.without_initiator_data()[:-mac_length] + identities


def build_transfer_init(
    env: Environment,
    grant: TicketGrant,
    crypto_sessions: Sequence[GenericIdEntry],
    policies: Sequence[SP],
    initiator: str,
    responder: str,
    extensions: Sequence[EXT],
    keys: Sequence[KeyData],
    rand_i: bytes | None,
) -> bytes:
    policy, suite = grant.policy, grant.policy.suite
    longest = max(len(grant.mpk_i), longest_key((*grant.keys, *keys)), suite.rand_length)
    rand = env.random(longest) if rand_i is None else rand_i
    header = Header(
        data_type=DataType.TRANSFER_INIT,
        v=policy.flags.response_sent,
        prf=suite.prf,
        csb_id=env.csb_id(),
        map_type=CsIdMapType.GENERIC_ID if crypto_sessions else CsIdMapType.EMPTY,
        crypto_sessions=tuple(crypto_sessions),
    )
    timestamp = env.timestamp()
    protection = initial_message_keys(Prf(suite.prf, grant.mpk_i), header.csb_id, rand_i=rand)
    idr_i, idr_r = uri_identity(IdRole.INITIATOR, initiator), uri_identity(IdRole.RESPONDER, responder)
    before: list[Payload] = [
        T(timestamp=timestamp),
        RANDR(role=RandRole.INITIATOR, rand=rand),
        idr_i,
        idr_r,
        *policies,
    ]
    after: list[Payload] = list(extensions)
    if keys:
        after.append(seal_keys(keys, suite.encr_alg, protection, csb_id=header.csb_id, timestamp=timestamp))
    draft = Message.build(header, (*before, grant.ticket, *after, empty_v(suite)))
    covered = transfer_init_coverage(draft, idr_i.data + idr_r.data)
    mac = compute_mac(suite.mac_alg, protection.auth_key(suite.mac_alg), covered)
    v = V(auth_alg=suite.mac_alg, mac=mac)
    ticket = grant.ticket
    if grant.mpk_r is not None:
        ticket = ticket.with_data(initiator_data=make_initiator_data(suite, v, grant.mpk_r))
    return Message.build(header, (*before, ticket, *after, v)).raw


def carried_keys(
    env: Environment, message: Message, protection: ProtectionKeys, *, allowed: bool, what: str
) -> tuple[KeyData, ...]:
    """Return the session keys of a verified message's KEMAC, which the Ticket Policy must allow.

    Raises `InvalidTicketPolicy` when it does not (L and M flags), `MalformedMessage` for an MPK.
    """
    kemac = message.find(KEMAC)
    if kemac is None:
        return ()
    if not allowed:
        raise InvalidTicketPolicy("the Ticket Policy allows no keys here", field=f"{what} KEMAC")
    suite = suite_of(message.header.prf)
    suite.check_encryption(kemac.encr_alg, f"{what} KEMAC Encr alg")
    keys = open_keys(
        kemac,
        protection,
        csb_id=message.header.csb_id,
        timestamp=message.one(T).timestamp,
        limits=env.limits,
        what=what,
    )
    if any(not key.key_type.is_session_key for key in keys):
        raise MalformedMessage("an MPK is not sent in Ticket Transfer", field=f"{what} KEMAC")
    check_transported_keys(keys, suite, what)
    return keys


def joined_keys(*groups: Sequence[KeyData]) -> tuple[KeyData, ...]:
    """Return the keys of all groups; an SPI that names two of them raises `MalformedMessage`."""
    keys = tuple(key for group in groups for key in group)
    spis = [key.spi for key in keys if key.spi]
    if len(set(spis)) != len(spis):
        raise MalformedMessage("an SPI names two keys", field="KEMAC", section="RFC 6043 6.2.1")
    return keys


def own_keys(env: Environment, message: Message, protection: ProtectionKeys) -> tuple[KeyData, ...]:
    return carried_keys(env, message, protection, allowed=True, what="TRANSFER_INIT")


def id_data(message: Message, role: IdRole, known: str) -> bytes:
    """ID Data as the MAC covers it: as sent, or the name known where the payload is left out."""
    idr = message.find(IDR, role)
    return canonical(known).encode() if idr is None else idr.data


def check_rands(rand_i: bytes, rand_r: bytes, mpk: Secret, keys: Sequence[KeyData]) -> None:
    needed = max(len(mpk), longest_key(keys))
    if len(rand_i) + len(rand_r) < needed:
        raise MalformedMessage(
            f"RANDRi and RANDRr have {len(rand_i) + len(rand_r)} octets, the longest key has {needed}",
            field="RANDR",
            section="RFC 6043 12.1",
        )
