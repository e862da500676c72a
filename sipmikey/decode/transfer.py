"""Verifying Ticket Transfer and CSB updates that were captured, and the SRTP keys that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from sipmikey.decode.explain.node import Finding, Node
from sipmikey.decode.results import (
    Init,
    Names,
    OpenedMessage,
    key_group,
    open_kemac,
    proven,
    session_group,
    unknown,
)
from sipmikey.keys.derivation import initial_message_keys, response_message_keys
from sipmikey.keys.mac import verify_mac
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import suite_of
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import DataType, IdRole, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SP, policies_by_number
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import V
from sipmikey.ticket.bundle import CryptoSessionBundle, session_rands, static_payloads
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.protection import verify
from sipmikey.ticket.resolve import Modifier, check_initiator_data, fork_keys
from sipmikey.ticket.transfer_message import transfer_init_coverage
from sipmikey.ticket.update import UpdateInitiator, UpdateResponder

_ANY_TIME = Environment(now_ns=lambda: 0, random=bytes, clock_skew_s=1 << 40)
"""A capture may be of any age, and nothing is drawn."""

Seen = Iterator[Finding | Node]


class Transfers:
    """The Ticket Transfers and bundles seen so far, by CSB ID."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._inits: dict[int, Init] = {}
        self._bundles: dict[int, CryptoSessionBundle] = {}
        self._updates: dict[int, UpdateInitiator] = {}

    def init(self, csb_id: int) -> Init | None:
        """Return the TRANSFER_INIT of a CSB ID, if it verified."""
        return self._inits.get(csb_id)

    def look(self, message: Message, tickets: Mapping[bytes, OpenedMessage], has_tpk: bool) -> Seen:
        """Verify a TRANSFER_INIT or TRANSFER_RESP, of an initial exchange or an update."""
        csb_id = message.header.csb_id
        if message.header.data_type is DataType.TRANSFER_RESP:
            if csb_id in self._updates:
                yield from self._update_resp(message)
            else:
                yield from self._transfer_resp(message, tickets)
        elif csb_id in self._bundles:
            yield from self._update_init(message)
        elif not message.all(TICKET):
            yield unknown("an update of a bundle whose set-up was not seen or not verified")
        elif (opened := tickets.get(message.one(TICKET).ticket_data)) is not None:
            yield from self._transfer_init(message, opened)
        elif not has_tpk:
            yield unknown("the MAC is of a key in the ticket, which none of the keys given opens")

    def _identities(self, message: Message, policy: TicketPolicy) -> tuple[bytes, bytes]:
        owner = (policy.initiator or "").encode()
        names = replace(self._names, initiator=owner or self._names.initiator)
        return names.of(message, IdRole.INITIATOR), names.of(message, IdRole.RESPONDER)

    def _transfer_init(self, message: Message, opened: OpenedMessage) -> Seen:
        ticket = message.one(TICKET)
        policy = TicketPolicy.of(ticket)
        rand = message.one(RANDR, RandRole.INITIATOR).rand
        prf = Prf(message.header.prf, opened.mpk_i)
        protection = initial_message_keys(prf, message.header.csb_id, rand_i=rand)
        v = message.one(V)
        covered = transfer_init_coverage(message, b"".join(self._identities(message, policy)))
        verify_mac(v.auth_alg, protection.auth_key(v.auth_alg), covered, v.mac, "V")
        yield proven("the MAC verifies with the ticket's MPKi", "V")
        if opened.mpk_r is not None and policy.flags.key_forking:
            check_initiator_data(ticket, policy, opened.mpk_r, DEFAULT_LIMITS)
            yield proven("Initiator Data verifies: the owner of the ticket sent it", "Initiator Data")
        if message.all(KEMAC):
            yield key_group("keys of the Initiator", open_kemac(message, protection))
        init = Init(message, opened.mpk_i, protection, rand_i=rand)
        self._inits[message.header.csb_id] = init
        if not policy.flags.response_sent:
            yield from self._established(init, message, opened.keys)

    def _transfer_resp(self, message: Message, tickets: Mapping[bytes, OpenedMessage]) -> Seen:
        init = self._inits.get(message.header.csb_id)
        if init is None:
            yield unknown("the TRANSFER_INIT, which the MAC covers, was not seen or not verified")
            return
        ticket = init.message.one(TICKET)
        policy = TicketPolicy.of(ticket)
        mpk, keys = _branch(message, tickets[ticket.ticket_data], policy)
        rand_r = message.one(RANDR, RandRole.RESPONDER).rand if policy.flags.randr_r else b""
        protection = response_message_keys(
            Prf(message.header.prf, mpk), message.header.csb_id, rand_i=init.rand_i, rand_r=rand_r
        )
        verify(message, suite_of(message.header.prf), protection, init.message.raw)
        yield proven("the MAC verifies with the branch's MPK", "V")
        if message.all(KEMAC):
            yield key_group("keys of the Responder", open_kemac(message, protection))
        answered = Init(message, mpk, protection, rand_i=init.rand_i, rand_r=rand_r)
        yield from self._established(answered, init.message, keys)

    def _established(self, last: Init, first: Message, keys: tuple[KeyData, ...]) -> Seen:
        """Remember the bundle that *first* and the *last* message of the initial exchange make."""
        message = last.message
        policy = TicketPolicy.of(first.one(TICKET))
        carried = self._inits[first.header.csb_id]
        for own in (carried, last) if message is not first else (carried,):
            if own.message.all(KEMAC):
                keys = (*keys, *open_kemac(own.message, own.protection))
        identity_i, called = self._identities(first, policy)
        answered = message.all(IDR, IdRole.RESPONDER)
        bundle = CryptoSessionBundle(
            csb_id=first.header.csb_id,
            is_initiator=True,
            suite=suite_of(first.header.prf),
            policy=policy,
            identity_i=identity_i,
            identity_r=answered[0].data if answered else called,
            entries=message.header.generic_ids(),
            policies=policies_by_number(first.all(SP)) | policies_by_number(message.all(SP)),
            keys=keys,
            rands=session_rands(policy, last.rand_i, last.rand_r),
            protection=last.protection,
            sent=first.one(T).timestamp,
            received=message.one(T).timestamp,
            static=static_payloads((*first.payloads, *message.payloads)),
        )
        self._bundles[bundle.csb_id] = bundle
        yield session_group(bundle.crypto_sessions)

    def _update_init(self, message: Message) -> Seen:
        """Verify the initial message of an update, whichever side sent it."""
        bundle = self._bundles[message.header.csb_id]
        sender, receiver = _sender(bundle, message)
        update = UpdateResponder(_ANY_TIME, receiver, message.raw)
        yield proven("a CSB update: the MAC verifies with the keys of the set-up", "V")
        if message.all(KEMAC):
            yield key_group("new keys", open_kemac(message, bundle.protection))
        if update.response_expected:
            self._updates[bundle.csb_id] = UpdateInitiator(_ANY_TIME, sender, message.raw)
        else:
            self._bundles[bundle.csb_id] = update.accept()
            yield session_group(self._bundles[bundle.csb_id].crypto_sessions)

    def _update_resp(self, message: Message) -> Seen:
        bundle = self._updates[message.header.csb_id].receive(message.raw)
        del self._updates[bundle.csb_id]
        yield proven("a CSB update: the MAC verifies with the keys of the set-up", "V")
        if message.all(KEMAC):
            yield key_group("new keys", open_kemac(message, bundle.protection))
        self._bundles[bundle.csb_id] = bundle
        yield session_group(bundle.crypto_sessions)


