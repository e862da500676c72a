"""Carrying out the exchange of a vector: every message goes through the side that receives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, cached_property
from typing import TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sipmikey.keys.envelope import open_envelope
from sipmikey.keys.suite import suite_of
from sipmikey.mikey.certificate import PKE
from sipmikey.mikey.errors import LocalError, NotAuthorized
from sipmikey.mikey.message import Message
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TP
from sipmikey.ticket.base_ticket import TicketContents, open_ticket
from sipmikey.ticket.bundle import CryptoSessionBundle
from sipmikey.ticket.credentials import KmsKeyPair, PreSharedKey, TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.kms_exchange.client import KmsClientExchange
from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST, TICKET_RESOLVE, ExchangeKind
from sipmikey.ticket.kms_exchange.kms import AuthenticatedInit, KmsInit
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import TicketGrant, TicketRequest, grant_of
from sipmikey.ticket.resolve import (
    ResolveAtKms,
    ResolvedTicket,
    TicketResolve,
    check_initiator_data,
    resolve_locally,
)
from sipmikey.ticket.transfer import TransferInitiator, TransferResponder
from sipmikey.ticket.update import UpdateInitiator, UpdateResponder
from sipmikey.vectors.file import Vector, octets, part, text
from sipmikey.vectors.judge import (
    check_answered,
    check_grant,
    check_kms,
    check_parties,
    check_request,
    check_resolve,
    check_responder,
    check_sessions,
    check_transfer,
)

CLOCK_SKEW_S = 3600
"""Skew the vectors are judged with: their messages lie within half a minute of their ``now``."""

T = TypeVar("T")


@cache
def _private_key(pem: str) -> object:
    """Load a key once: loading checks its numbers, which takes longer than using it."""
    return load_pem_private_key(pem.encode(), None)


def private_key(credentials: Vector, what: str) -> rsa.RSAPrivateKey:
    """Load the RSA private key of a party; raise `LocalError` for another kind."""
    key = _private_key(text(credentials, "private_key", what))
    if not isinstance(key, rsa.RSAPrivateKey):
        raise LocalError(f"{what}: the private key is not RSA")
    return key


def certificate(credentials: Vector, what: str) -> x509.Certificate:
    """Load the certificate of a party."""
    return x509.load_pem_x509_certificate(text(credentials, "certificate", what).encode())


class Rehearsal:
    """An exchange vector, or one branch or reuse of it, with *replaced* messages put in.

    Each step runs when asked for, after the steps it needs, and raises what the receiving side raises.
    *outer* is the rehearsal whose request and TRANSFER_INIT a branch shares, or whose ticket is reused.
    ``one_way`` is the Responder's bundle of a transfer without response, once TRANSFER_INIT was judged.
    """

    def __init__(
        self,
        vector: Vector,
        *,
        own: Vector | None = None,
        outer: Rehearsal | None = None,
        replaced: Mapping[str, bytes] | None = None,
    ) -> None:
        self.vector = vector
        self.own = part(vector, "messages") if own is None else own
        self.outer = outer
        self._replaced = dict(replaced or {})
        self.one_way: CryptoSessionBundle | None = None
        self.mode = text(vector, "mode", "vector")
        now_ns = int(cast(int, vector["now"])) * 1_000_000_000
        # Randomness is drawn only for the substitute of an envelope that does not open.
        self.env = Environment(now_ns=lambda: now_ns, random=bytes, clock_skew_s=CLOCK_SKEW_S)
        identities = part(vector, "identities")
        self.initiator = text(identities, "initiator", "identities")
        self.responder = text(identities, "responder", "identities")
        self.kms = text(identities, "kms", "identities")
        named = self.own if "answerer" in self.own else identities
        self.answerer = text(named, "answerer", "identities") if "answerer" in named else self.responder
        overriding = self.own.get("credentials")
        self._credentials = part(vector, "credentials") | (overriding if isinstance(overriding, dict) else {})

    def raw(self, name: str) -> bytes:
        """Return a message of this branch, or of what it shares."""
        if name in self._replaced:
            return self._replaced[name]
        if name in self.own:
            return octets(self.own, name, "messages")
        if self.outer is not None:
            return self.outer.raw(name)
        return octets(self.own, name, "messages")

    def has(self, name: str) -> bool:
        """Return whether a message is in the vector."""
        return name in self._replaced or name in self.own or (self.outer is not None and self.outer.has(name))

    def branches(self) -> list[Rehearsal]:
        """Return the branches of a forked exchange."""
        return self._parts("branches")

    def reuses(self) -> list[Rehearsal]:
        """Return the later transfers with the same ticket."""
        return self._parts("reuse")

    def _parts(self, name: str) -> list[Rehearsal]:
        items = self.own.get(name, [])
        if not isinstance(items, list):
            raise LocalError(f"messages: {name} is not a list")
        return [
            Rehearsal(self.vector, own=item, outer=self, replaced=self._replaced)
            for item in items
            if isinstance(item, dict)
        ]

    def _shared(self, name: str, make: Callable[[], T]) -> T:
        """Let the outer rehearsal make what it has the messages for."""
        if self.outer is not None and name not in self.own:
            return cast(T, getattr(self.outer, name))
        return make()

    @cached_property
    def tpk(self) -> TicketProtectionKey:
        """The key that protects the ticket."""
        return TicketProtectionKey(key=Secret(octets(part(self.vector, "credentials"), "tpk", "credentials")))

    def key_pair(self) -> KmsKeyPair:
        """The KMS's key pair."""
        party = part(self._credentials, "kms")
        return KmsKeyPair(private_key=private_key(party, "kms"), certificate=certificate(party, "kms"))

    def inkey(self, role: str, message: str) -> Secret:
        """Return the PSK of a party, or the envelope key in its INIT message."""
        party = part(self._credentials, role)
        if "psk" in party:
            return Secret(octets(party, "psk", role))
        parsed = Message.parse(self.raw(message))
        length = suite_of(parsed.header.prf).key_length
        pair = self.key_pair()
        return open_envelope(
            pair.private_key, parsed.one(PKE).data, length=length, substitute=Secret(bytes(length))
        )

    def _at_kms(self, role: str, message: str, owner: str) -> AuthenticatedInit:
        init = KmsInit(self.env, self.raw(message))
        wanted = TICKET_REQUEST if message == "request_init" else TICKET_RESOLVE
        party = part(self._credentials, role)
        if "psk" in party:
            psk = PreSharedKey(key=Secret(octets(party, "psk", role)))
            authenticated = init.verify_psk(psk, owner=owner, kms=self.kms)
        else:
            anchors = [certificate(party, role)]
            authenticated = init.verify_pk(anchors=anchors, key_pairs=[self.key_pair()], kms=self.kms)
        if init.kind is not wanted:
            raise LocalError(f"{message} is of another exchange")
        if authenticated.identity != owner:
            raise NotAuthorized(f"the key of {owner} is used by {authenticated.identity}", field="IDR")
        return authenticated

    @cached_property
    def request_init(self) -> AuthenticatedInit:
        """REQUEST_INIT at the KMS."""
        authenticated = self._at_kms("initiator", "request_init", self.initiator)
        check_request(self.env, authenticated, kms=self.kms)
        return authenticated

    def _exchange(self, kind: ExchangeKind, role: str, message: str) -> KmsClientExchange:
        return KmsClientExchange(self.env, kind, self.raw(message), self.inkey(role, message))

    @cached_property
    def request_resp(self) -> TicketGrant:
        """REQUEST_RESP at the Initiator."""
        policy = TicketPolicy.of(Message.parse(self.raw("request_init")).one(TP), self.env.limits)
        exchange = self._exchange(TICKET_REQUEST, "initiator", "request_init")
        grant = TicketRequest(self.env, policy, exchange).receive(self.raw("request_resp"))
        check_grant(self.env, Message.parse(self.raw("request_resp")), policy, grant, kms=self.kms)
        return grant

    @cached_property
    def contents(self) -> TicketContents:
        """The ticket of TRANSFER_INIT, opened with the TPK."""
        ticket = Message.parse(self.raw("transfer_init")).one(TICKET)
        return open_ticket(ticket, TicketPolicy.of(ticket), self.tpk, self.env.limits)

    @cached_property
    def grant(self) -> TicketGrant:
        """What the Initiator holds: from the KMS, or from the ticket it made."""
        if self.outer is not None:
            return self.outer.grant
        if self.has("request_resp"):
            return self.request_resp
        ticket = Message.parse(self.raw("transfer_init")).one(TICKET)
        return grant_of(ticket, TicketPolicy.of(ticket), self.contents)

    @cached_property
    def transfer_initiator(self) -> TransferInitiator:
        """The Initiator that sent TRANSFER_INIT."""
        return TransferInitiator(
            self.env,
            self.grant,
            self.raw("transfer_init"),
            initiator=self.initiator,
            responder=self.responder,
        )

    @cached_property
    def transfer_init_early(self) -> TransferResponder:
        """TRANSFER_INIT at the Responder, before the ticket is resolved."""
        return TransferResponder(self.env, self.raw("transfer_init"), identity=self.answerer)

    @cached_property
    def resolve_init(self) -> ResolveAtKms:
        """RESOLVE_INIT at the KMS, the ticket opened."""
        asker = self._resolver()
        resolve = ResolveAtKms(self.env, self._at_kms("responder", "resolve_init", asker))
        resolve.open(self.tpk)
        message = Message.parse(self.raw("resolve_init"))
        check_resolve(self.env, message, resolve.policy, kms=self.kms, asker=self._entitled(asker))
        return resolve

    def _entitled(self, asker: str) -> str:
        """The name under which the ticket may be for *asker*: its own, its alias, or its group's."""
        policy = self.vector.get("kms_policy")
        groups = policy.get("groups", {}) if isinstance(policy, dict) else {}
        for group, members in groups.items() if isinstance(groups, dict) else ():
            if isinstance(members, list) and asker in members:
                return str(group)
        return self.answerer

    def _resolver(self) -> str:
        """The name under which the Responder asks the KMS, which may answer with another."""
        policy = self.vector.get("kms_policy")
        aliases = policy.get("aliases", {}) if isinstance(policy, dict) else {}
        for resolver, identity in aliases.items() if isinstance(aliases, dict) else ():
            if identity == self.answerer:
                return str(resolver)
        return self.answerer

    @cached_property
    def resolve_resp(self) -> ResolvedTicket:
        """RESOLVE_RESP at the Responder."""
        ticket = Message.parse(self.raw("resolve_init")).one(TICKET)
        exchange = self._exchange(TICKET_RESOLVE, "responder", "resolve_init")
        resolved = TicketResolve(self.env, ticket, exchange).receive(self.raw("resolve_resp"))
        check_kms(Message.parse(self.raw("resolve_resp")), self.kms)
        return resolved

    @cached_property
    def resolved(self) -> ResolvedTicket:
        """The ticket as the Responder holds it: from the KMS, from an earlier transfer, or opened itself."""
        if self.has("resolve_resp"):
            return self._shared("resolve_resp", lambda: self.resolve_resp)
        return resolve_locally(self.env, self.transfer_init_early.ticket, self.tpk, identity=self.answerer)

    @cached_property
    def transfer_init(self) -> TransferResponder:
        """TRANSFER_INIT at the Responder, verified with the keys of the resolved ticket."""
        early = self.transfer_init_early
        early.verify(self.resolved)
        check_responder(early.policy, self._entitled(self.answerer))
        check_parties(early, initiator=self.initiator, responder=self.responder, kms=self.kms)
        self.one_way = check_transfer(early)
        return early

    def transfer_init_at_kms(self) -> None:
        """Judge the TICKET of TRANSFER_INIT as the KMS does when it is asked to resolve it."""
        ticket = Message.parse(self.raw("transfer_init")).one(TICKET)
        policy = TicketPolicy.of(ticket)
        contents = open_ticket(ticket, policy, self.tpk, self.env.limits)
        policy.check_validity(self.env.now_ns())
        check_initiator_data(ticket, policy, contents.mpk_r, self.env.limits)

    @cached_property
    def transfer_resp(self) -> CryptoSessionBundle:
        """TRANSFER_RESP at the Initiator."""
        bundle = self.transfer_initiator.receive(self.raw("transfer_resp"))
        check_answered(Message.parse(self.raw("transfer_init")), bundle)
        return bundle

    @cached_property
    def bundle(self) -> CryptoSessionBundle:
        """The bundle at the Initiator, with TRANSFER_RESP or without."""
        if self.has("transfer_resp"):
            return self.transfer_resp
        return self.transfer_initiator.established()

    def _sides(self, number: int) -> tuple[CryptoSessionBundle, CryptoSessionBundle]:
        """The bundles of who starts update *number* and of who receives it."""
        bundle = self.bundle if number == 1 else self.update_resp(number - 1)
        started_by = self.vector.get(f"{_update(number)}_from", "initiator")
        if started_by not in ("initiator", "responder"):
            raise LocalError(f"{_update(number)}_from is neither initiator nor responder")
        other = _other_side(bundle)
        return (bundle, other) if bundle.is_initiator == (started_by == "initiator") else (other, bundle)

    def update_init(self, number: int = 1) -> UpdateResponder:
        """The TRANSFER_INIT of a CSB update at who receives it."""
        _, receiver = self._sides(number)
        update = UpdateResponder(self.env, receiver, self.raw(f"{_update(number)}_init"))
        check_sessions(update.crypto_sessions, update.policies)
        return update

    def update_resp(self, number: int = 1) -> CryptoSessionBundle:
        """The TRANSFER_RESP of a CSB update at who started it; its bundle then."""
        sender, _ = self._sides(number)
        update = UpdateInitiator(self.env, sender, self.raw(f"{_update(number)}_init"))
        if not self.has(f"{_update(number)}_resp"):
            return update.without_response()
        return update.receive(self.raw(f"{_update(number)}_resp"))

    def holder(self, name: str) -> Rehearsal:
        """Return the part that has a message: this one, or the first branch or reuse with it."""
        if self.has(name) and name in self.own:
            return self
        return next((item for item in (*self.branches(), *self.reuses()) if name in item.own), self)

    def run(self, name: str) -> object:
        """Carry out the step that receives a message."""
        for number in (1, 2):
            if name == f"{_update(number)}_init":
                return self.update_init(number)
            if name == f"{_update(number)}_resp":
                return self.update_resp(number)
        if name not in STEPS:
            raise LocalError(f"unknown message {name!r}")
        return getattr(self, name)


STEPS = ("request_init", "request_resp", "transfer_init", "resolve_init", "resolve_resp", "transfer_resp")
"""Messages of an exchange without updates, in the order of the vectors."""


def _update(number: int) -> str:
    return "update" if number == 1 else f"update_{number}"


def _other_side(bundle: CryptoSessionBundle) -> CryptoSessionBundle:
    """Return the same bundle as the peer holds it."""
    return replace(bundle, is_initiator=not bundle.is_initiator, sent=bundle.received, received=bundle.sent)
