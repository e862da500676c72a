"""The parts of Ticket Transfer messages, shared by both sides (RFC 6043 sections 4.2.2 and 5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipmikey.keys.derivation import ProtectionKeys, initial_message_keys
from sipmikey.keys.mac import compute_mac, verify_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import Suite, suite_of
from sipmikey.keys.transport import open_keys, seal_keys
from sipmikey.mikey.errors import (
    AuthenticationFailure,
    InvalidIdentity,
    InvalidTicket,
    InvalidTicketPolicy,
    MalformedMessage,
    UnexpectedMessage,
    UnsupportedDataType,
    UnsupportedPrf,
)
from sipmikey.mikey.header import GenericIdEntry, Header
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, DataType, IdRole, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, policies_by_number
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T, Timestamp
from sipmikey.mikey.verification import EXT, V
from sipmikey.native import native
from sipmikey.ticket.bundle import check_policies, generic_ids, longest_key
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical, identity_text, uri_identity
from sipmikey.ticket.key_rules import check_transported_keys
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.protection import empty_v, last_v
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.resolve import make_initiator_data, read_initiator_data


def transfer_init_coverage(message: Message, identities: bytes) -> bytes:
    """Return what the MAC of TRANSFER_INIT covers (RFC 6043 section 5.5).

    That is the message without its MAC, Initiator Data and Initiator Data length, then the identities.
    """
    mac_length = len(message.one(V).mac)
    return message.without_initiator_data()[:-mac_length] + identities


@native
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
        raise MalformedMessage("an SPI names two keys", field="KEMAC", section="RFC 6043 section 6.2.1")
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
            section="RFC 6043 section 12.1",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedInit:
    """A TRANSFER_INIT as the Responder reads it before the ticket is resolved: see `TransferResponder`.

    ``identity_i`` and ``identity_r`` are the ID Data that its MAC covers.
    """

    message: Message
    ticket: TICKET
    policy: TicketPolicy
    suite: Suite
    timestamp: Timestamp
    rand_i: bytes
    initiator: str
    responder: str
    identity_i: bytes
    identity_r: bytes
    crypto_sessions: tuple[GenericIdEntry, ...]
    policies: dict[int, SP]
    extensions: tuple[EXT, ...]


@native
def read_transfer_init(env: Environment, data: bytes, identity: str) -> ReceivedInit:
    """Parse TRANSFER_INIT and check it early, as `TransferResponder` says."""
    message = Message.parse(data, env.limits)
    header = message.header
    if header.data_type is not DataType.TRANSFER_INIT:
        raise UnsupportedDataType(
            f"expected TRANSFER_INIT, got {header.data_type.name}", field="data type", offset=1
        )
    ticket = message.find(TICKET)
    if ticket is None:
        raise UnexpectedMessage("no TICKET: a CSB update of an unknown bundle", field="TICKET")
    policy = TicketPolicy.of(ticket, env.limits)
    suite = suite_of(header.prf)
    timestamp = message.one(T).timestamp
    env.check_timestamp(timestamp, "TRANSFER_INIT")
    rand_i = message.one(RANDR, RandRole.INITIATOR).rand
    _check_policy(env, policy, suite)
    idr_i = message.find(IDR, IdRole.INITIATOR)
    idr_r = message.find(IDR, IdRole.RESPONDER)
    claimed = policy.initiator if idr_i is None else identity_text(idr_i)
    if claimed is None:
        raise InvalidIdentity("neither TRANSFER_INIT nor the ticket names the Initiator", field="IDRi")
    responder = identity if idr_r is None else identity_text(idr_r)
    identity_i = claimed.encode() if idr_i is None else idr_i.data
    identity_r = canonical(identity).encode() if idr_r is None else idr_r.data
    crypto_sessions = generic_ids(header)
    policies = policies_by_number(message.all(SP))
    check_policies(crypto_sessions, policies)
    if header.map_type is CsIdMapType.EMPTY and policies:
        raise MalformedMessage("SP is not used with the Empty map", field="SP", section="RFC 4563 5")
    _check_message(env, message, ticket, policy, suite)
    return ReceivedInit(
        message=message,
        ticket=ticket,
        policy=policy,
        suite=suite,
        timestamp=timestamp,
        rand_i=rand_i,
        initiator=claimed,
        responder=responder,
        identity_i=identity_i,
        identity_r=identity_r,
        crypto_sessions=crypto_sessions,
        policies=policies,
        extensions=message.all(EXT),
    )


def _check_policy(env: Environment, policy: TicketPolicy, suite: Suite) -> None:
    if not policy.flags.standard_responder:
        raise InvalidTicket("O is 0: the ticket needs processing that is unknown here", field="TICKET flags")
    policy.check_type()
    policy.check_validity(env.now_ns())
    if suite is not policy.suite:
        raise UnsupportedPrf(
            "HDR and Ticket Policy name PRFs of different suites",
            field="PRF func",
            section="RFC 6043 section 12.1",
        )


def _check_message(
    env: Environment, message: Message, ticket: TICKET, policy: TicketPolicy, suite: Suite
) -> None:
    v = last_v(message, suite)
    kemac = message.find(KEMAC)
    if kemac is not None:
        if not policy.flags.initiator_keys:
            raise InvalidTicketPolicy("L is 0 but the Initiator sends keys", field="KEMAC")
        suite.check_encryption(kemac.encr_alg, "KEMAC Encr alg")
    if policy.flags.key_forking:
        vi, _ = read_initiator_data(ticket, policy.suite, env.limits)
        if Secret(vi.mac) != Secret(v.mac):
            raise AuthenticationFailure(
                "Vi is not the MAC of this message",
                field="Initiator Data Vi",
                section="RFC 6043 section 4.2.3.6",
            )
    elif ticket.initiator_data:
        raise MalformedMessage("is there without key forking", field="Initiator Data")


@native
def verify_transfer_init(
    message: Message, suite: Suite, protection: ProtectionKeys, identities: bytes
) -> None:
    """Check the MAC of TRANSFER_INIT, over the message and *identities*; raise `AuthenticationFailure`."""
    v = last_v(message, suite)
    covered = transfer_init_coverage(message, identities)
    verify_mac(v.auth_alg, protection.auth_key(v.auth_alg), covered, v.mac, "TRANSFER_INIT V")