def _branch(
    message: Message, opened: OpenedMessage, policy: TicketPolicy
) -> tuple[Secret, tuple[KeyData, ...]]:
    """Return the MPK and session keys of the branch that answered."""
    if not policy.flags.key_forking:
        return opened.mpk_i, opened.keys
    if opened.mpk_r is not None:
        modifier = Modifier(
            idr=message.one(IDR, IdRole.RESPONDER), rand_kms=message.one(RANDR, RandRole.KMS).rand
        )
        return fork_keys(policy.suite, opened.mpk_r, opened.keys, modifier)
    if opened.forked_mpk_r is None:
        raise LocalError("the forked keys of this branch are not known")
    return opened.forked_mpk_r, opened.forked_keys


def _sender(bundle: CryptoSessionBundle, message: Message) -> tuple[CryptoSessionBundle, CryptoSessionBundle]:
    """Return the bundle as the sender of an update holds it, and as the receiver does.

    The message does not say who sent it; the order of its identities usually does, and what the Ticket
    Policy allows each side decides.
    """
    other = replace(bundle, is_initiator=not bundle.is_initiator, sent=bundle.received, received=bundle.sent)
    roles = [item.role for item in message.all(IDR)]
    sides = [(bundle, other), (other, bundle)]
    if (roles[:1] == [IdRole.RESPONDER]) == bundle.is_initiator:
        sides.reverse()
    try:
        UpdateResponder(_ANY_TIME, sides[0][1], message.raw)
    except PeerError:
        return sides[1]
    return sides[0]
