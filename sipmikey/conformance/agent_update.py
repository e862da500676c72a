"""What RFC 6043 section 5.2 requires of a user agent whose peer updates the keys of a call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sipmikey.conformance.agent_subject import (
    AgentSubject,
    CallOutcome,
    Dialog,
    carried,
    carrying,
    is_response,
)
from sipmikey.conformance.forge import (
    Edit,
    Forger,
    before_last,
    clear_keys,
    flipped,
    replacing,
    with_header,
    without,
)
from sipmikey.conformance.requirement import BrokenRequirementError, Requirements, check
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.header import SrtpSessionData
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import DataType, KeyDataType, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TicketFlags
from sipmikey.mikey.timestamp import T
from sipmikey.mikey.verification import V
from sipmikey.ticket.base_ticket import SPI_LENGTH
from sipmikey.ticket.bundle import CryptoSessionBundle
from sipmikey.ticket.protection import verify
from sipmikey.ticket.transfer import TransferInitiator
from sipmikey.ticket.update import UpdateInitiator

UPDATE_REQUIREMENTS: Requirements[AgentSubject] = Requirements("agent")
_add = UPDATE_REQUIREMENTS.add

KEYS_OF_BOTH = TicketFlags.of("DEFGHILMNO")
"""Flags of a ticket with which either side may send keys."""


@dataclass(slots=True, kw_only=True)
class HeldCall:
    """A call that goes on, and what its next update is made from."""

    agent: AgentSubject
    dialog: Dialog
    text: str
    init: bytes
    response: bytes
    bundle: CryptoSessionBundle
    version: int = 1
    sent: list[bytes] = field(default_factory=list)

    def update(self, *, rekey: bool = True) -> UpdateInitiator:
        """Make an update: with a new key for all crypto sessions, or only with the same sessions again."""
        env, bundle = self.agent.kms.env, self.bundle
        if not rekey:
            return UpdateInitiator.start(env, bundle)
        length = bundle.suite.key_length
        spi = env.random(SPI_LENGTH)
        key = KeyData(key_type=KeyDataType.TGK, key=Secret(env.random(length)), spi=spi)
        entries = tuple(replace(entry, spi=spi) for entry in bundle.entries)
        return UpdateInitiator.start(env, bundle, crypto_sessions=entries, keys=(key,))

    def forger(self, update: UpdateInitiator) -> Forger:
        """Return a forger of an update; its variants are protected with the keys of the bundle."""
        following = self.bundle.identity_i + self.bundle.identity_r
        message = Message.parse(update.message)
        return Forger(message=message, inkey=Secret(bytes(16)), following=following)

    def variant(self, update: UpdateInitiator, edit: Edit = list, **options: Any) -> bytes:
        """Return an update edited and protected again."""
        return self.forger(update).variant(edit, protection=self.bundle.protection, **options)

    def next_text(self) -> str:
        """Return the next offer of the call, with the message of the first."""
        self.version += 1
        old, new = (f"o=- 3900000000 {number} " for number in (1, self.version))
        return self.text.replace(old, new)

    def send(self, octets: bytes) -> CallOutcome:
        """Send a TRANSFER_INIT in another offer of the call."""
        self.sent.append(octets)
        return self.dialog.offer(carrying(self.next_text(), octets))

    def answer_to(self, update: UpdateInitiator) -> bytes:
        """Send an update, which has to be taken, and return the message that answers it."""
        called = self.send(update.message)
        check(called.answered, f"an update that is in order got {called.describe()}")
        return carried(called.sdp)

    def takes(self, update: UpdateInitiator) -> Message:
        """Send an update, which has to be taken, and return TRANSFER_RESP. The call then has its keys."""
        octets = self.answer_to(update)
        self.bundle, self.response = update.receive(octets), octets
        return Message.parse(octets)


def _made(agent: AgentSubject, flags: TicketFlags = KEYS_OF_BOTH) -> HeldCall:
    offerer, grant, text = agent.offer(agent.granted(flags))
    dialog = agent.hold(text)
    check(dialog.called.answered, f"an offer that is in order got {dialog.called.describe()}")
    transfer = TransferInitiator(
        agent.kms.env,
        grant,
        offerer.transfer_init,
        initiator=agent.kms.initiator.uri,
        responder=agent.kms.responder.uri,
    )
    response = carried(dialog.called.sdp)
    return HeldCall(
        agent=agent,
        dialog=dialog,
        text=text,
        init=offerer.transfer_init,
        response=response,
        bundle=transfer.receive(response),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _AnsweredUpdate:
    """An update that was taken, and the call as it was before."""

    call: HeldCall
    before: CryptoSessionBundle
    init: Message
    response: Message


def _updated(agent: AgentSubject) -> _AnsweredUpdate:
    call = _made(agent)
    before, update = call.bundle, call.update()
    octets = call.answer_to(update)
    return _AnsweredUpdate(
        call=call, before=before, init=Message.parse(update.message), response=Message.parse(octets)
    )


@_add("update-answered", "5.2", "a CSB update with new keys is answered with TRANSFER_RESP")
def _answered(agent: AgentSubject) -> None:
    response = _updated(agent).response
    check(is_response(response), f"the message is {response.header.data_type.name}")


@_add("update-csb-id", "5.2", "the answer to an update has the CSB ID and PRF func of the bundle")
def _csb_id(agent: AgentSubject) -> None:
    updated = _updated(agent)
    header = updated.response.header
    check(header.csb_id == updated.before.csb_id, "the CSB ID is another")
    check(header.prf is updated.before.suite.prf, "PRF func is another")


@_add("update-time", "5.2", "the answer to an update has a T later than the answers before")
def _time(agent: AgentSubject) -> None:
    updated = _updated(agent)
    stamp, last = updated.response.one(T).timestamp, updated.before.received
    agent.kms.env.check_timestamp(stamp, "TRANSFER_RESP")
    assert last is not None
    check(stamp.unix_ns() > last.unix_ns(), "it is not later")


@_add("update-mac", "5.2", "the answer to an update is protected with the keys of the first exchange")
def _mac(agent: AgentSubject) -> None:
    updated = _updated(agent)
    verify(updated.response, updated.before.suite, updated.before.protection, updated.init.raw)


@_add("update-v-last", "5.2", "V is the last payload of the answer to an update")
def _v_last(agent: AgentSubject) -> None:
    check(isinstance(_updated(agent).response.payloads[-1], V), "it is not")


@_add("update-no-randr", "5.2", "the answer to an update has no new RAND and no new TICKET")
def _no_rand(agent: AgentSubject) -> None:
    updated = _updated(agent)
    first = Message.parse(updated.call.response).all(RANDR)
    new = [item for item in updated.response.all(RANDR) if item not in first]
    check(not new, "it has a new RANDR")
    check(not updated.response.all(TICKET), "it has a TICKET")


@_add("update-map", "5.2", "the answer to an update has every crypto session of it")
def _map(agent: AgentSubject) -> None:
    updated = _updated(agent)
    answered = {entry.cs_id for entry in updated.response.header.generic_ids()}
    missing = {entry.cs_id for entry in updated.init.header.generic_ids()} - answered
    check(not missing, f"crypto session {min(missing, default=0)} is missing")


@_add("update-spi", "6.1.1", "each SPI of the answer to an update names a session key")
def _spi(agent: AgentSubject) -> None:
    updated = _updated(agent)
    given = {entry.spi for entry in updated.init.header.generic_ids()}
    known = given | {key.spi for key in updated.before.keys}
    for entry in updated.response.header.generic_ids():
        check(entry.spi in known or updated.response.all(KEMAC), f"CS ID {entry.cs_id}: {entry.spi.hex()}")


@_add("update-new-key", "5.2", "the answer to an update uses the new key")
def _new_key(agent: AgentSubject) -> None:
    updated = _updated(agent)
    given = {entry.spi for entry in updated.init.header.generic_ids()}
    for entry in updated.response.header.generic_ids():
        new = entry.spi in given or updated.response.all(KEMAC)
        check(new, f"CS ID {entry.cs_id} keeps the key of before")


@_add("update-ssrcs", "6.1.1", "an update leaves the SSRCs of both directions as they are")
def _ssrcs(agent: AgentSubject) -> None:
    updated = _updated(agent)
    before = {entry.cs_id: SrtpSessionData.of(entry) for entry in updated.before.entries}
    for entry in updated.response.header.generic_ids():
        old, new = before.get(entry.cs_id), SrtpSessionData.of(entry)
        same = old is not None and new is not None and new.ssrc == old.ssrc
        check(same or old is None, f"CS ID {entry.cs_id} has another SSRC")


@_add("update-accepted", "5.2", "the answer to an update as a whole gives keys for both directions")
def _accepted(agent: AgentSubject) -> None:
    call = _made(agent)
    call.takes(call.update())


@_add("update-again", "5.2", "a second update of the same call is taken")
def _again(agent: AgentSubject) -> None:
    call = _made(agent)
    call.takes(call.update())
    call.takes(call.update())


@_add("update-without-keys", "5.2", "an update without new keys is taken")
def _without_keys(agent: AgentSubject) -> None:
    call = _made(agent)
    response = call.takes(call.update(rekey=False))
    check(response.header.csb_id == call.bundle.csb_id, "the CSB ID is another")


@_add(
    "update-repeated-offer",
    "RFC 4567 section 4.1.3",
    "the same a=key-mgmt again changes no key",
    level="should",
)
def _repeated(agent: AgentSubject) -> None:
    call = _made(agent)
    called = call.send(call.init)
    check(called.answered, f"it got {called.describe()}")
    try:
        octets = carried(called.sdp)
    except BrokenRequirementError:
        return
    check(octets == call.response, "the answer has another message")


# What is refused


def _refuses(call: HeldCall, octets: bytes) -> None:
    call.send(octets).check_refused("it was taken")


def _refuses_edited(agent: AgentSubject, edit: Edit, *, rekey: bool = True) -> None:
    call = _made(agent)
    _refuses(call, call.variant(call.update(rekey=rekey), edit))


@_add("update-refuses-bad-mac", "5.2", "refused: an update whose MAC does not verify")
def _bad_mac(agent: AgentSubject) -> None:
    call = _made(agent)
    _refuses(call, flipped(call.update().message))


@_add("update-refuses-other-names", "5.5", "refused: an update whose MAC covers other identities")
def _other_names(agent: AgentSubject) -> None:
    call = _made(agent)
    _refuses(call, call.variant(call.update(), following=b"sip:mallory@example.invalid"))


@_add(
    "update-goes-on",
    "RFC 3261 section 14.2",
    "a call goes on, and is updated, after an update that was refused",
)
def _goes_on(agent: AgentSubject) -> None:
    call = _made(agent)
    _refuses(call, flipped(call.update().message))
    call.takes(call.update())


@_add("update-refuses-replay", "5.2", "refused: an update that came before")
def _replay(agent: AgentSubject) -> None:
    call = _made(agent)
    call.takes(call.update())
    call.takes(call.update())
    _refuses(call, call.sent[0])


@_add("update-refuses-same-time", "5.2", "refused: an update with the T of TRANSFER_INIT")
def _same_time(agent: AgentSubject) -> None:
    call = _made(agent)
    stamp = Message.parse(call.init).one(T)
    _refuses(call, call.variant(call.update(rekey=False), replacing(T, lambda _: stamp)))


@_add("update-refuses-new-randr", "5.2", "refused: an update with a new RANDRi")
def _new_rand(agent: AgentSubject) -> None:
    _refuses_edited(agent, before_last(RANDR(role=RandRole.INITIATOR, rand=b"r" * 32)))


@_add("update-refuses-new-ticket", "5.2", "refused: an update with another TICKET")
def _new_ticket(agent: AgentSubject) -> None:
    call = _made(agent)
    other = agent.granted(KEYS_OF_BOTH).ticket
    _refuses(call, call.variant(call.update(), before_last(other)))


@_add("update-refuses-other-csb-id", "5.2", "refused: an update with another CSB ID")
def _other_csb_id(agent: AgentSubject) -> None:
    call = _made(agent)
    update = call.update()
    header = with_header(Message.parse(update.message), csb_id=call.bundle.csb_id ^ 1)
    _refuses(call, call.variant(update, header=header))


@_add("update-refuses-no-t", "5.2", "refused: an update without T")
def _no_t(agent: AgentSubject) -> None:
    _refuses_edited(agent, without(T), rekey=False)


@_add("update-refuses-unknown-spi", "6.1.1", "refused: an update whose SPI names no key")
def _unknown_spi(agent: AgentSubject) -> None:
    call = _made(agent)
    update = call.update(rekey=False)
    message = Message.parse(update.message)
    entries = tuple(replace(entry, spi=b"none") for entry in message.header.generic_ids())
    _refuses(call, call.variant(update, header=with_header(message, crypto_sessions=entries)))


@_add("update-refuses-keys-in-the-clear", "5.2", "refused: an update with keys in the clear")
def _clear(agent: AgentSubject) -> None:
    _refuses_edited(agent, clear_keys(), rekey=False)


@_add("update-refuses-forbidden-keys", "5.2", "refused: an update with keys although L is 0")
def _forbidden(agent: AgentSubject) -> None:
    call = _made(agent, TicketFlags.of("DEFGHINO"))
    allowed = replace(call.bundle, policy=replace(call.bundle.policy, flags=KEYS_OF_BOTH))
    _refuses(call, replace(call, bundle=allowed).update().message)


@_add("update-refuses-response", "5.2", "refused: an update that is a TRANSFER_RESP")
def _response(agent: AgentSubject) -> None:
    call = _made(agent)
    update = call.update()
    header = with_header(Message.parse(update.message), data_type=DataType.TRANSFER_RESP)
    _refuses(call, call.variant(update, header=header))


@_add("update-refuses-truncated", "RFC 3830 6", "refused: an update cut short")
def _truncated(agent: AgentSubject) -> None:
    call = _made(agent)
    _refuses(call, call.update().message[:-1])


@_add("update-refuses-no-keys", "RFC 4567 section 4.1.3", "refused: a new m-line without keys for it")
def _new_stream(agent: AgentSubject) -> None:
    call = _made(agent)
    called = call.dialog.offer(call.next_text() + "m=audio 40010 RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n")
    if called.answered:
        ports = [line.split()[1] for line in called.sdp.splitlines() if line.startswith("m=")]
        try:
            changed = carried(called.sdp) != call.response
        except (BrokenRequirementError, PeerError):
            changed = False
        check(ports[1:] == ["0"] or changed, "the m-line was taken under no key")
