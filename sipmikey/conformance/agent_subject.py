"""A user agent under test: it is called, and asks the KMS that this suite is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

from sipmikey.conformance.forge import Edit, Forger, flipped
from sipmikey.conformance.kms_subject import FORKING, REQUEST, KmsSubject, Reply
from sipmikey.conformance.requirement import BrokenRequirementError, NotTestableError, check
from sipmikey.keys.envelope import open_envelope
from sipmikey.mikey.certificate import PKE
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import DataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TicketFlags
from sipmikey.mikey.verification import V
from sipmikey.sdp.attribute import find, format_value
from sipmikey.sdp.document import Document
from sipmikey.sdp.offer import Offerer
from sipmikey.ticket.credentials import KmsKeyPair, TicketProtectionKey
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.resolve import make_initiator_data

OFFER = """\
v=0
o=- 3900000000 {version} IN IP4 {address}
s=-
c=IN IP4 {address}
t=0 0
m=audio 40000 RTP/SAVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
""".replace("\n", "\r\n")
_MAX_OCTETS = 65_535
_BUSY, _BUSY_S, _ATTEMPTS = 486, 0.5, 5


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

    def check_refused(self, otherwise: str) -> None:
        """Raise `BrokenRequirementError` where it was taken, in the words *otherwise*, or not answered."""
        check(not self.answered, otherwise)
        check(self.status >= 300, "no final answer came")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedCall:
    """A call that was taken: TRANSFER_INIT and TRANSFER_RESP, and what verifies the second."""

    offerer: Offerer
    grant: TicketGrant
    init: Message
    response: Message
    sdp: str

    def open(self) -> None:
        """Verify the answer and derive its keys, as the caller does. Raises `PeerError`."""
        self.offerer.receive_answer("conformance", self.sdp)


class Dialog(Protocol):
    """A call that was made and goes on until its context ends."""

    @property
    def called(self) -> CallOutcome:
        """How the first offer was answered."""

    def offer(self, sdp: str) -> CallOutcome:
        """Send another offer within the call and return how it was answered."""


Dial = Callable[[str, str], AbstractContextManager[Dialog]]
"""(caller's URI, offer) -> the call."""


@dataclass(slots=True)
class Door:
    """Stands before the KMS of the suite: what the agent under test asks passes here.

    ``misbehave`` changes the next RESOLVE_RESP, given RESOLVE_INIT, and is then forgotten.
    ``asked`` has each RESOLVE_INIT that came.
    """

    answer: Callable[[str, bytes], Reply]
    misbehave: Callable[[bytes, Reply], Reply] | None = None
    asked: list[bytes] = field(default_factory=list)

    def __call__(self, kind: str, octets: bytes) -> Reply:
        reply = self.answer(kind, octets)
        if kind != "ticketresolve":
            return reply
        self.asked.append(octets)
        change, self.misbehave = self.misbehave, None
        return reply if change is None else change(octets, reply)


def _attempts() -> Iterator[None]:
    """Yield for each time that a busy user agent is called: it may not have ended the call before."""
    for number in range(_ATTEMPTS):
        if number:
            time.sleep(_BUSY_S)
        yield


@dataclass(slots=True, kw_only=True)
class AgentSubject:
    """The user agent of ``kms.responder``, called by ``kms.initiator``. ``address`` is in offers.

    ``ticket_key`` opens tickets of the KMS and ``initiator_ticket_key`` those that the Initiator makes, where
    the user agent shares such keys. ``pair`` is the KMS's key pair, for one that asks by certificate.
    """

    kms: KmsSubject
    dial: Dial
    door: Door
    address: str = "127.0.0.1"
    ticket_key: TicketProtectionKey | None = None
    initiator_ticket_key: TicketProtectionKey | None = None
    kms_ticket_key: TicketProtectionKey | None = None
    pair: KmsKeyPair | None = None
    _taken: list[AcceptedCall] = field(default_factory=list)
    _calls: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Hang up what goes on."""
        self._calls.close()

    def call(self, caller: str, offer: str) -> CallOutcome:
        """Make a call and hang up."""
        with self.dial(caller, offer) as dialog:
            return dialog.called

    def hold(self, offer: str) -> Dialog:
        """Make a call that goes on until the suite ends, or the next one is made."""
        self._calls.close()
        return self._calls.enter_context(self.dial(self.kms.initiator.uri, offer))

    def description(self, version: int = 1) -> str:
        """Return the description that offers are made of; *version* counts them within a call."""
        return OFFER.format(address=self.address, version=version)

    def granted(self, flags: TicketFlags = FORKING) -> TicketGrant:
        """Return a new ticket that the KMS made."""
        asked = self.kms.ask(flags, fresh=True)
        return asked.request.receive(asked.response.raw)

    def kms_ticket(self, **fields: object) -> TicketGrant:
        """Return a new ticket that the KMS made, with other *fields* of its policy."""
        request = self.kms.request(self.kms.policy(**fields))  # type: ignore[arg-type]
        reply = self.kms.post(REQUEST, request.message)
        check(reply.is_response, f"the KMS of the suite gives no ticket: {reply.describe()}")
        return request.receive(reply.body)

    def offer(self, grant: TicketGrant | None = None) -> tuple[Offerer, TicketGrant, str]:
        """Return an offer with a ticket of its own, or with *grant*."""
        grant = grant or self.granted()
        identity = grant.policy.initiator or self.kms.initiator.uri
        offerer = Offerer(self.kms.env, grant=grant, called=self.kms.responder.uri, identity=identity)
        return offerer, grant, offerer.make_offer(self.description())

    def takes(self, grant: TicketGrant | None = None) -> AcceptedCall:
        """Call with a ticket, which has to be taken."""
        for _ in _attempts():
            offerer, used, text = self.offer(grant)
            called = self.call(used.policy.initiator or self.kms.initiator.uri, text)
            if called.status != _BUSY:
                break
        check(called.answered, f"an offer that is in order got {called.describe()}")
        return AcceptedCall(
            offerer=offerer,
            grant=used,
            init=Message.parse(offerer.transfer_init),
            response=Message.parse(carried(called.sdp)),
            sdp=called.sdp,
        )

    def taken(self, number: int = 0) -> AcceptedCall:
        """Return a call that was taken and answered with a message; made once and kept."""
        while len(self._taken) <= number:
            self._taken.append(self.takes())
        return self._taken[number]

    def asked(self, number: int = 0) -> Message:
        """Return a RESOLVE_INIT of the user agent, whether or not the call was taken."""
        for _ in range(number + 2):
            if len(self.door.asked) > number:
                return Message.parse(self.door.asked[number])
            _, _, text = self.offer()
            self.call(self.kms.initiator.uri, text)
        raise BrokenRequirementError("the user agent did not ask the KMS")

    def inkey(self, init: Message) -> Secret:
        """Return the key that protects a RESOLVE_INIT and its response."""
        envelope = init.find(PKE)
        if envelope is None:
            return self.kms.responder.key
        if self.pair is None:
            raise NotTestableError("the KMS of the suite has no certificate (--certificates)")
        length = self.kms.suite.key_length
        return open_envelope(
            self.pair.private_key, envelope.data, length=length, substitute=Secret(bytes(length))
        )

    def refuses(self, offer: str, *, caller: str | None = None) -> None:
        """Call with an offer that has to be refused for what it is, not because the user agent is busy."""
        for _ in _attempts():
            called = self.call(caller or self.kms.initiator.uri, offer)
            if called.status != _BUSY:
                break
        called.check_refused("the call was taken")
        check(called.status != _BUSY, "the user agent stays busy, which says nothing about the offer")

    def refuses_message(self, edit: Edit = list, *, grant: TicketGrant | None = None, **options: Any) -> None:
        """Call with a TRANSFER_INIT that was edited and protected again."""
        offerer, grant, text = self.offer(grant)
        caller = grant.policy.initiator
        self.refuses(carrying(text, self.variant(offerer, grant, edit, **options)), caller=caller)

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
            forger = Forger(message=response, inkey=self.inkey(init), following=octets)
            return Reply(status=200, body=change(forger, init))

        self._refuses_reply(misbehave)

    def refuses_without_keys(self) -> None:
        """Call while the KMS refuses to resolve the ticket."""
        self._refuses_reply(lambda _, __: Reply(status=403, body=b""))

    def _refuses_reply(self, misbehave: Callable[[bytes, Reply], Reply]) -> None:
        _, _, text = self.offer()
        before, self.door.misbehave = len(self.door.asked), misbehave
        try:
            self.refuses(text)
            check(len(self.door.asked) > before, "the agent did not ask the KMS")
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
