"""A user agent under test: it is called, and asks the KMS that this suite is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sipmikey.conformance.forge import Edit, Forger, flipped
from sipmikey.conformance.kms_subject import FORKING, KmsSubject, Reply
from sipmikey.conformance.requirement import BrokenRequirementError, check
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import DataType
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.verification import V
from sipmikey.sdp.attribute import find, format_value
from sipmikey.sdp.document import Document
from sipmikey.sdp.offer import Offerer
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.resolve import make_initiator_data

OFFER = """\
v=0
o=- 3900000000 1 IN IP4 {address}
s=-
c=IN IP4 {address}
t=0 0
m=audio 40000 RTP/SAVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
""".replace("\n", "\r\n")
_MAX_OCTETS = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """How a call ended up: the final status, the answer (empty without one), and the peer's words."""

    status: int
    sdp: str = ""
    warning: str = ""

    @property
    def answered(self) -> bool:
        """True where the call was taken."""
        return 200 <= self.status < 300

    def describe(self) -> str:
        """Say what it is, for a report."""
        return f"{self.status} {self.warning}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCall:
    """A call that was taken: TRANSFER_INIT and TRANSFER_RESP, and what verifies the second."""

    offerer: Offerer
    grant: TicketGrant
    init: Message
    response: Message
    sdp: str


Call = Callable[[str, str], CallOutcome]
"""(caller's URI, offer) -> how the call ended up."""


@dataclass(slots=True)
class Door:
    """Stands before the KMS of the suite: what the agent under test asks passes here.

    ``misbehave`` changes the next RESOLVE_RESP, given RESOLVE_INIT, and is then forgotten.
    ``resolves`` counts what came.
    """

    answer: Callable[[str, bytes], Reply]
    misbehave: Callable[[bytes, Reply], Reply] | None = None
    resolves: int = 0

    def __call__(self, kind: str, octets: bytes) -> Reply:
        reply = self.answer(kind, octets)
        if kind != "ticketresolve":
            return reply
        self.resolves += 1
        change, self.misbehave = self.misbehave, None
        return reply if change is None else change(octets, reply)


@dataclass(slots=True, kw_only=True)
class AgentSubject:
    """The user agent of ``kms.responder``, called by ``kms.initiator``. ``address`` is in offers."""

    kms: KmsSubject
    call: Call
    door: Door
    address: str = "127.0.0.1"
    _taken: list[AcceptedCall] = field(default_factory=list)

    def offer(self) -> tuple[Offerer, TicketGrant, str]:
        """Return an offer with a ticket of its own."""
        asked = self.kms.ask(FORKING, fresh=True)
        grant = asked.request.receive(asked.response.raw)
        offerer = Offerer(
            self.kms.env, grant=grant, called=self.kms.responder.uri, identity=self.kms.initiator.uri
        )
        return offerer, grant, offerer.make_offer(OFFER.format(address=self.address))

    def taken(self, number: int = 0) -> AcceptedCall:
        """Return a call that was taken and answered with a message; made once and kept."""
        while len(self._taken) <= number:
            offerer, grant, text = self.offer()
            called = self.call(self.kms.initiator.uri, text)
            check(called.answered, f"an offer that is in order got {called.describe()}")
            self._taken.append(
                AcceptedCall(
                    offerer=offerer,
                    grant=grant,
                    init=Message.parse(offerer.transfer_init),
                    response=Message.parse(carried(called.sdp)),
                    sdp=called.sdp,
                )
            )
        return self._taken[number]

    def refuses(self, offer: str, *, caller: str | None = None) -> None:
        """Call with an offer that has to be refused."""
        called = self.call(caller or self.kms.initiator.uri, offer)
        check(not called.answered, "the call was taken")
        check(called.status >= 300, "no final answer came")

    def refuses_message(self, edit: Edit = list, **options: Any) -> None:
        """Call with a TRANSFER_INIT that was edited and protected again."""
        offerer, grant, text = self.offer()
        self.refuses(carrying(text, self.variant(offerer, grant, edit, **options)))

    def variant(
        self,
        offerer: Offerer,
        grant: TicketGrant,
        edit: Edit = list,
        *,
        right_mac: bool = True,
        **options: Any,
    ) -> bytes:
        """Return TRANSFER_INIT edited, with a MAC that is right (or not) and Initiator Data made for it."""
        message = Message.parse(offerer.transfer_init)
        following = (canonical(self.kms.initiator.uri) + canonical(self.kms.responder.uri)).encode()
        forger = Forger(message=message, inkey=grant.mpk_i, following=following)
        draft = forger.variant(edit, **options)
        draft = draft if right_mac else flipped(draft)
        try:
            changed = Message.parse(draft)
        except PeerError as error:
            raise LocalError(f"the variant does not parse: {error}") from error
        if grant.mpk_r is None:
            return draft
        data = make_initiator_data(forger.suite, changed.one(V), grant.mpk_r)
        payloads = [
            item.with_data(initiator_data=data) if isinstance(item, TICKET) and item.initiator_data else item
            for item in changed.payloads
        ]
        return Message.build(changed.header, payloads).raw

    def refuses_kms(self, change: Callable[[Forger, Message], bytes]) -> None:
        """Call while the KMS answers the agent's RESOLVE_INIT with a response that was changed."""

        def misbehave(octets: bytes, reply: Reply) -> Reply:
            init, response = Message.parse(octets), Message.parse(reply.body)
            forger = Forger(message=response, inkey=self.kms.responder.key, following=octets)
            return Reply(status=200, body=change(forger, init))

        self._refuses_reply(misbehave)

    def refuses_without_keys(self) -> None:
        """Call while the KMS refuses to resolve the ticket."""
        self._refuses_reply(lambda _, __: Reply(status=403, body=b""))

    def _refuses_reply(self, misbehave: Callable[[bytes, Reply], Reply]) -> None:
        _, _, text = self.offer()
        before, self.door.misbehave = self.door.resolves, misbehave
        try:
            self.refuses(text)
            check(self.door.resolves > before, "the agent did not ask the KMS")
        finally:
            self.door.misbehave = None


def carried(sdp: str) -> bytes:
    """Return the message of an answer; raise `BrokenRequirementError` without one."""
    found = find(Document.parse(sdp), max_bytes=_MAX_OCTETS)
    if not found:
        raise BrokenRequirementError("the answer has no a=key-mgmt:mikey")
    return found[0].message


def carrying(sdp: str, message: bytes | str) -> str:
    """Return a description with another message in its a=key-mgmt lines: octets, or the attribute."""
    text = message if isinstance(message, str) else format_value(message)
    lines = [f"a={text}" if line.startswith("a=key-mgmt:") else line for line in sdp.split("\r\n")]
    return "\r\n".join(lines)


def without_keys(sdp: str) -> str:
    """Return a description without its a=key-mgmt lines."""
    return "\r\n".join(line for line in sdp.split("\r\n") if not line.startswith("a=key-mgmt:"))


def is_response(message: Message) -> bool:
    """Return whether a message is a TRANSFER_RESP."""
    return message.header.data_type is DataType.TRANSFER_RESP
