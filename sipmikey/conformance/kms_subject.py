"""A KMS under test: how it is asked, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sipmikey.conformance.authority import CertifiedParties
from sipmikey.conformance.forge import Forger
from sipmikey.conformance.requirement import check
from sipmikey.keys.suite import SUITE_256, Suite
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import DataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TicketFlags
from sipmikey.ticket.credentials import PreSharedKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.policy import RequestedKey, TicketPolicy
from sipmikey.ticket.request import TicketGrant, TicketRequest
from sipmikey.ticket.resolve import ResolvedTicket, TicketResolve
from sipmikey.ticket.transfer import TransferInitiator

REQUEST, RESOLVE = "ticketrequest", "ticketresolve"
FORKING = TicketFlags.of("DEFGHINO")
PLAIN = TicketFlags.of("DEFGHNO")
_VALIDITY_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A subscriber of the KMS, by its URI and the key it shares with the KMS."""

    uri: str
    key: Secret
    key_id: bytes | None = None

    @property
    def credential(self) -> PreSharedKey:
        """The key as the ticket room takes it."""
        return PreSharedKey(key=self.key, key_id=self.key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the KMS answered: the HTTP status, and the body, empty without one."""

    status: int
    body: bytes

    @property
    def message(self) -> Message | None:
        """The MIKEY message in the body, None where it is none."""
        try:
            return Message.parse(self.body)
        except PeerError:
            return None

    @property
    def is_response(self) -> bool:
        """True where the KMS gave keys: REQUEST_RESP or RESOLVE_RESP, in order or not."""
        kinds = (DataType.REQUEST_RESP, DataType.RESOLVE_RESP)
        return len(self.body) > 1 and self.body[0] == 1 and self.body[1] in kinds

    def describe(self) -> str:
        """Say what it is, for a report."""
        message = self.message
        kind = "no MIKEY message" if message is None else message.header.data_type.name
        return f"status {self.status} with {kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredRequest:
    """A Ticket Request and what came back."""

    request: TicketRequest
    init: Message
    response: Message
    forger: Forger
    rands: tuple[RANDR, ...]


Post = Callable[[str, bytes], Reply]


@dataclass(slots=True, kw_only=True)
class KmsSubject:
    """The KMS. ``initiator`` may have tickets for ``responder``; both are its subscribers.

    ``stranger``, where given, is a third subscriber, for whom no ticket is asked. ``certified`` has the
    certificates for the public-key variants.
    """

    env: Environment
    post: Post
    kms: str
    initiator: Party
    responder: Party
    stranger: Party | None = None
    certified: CertifiedParties | None = None
    suite: Suite = SUITE_256
    _asked: dict[str, AnsweredRequest] = field(default_factory=dict)

    def policy(self, flags: TicketFlags = FORKING, **fields: object) -> TicketPolicy:
        """Return the policy that is asked for unless a requirement is about another."""
        end = self.env.now_ns() // 1_000_000_000 + _VALIDITY_S
        wanted: dict[str, object] = {
            "suite": self.suite,
            "flags": flags,
            "responders": (canonical(self.responder.uri),),
            "initiator": canonical(self.initiator.uri),
            "kms": canonical(self.kms),
            "valid_until": self.env.timestamp().ntp_utc_32(end),
            "requested_keys": (RequestedKey(length=self.suite.key_length),),
        }
        return TicketPolicy(**(wanted | fields))  # type: ignore[arg-type]

    def request(self, policy: TicketPolicy | None = None, party: Party | None = None) -> TicketRequest:
        """Make a REQUEST_INIT."""
        party = party or self.initiator
        return TicketRequest.start(
            self.env,
            policy=policy or self.policy(),
            credential=party.credential,
            identity=party.uri,
            kms=self.kms,
        )

    def request_forger(self, party: Party | None = None) -> Forger:
        """Return a forger of a new REQUEST_INIT."""
        party = party or self.initiator
        following = (canonical(party.uri) + canonical(self.kms)).encode()
        message = Message.parse(self.request(party=party).message)
        return Forger(message=message, inkey=party.key, following=following)

    def ask(self, flags: TicketFlags = FORKING, *, fresh: bool = False) -> AnsweredRequest:
        """Return a Ticket Request that was answered; the same one again unless *fresh*.

        Raises `BrokenRequirementError` where the KMS gives no REQUEST_RESP.
        """
        if fresh or str(flags) not in self._asked:
            request = self.request(self.policy(flags))
            reply = self.post(REQUEST, request.message)
            response = reply.message
            check(
                reply.status == 200 and response is not None and reply.is_response,
                f"a REQUEST_INIT that is in order got {reply.describe()}",
            )
            assert response is not None
            init = Message.parse(request.message)
            self._asked[str(flags)] = AnsweredRequest(
                request=request,
                init=init,
                response=response,
                forger=Forger(message=response, inkey=self.initiator.key, following=request.message),
                rands=init.all(RANDR),
            )
        return self._asked[str(flags)]

    def grant(self, flags: TicketFlags = FORKING) -> TicketGrant:
        """Return the ticket and keys of a Ticket Request."""
        asked = self.ask(flags)
        return asked.request.receive(asked.response.raw)

    def ticket(self, flags: TicketFlags = FORKING) -> TICKET:
        """Return a ticket as it stands in a TRANSFER_INIT, with Initiator Data where keys are forked."""
        transfer = TransferInitiator.start(
            self.env,
            self.grant(flags),
            crypto_sessions=(),
            policies=(),
            initiator=self.initiator.uri,
            responder=self.responder.uri,
        )
        return Message.parse(transfer.message).one(TICKET)

    def resolve(self, ticket: TICKET | None = None, party: Party | None = None) -> TicketResolve:
        """Make a RESOLVE_INIT."""
        party = party or self.responder
        return TicketResolve.start(
            self.env,
            ticket=ticket or self.ticket(),
            credential=party.credential,
            identity=party.uri,
            kms=self.kms,
        )

    def resolve_forger(self, ticket: TICKET | None = None) -> Forger:
        """Return a forger of a new RESOLVE_INIT."""
        following = (canonical(self.responder.uri) + canonical(self.kms)).encode()
        message = Message.parse(self.resolve(ticket).message)
        return Forger(message=message, inkey=self.responder.key, following=following)

    def resolved(self, flags: TicketFlags = FORKING) -> tuple[Message, Message, ResolvedTicket]:
        """Return RESOLVE_INIT, RESOLVE_RESP and the keys of a Ticket Resolve that was answered."""
        resolve = self.resolve(self.ticket(flags))
        reply = self.post(RESOLVE, resolve.message)
        check(
            reply.status == 200 and reply.is_response,
            f"a RESOLVE_INIT that is in order got {reply.describe()}",
        )
        return Message.parse(resolve.message), Message.parse(reply.body), resolve.receive(reply.body)

    def refuses(self, kind: str, octets: bytes) -> None:
        """Send a message that has to be refused; raise `BrokenRequirementError` where keys come back."""
        reply = self.post(kind, octets)
        check(not reply.is_response, f"it was answered: {reply.describe()}")
        check(reply.status != 200 or reply.message is not None, f"a refusal with {reply.describe()}")
