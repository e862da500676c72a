"""A scripted user agent that is called, with a requirement broken on request. It has no media."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sipmikey.conformance.agent_subject import CallOutcome, carried, carrying, without_keys
from sipmikey.conformance.broken.questions import (
    OTHER_MODES,
    QUESTIONS,
    REFUSED_TICKETS,
    SIGNED_QUESTIONS,
    TICKET_LENIENCES,
    Question,
)
from sipmikey.conformance.broken.updates import OTHER_UPDATES, UPDATE_LENIENCES, UPDATES, UpdateAnswer
from sipmikey.conformance.forge import (
    Edit,
    Forger,
    before_last,
    named,
    replacing,
    shifted_time,
    with_header,
    without,
)
from sipmikey.conformance.kms_subject import RESOLVE, Party, Post
from sipmikey.keys.derivation import ProtectionKeys, response_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import suite_of
from sipmikey.keys.transport import seal_keys
from sipmikey.mikey.errors import AuthenticationFailure, LocalError, PeerError
from sipmikey.mikey.header import GenericIdEntry
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import CsIdMapType, IdRole, KeyDataType, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TICKET
from sipmikey.mikey.timestamp import T
from sipmikey.sdp.answer import Answerer
from sipmikey.sdp.document import Document
from sipmikey.sdp.session import Session
from sipmikey.ticket.credentials import CertificateCredential
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.resolve import ResolvedTicket
from sipmikey.ticket.shared_keys import SharedTicketKey

ANSWER = """\
v=0
o=- 3900000001 1 IN IP4 {address}
s=-
c=IN IP4 {address}
t=0 0
m=audio 40002 RTP/SAVP 8
a=rtpmap:8 PCMA/8000
""".replace("\n", "\r\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """A TRANSFER_RESP about to be sent."""

    forger: Forger
    init: Message
    resolved: ResolvedTicket

    def edited(self, edit: Edit) -> bytes:
        return self.forger.variant(edit, rands=self.init.all(RANDR, RandRole.INITIATOR))

    def headed(self, **changes: object) -> bytes:
        header = with_header(self.forger.message, **changes)
        return self.forger.variant(header=header, rands=self.init.all(RANDR, RandRole.INITIATOR))

    def with_entries(self, change: Callable[[GenericIdEntry], GenericIdEntry]) -> bytes:
        entries = tuple(change(entry) for entry in self.forger.message.header.generic_ids())
        return self.headed(crypto_sessions=entries)


Change = Callable[[_Answer], bytes]


def _other_policy(answer: _Answer) -> bytes:
    weak = SrtpPolicy.aes_cm(16, auth_tag_length=4).payload(0)
    return answer.edited(lambda payloads: [*payloads[:-1], weak, payloads[-1]])


def _own_keys(answer: _Answer) -> bytes:
    forger, message = answer.forger, answer.forger.message
    protection = forger.protection(message, answer.init.all(RANDR, RandRole.INITIATOR))
    key = KeyData(key_type=KeyDataType.TGK, key=Secret(b"k" * 32), spi=b"spi!")
    kemac = seal_keys(
        [key], suite_of(message.header.prf).encr_alg, protection,
        csb_id=message.header.csb_id, timestamp=message.one(T).timestamp,
    )  # fmt: skip
    return answer.edited(lambda payloads: [*payloads[:-1], kemac, payloads[-1]])


def _with_mpk_i(answer: _Answer) -> bytes:
    forger = replace(answer.forger, inkey=answer.resolved.mpk_i)
    return forger.variant(rands=answer.init.all(RANDR, RandRole.INITIATOR))


def _altered_ssrc(entry: GenericIdEntry) -> GenericIdEntry:
    return replace(entry, session_data=bytes(4))


_SAME = RANDR(role=RandRole.RESPONDER, rand=b"r" * 32)

ANSWERS: dict[str, tuple[str, Change]] = {
    "answer-csb-id": ("CSB ID is another", lambda a: a.headed(csb_id=a.init.header.csb_id ^ 1)),
    "answer-empty-map": ("the map is the Empty map",
        lambda a: a.headed(map_type=CsIdMapType.EMPTY, crypto_sessions=())),
    "answer-one-session": ("a crypto session is left out",
        lambda a: a.headed(crypto_sessions=a.forger.message.header.generic_ids()[:1])),
    "answer-v-flag": ("the V flag is 1", lambda a: a.headed(v=True)),
    "answer-v-first": ("V is not the last payload", lambda a: a.edited(lambda p: [p[-1], *p[:-1]])),
    "answer-stale": ("T is of a day ago", lambda a: a.edited(shifted_time(-86_400))),
    "answer-no-randrr": ("RANDRr is left out", lambda a: a.edited(without(RANDR, RandRole.RESPONDER))),
    "answer-same-randrr": ("RANDRr is always the same",
        lambda a: a.edited(replacing(RANDR, lambda _: _SAME, RandRole.RESPONDER))),
    "answer-no-idrr": ("IDRr is left out", lambda a: a.edited(without(IDR, IdRole.RESPONDER))),
    "answer-other-idrr": ("IDRr is somebody else",
        lambda a: a.edited(named(IdRole.RESPONDER, "sip:mallory@example.invalid"))),
    "answer-no-randrkms": ("RANDRkms is left out", lambda a: a.edited(without(RANDR, RandRole.KMS))),
    "answer-mac-alone": ("the MAC does not cover TRANSFER_INIT",
        lambda a: a.forger.variant(following=b"", rands=a.init.all(RANDR, RandRole.INITIATOR))),
    "answer-mpki": ("protected with MPKi in the place of MPKr'", _with_mpk_i),
    "answer-no-spi": ("crypto sessions have no SPI", lambda a: a.with_entries(lambda e: replace(e, spi=b""))),
    "answer-unknown-spi": ("an SPI names no key",
        lambda a: a.with_entries(lambda e: replace(e, spi=b"none"))),
    "answer-no-session-data": ("crypto sessions have no Session Data",
        lambda a: a.with_entries(lambda e: replace(e, session_data=b""))),
    "answer-two-policies": ("crypto sessions have two policies",
        lambda a: a.with_entries(lambda e: replace(e, policies=(0, 1)))),
    "answer-other-policy": ("a policy that was not offered", _other_policy),
    "answer-other-ssrc": ("the SSRC of the offer is changed", lambda a: a.with_entries(_altered_ssrc)),
    "answer-own-keys": ("keys are sent although M is 0", _own_keys),
}  # fmt: skip
"""Break -> what it is, and the change to TRANSFER_RESP that makes it."""

LENIENCES: dict[str, tuple[str, str, str]] = {
    "takes-bad-macs": ("the MAC of TRANSFER_INIT is not verified", "auth-failure", "TRANSFER_INIT V"),
    "takes-other-vi": ("Vi is not compared", "auth-failure", "Initiator Data Vi"),
    "takes-bad-kms-macs": ("the MAC of RESOLVE_RESP is not verified", "auth-failure", "V:"),
    "takes-replays": ("a TRANSFER_INIT is taken twice", "replayed-message", ""),
    "takes-any-time": ("T may be of any time", "invalid-timestamp", "TRANSFER_INIT"),
    "takes-any-kms-time": ("T of RESOLVE_RESP may be of any time", "invalid-timestamp", "RESOLVE_RESP"),
    "takes-no-initiator-data": ("Initiator Data may be left out", "malformed-message", "Initiator Data"),
    "takes-no-t": ("T may be left out", "malformed-message", "T: is missing"),
    "takes-no-randri": ("RANDRi may be left out", "malformed-message", "RANDR INITIATOR"),
    "takes-two-tickets": ("TICKET may stand twice", "malformed-message", "TICKET: is given twice"),
    "takes-srtp-id": ("the SRTP-ID map is taken", "malformed-message", "CS ID map type"),
    "takes-unknown-policies": ("policies that are not given are taken", "invalid-security-policy", "CS ID"),
    "takes-cs-ids-twice": ("a CS ID may stand twice", "malformed-message", "CS ID: "),
    "takes-unknown-spis": ("SPIs that name no key are taken", "malformed-message", "CS ID 1: "),
    "takes-keys-without-l": ("keys are taken although L is 0", "invalid-ticket-policy", "KEMAC"),
    "takes-other-data-types": ("any data type is taken", "unsupported-data-type", ""),
    "takes-trailing-octets": ("octets after the last payload are taken", "malformed-message", "message:"),
    "takes-cut-messages": ("messages cut short are taken", "malformed-message", "Ver data"),
    "takes-other-callers": ("anybody may use a ticket", "identity-mismatch", ""),
    "takes-no-keys": ("calls without keys are taken", "key-mgmt-missing", ""),
    "takes-broken-base64": ("calls with a broken attribute are taken", "key-mgmt-malformed", ""),
    "takes-stripped-protocols": ("the list of protocols is not compared", "bidding-down", ""),
    "takes-no-idrr": ("RESOLVE_RESP needs no IDRr", "malformed-message", "IDR RESPONDER"),
    "takes-no-randrkms": ("RESOLVE_RESP needs no RANDRkms", "malformed-message", "RANDR KMS"),
    "takes-one-mpk": ("RESOLVE_RESP needs no MPKr", "malformed-message", "RESOLVE_RESP KEMAC"),
    "takes-clear-keys": ("keys that are not encrypted are taken", "unsupported-encryption", ""),
    "takes-refusals": ("calls are taken whose ticket the KMS does not resolve", "kms-refused", ""),
}
"""Break -> what it is, and the refusals that it lifts: reason word and beginning of the text."""

OTHERS = {
    "refuses-everything": "no call is taken",
    "answers-in-the-clear": "the m-lines of the answer are RTP/AVP",
    "answers-without-keys": "the answer has no a=key-mgmt",
    "asks-no-kms": "the KMS is not asked, and calls are taken",
}

_ALL_QUESTIONS = {**QUESTIONS, **SIGNED_QUESTIONS}
_ALL_LENIENCES = {**LENIENCES, **TICKET_LENIENCES}

BREAKS: dict[str, str] = {
    **{name: f"TRANSFER_RESP: {item[0]}" for name, item in ANSWERS.items()},
    **{name: item[0] for name, item in LENIENCES.items()},
    **OTHERS,
    **{name: f"RESOLVE_INIT: {item[0]}" for name, item in _ALL_QUESTIONS.items()},
    **{name: item[0] for name, item in REFUSED_TICKETS.items()},
    **{name: item[0] for name, item in TICKET_LENIENCES.items()},
    **OTHER_MODES,
    **{name: f"answer to an update: {item[0]}" for name, item in UPDATES.items()},
    **{name: item[0] for name, item in UPDATE_LENIENCES.items()},
    **OTHER_UPDATES,
}
"""Every break, and what it is."""

_CALLS = 256
"""How many calls are remembered, for the offers that come later in them."""


class _KmsRefused(PeerError):
    reason = "kms-refused"


class _Refused(PeerError):
    reason = "refused-on-purpose"


@dataclass(slots=True, kw_only=True)
class _Call:
    """A call that was answered: its session, and what an update is protected with."""

    session: Session
    offer: str
    answer: str
    protection: ProtectionKeys
    refused: bool = False
    updates: int = 0


@dataclass(slots=True, kw_only=True)
class BrokenAgent:
    """The user agent of *party*, with the requirement *broken*, if any, broken. *kms* resolves tickets.

    *ticket_keys* open tickets without the KMS; with *credential* it asks the KMS by certificate, instead of
    with the key of *party*. Raises `LocalError` for a break it does not know.
    """

    env: Environment
    party: Party
    kms: Post
    address: str = "127.0.0.1"
    broken: str | None = None
    ticket_keys: tuple[SharedTicketKey, ...] = ()
    credential: CertificateCredential | None = None
    _replay: ReplayCache = field(init=False)
    _calls: dict[str, _Call] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._replay = ReplayCache(clock_skew_s=self.env.clock_skew_s)
        if self.broken is not None and self.broken not in BREAKS:
            raise LocalError(f"there is no break {self.broken!r}; --list names them")

    def take(self, caller: str, offer: str, call_id: str) -> CallOutcome:
        """Answer an offer as a user agent does, or as the break has it.

        The first offer of *call_id* is a call, a later one changes that call.
        """
        if (known := self._calls.get(call_id)) is not None:
            return self._take_again(known, offer)
        own = ANSWER.format(address=self.address)
        if self.broken == "refuses-everything":
            return CallOutcome(status=488)
        try:
            answer = self._answer(caller, offer, own, call_id)
        except PeerError as error:
            if self._lifted(error, _ALL_LENIENCES):
                return CallOutcome(status=200, sdp=own)
            if self.broken == "asks-too-early":
                self.kms(RESOLVE, b"")
            return CallOutcome(status=488, warning=f"{error.reason}: {error}")
        if self.broken == "answers-in-the-clear":
            answer = str(Document.parse(answer).with_protocol(0, "RTP/AVP"))
        if self.broken == "answers-without-keys":
            answer = without_keys(answer)
        return CallOutcome(status=200, sdp=answer)

    def _lifted(self, error: PeerError, leniences: dict[str, tuple[str, str, str]]) -> bool:
        if self.broken == "asks-no-kms":
            return True
        if self.broken not in leniences:
            return False
        _, reason, part = leniences[self.broken]
        return str(error.reason) == reason and str(error).startswith(part)

    def _answer(self, caller: str, offer: str, own: str, call_id: str) -> str:
        answerer = Answerer(self.env, identities=[self.party.uri], replay=self._replay)
        answerer.receive_offer(offer, sip_caller=caller)
        if self.broken == "asks-no-kms":
            raise AuthenticationFailure("nothing was asked", field="V")
        raw = carried(offer)
        init = Message.parse(raw)
        policy = TicketPolicy.of(init.one(TICKET))
        if self.broken in REFUSED_TICKETS and REFUSED_TICKETS[self.broken][1](policy):
            raise _Refused("such tickets are refused")
        resolved = self._resolved(answerer)
        answer, _ = answerer.make_answer(own)
        forger = Forger(
            message=Message.parse(carried(answer)), inkey=resolved.mpk_r or resolved.mpk_i, following=raw
        )
        made = _Answer(forger=forger, init=init, resolved=resolved)
        if self.broken in ANSWERS:
            answer = carrying(answer, ANSWERS[self.broken][1](made))
        elif self.broken in OTHER_MODES:
            answer = carrying(answer, _changed_by_mode(self.broken, made, policy))
        if len(self._calls) >= _CALLS:
            del self._calls[next(iter(self._calls))]
        self._calls[call_id] = _Call(
            session=answerer.session, offer=offer, answer=answer, protection=_protection(made)
        )
        return answer

    def _resolved(self, answerer: Answerer) -> ResolvedTicket:
        """Open the ticket with a key that its maker shares, or ask the KMS, and verify TRANSFER_INIT."""
        if self.ticket_keys and not answerer.resolve_mandatory:
            if self.broken == "asks-always":
                self.kms(RESOLVE, b"")
            return answerer.resolve_with(self.ticket_keys)
        question = answerer.make_resolve_init(self.credential or self.party.credential)
        if (change := _ALL_QUESTIONS.get(self.broken or "")) is not None:
            message = Message.parse(question)
            question = change[1](
                Question(
                    message=message,
                    party=self.party,
                    kms=message.one(IDR, IdRole.KMS).data.decode(),
                    credential=self.credential,
                )
            )
        reply = self.kms(RESOLVE, question)
        if reply.status != 200:
            raise _KmsRefused(f"the KMS answered {reply.status}")
        return answerer.receive_resolve_resp(reply.body)

    # Later offers of a call

    def _take_again(self, call: _Call, offer: str) -> CallOutcome:
        more = "m=audio 40012 RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n" * (offer.count("m=audio ") - 1)
        own = ANSWER.format(address=self.address) + more
        if self._refuses_again(call, offer):
            call.refused = True
            return CallOutcome(status=488, warning="no update is taken")
        try:
            changes = call.session.receive_offer(offer)
        except PeerError as error:
            call.refused = True
            if self._lifted(error, UPDATE_LENIENCES):
                return CallOutcome(status=200, sdp=own)
            if self.broken == "plays-under-no-key" and str(error.reason) == "key-mgmt-missing":
                return CallOutcome(status=200, sdp=carrying(own, carried(call.answer)))
            return CallOutcome(status=488, warning=f"{error.reason}: {error}")
        answer, _ = call.session.make_answer(own)
        if changes:
            call.updates += 1
            if self.broken in UPDATES:
                answer = carrying(answer, self._changed(call, offer, answer))
        elif self.broken == "changes-repeated-answers":
            answer = carrying(answer, carried(call.answer)[:-1] + b"\0")
        return CallOutcome(status=200, sdp=answer)

    def _refuses_again(self, call: _Call, offer: str) -> bool:
        """Return whether the break has this offer refused."""
        repeated = carried(offer) == carried(call.offer)
        return (
            (self.broken == "refuses-updates" and not repeated)
            or (self.broken == "refuses-second-updates" and call.updates > 0)
            or (self.broken == "hangs-up-after-refusals" and call.refused)
            or (self.broken == "refuses-repeated-offers" and repeated)
        )

    def _changed(self, call: _Call, offer: str, answer: str) -> bytes:
        forger = Forger(
            message=Message.parse(carried(answer)), inkey=Secret(bytes(32)), following=carried(offer)
        )
        made = UpdateAnswer(
            forger=forger, protection=call.protection, first=Message.parse(carried(call.answer))
        )
        return UPDATES[self.broken or ""][1](made)


def _protection(answer: _Answer) -> ProtectionKeys:
    """Return the keys that protect TRANSFER_RESP and every update (RFC 6043 section 5.2)."""
    message = answer.forger.message
    rand_r = message.find(RANDR, RandRole.RESPONDER)
    return response_message_keys(
        Prf(message.header.prf, answer.forger.inkey),
        message.header.csb_id,
        rand_i=answer.init.one(RANDR, RandRole.INITIATOR).rand,
        rand_r=b"" if rand_r is None else rand_r.rand,
    )


def _changed_by_mode(broken: str, answer: _Answer, policy: TicketPolicy) -> bytes:
    """Return TRANSFER_RESP as a break of `OTHER_MODES` has it."""
    if broken == "answer-randrkms-always" and not policy.flags.key_forking:
        return answer.edited(before_last(RANDR(role=RandRole.KMS, rand=b"k" * 32)))
    if broken == "answer-randrr-always" and not policy.flags.randr_r:
        return answer.edited(before_last(RANDR(role=RandRole.RESPONDER, rand=b"r" * 32)))
    if broken == "ignores-keys-of-initiators" and answer.resolved.keys:
        spi = answer.resolved.keys[0].spi or b""
        return answer.with_entries(lambda entry: replace(entry, spi=spi))
    return answer.forger.message.raw
