"""The judging of incoming calls: which the agent takes, and how. In the engine's thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sipmikey.agent.config import MAX_CALLS, AgentConfig
from sipmikey.agent.driver.call_driver import CallDriver
from sipmikey.agent.driver.waiting import WaitingMessages
from sipmikey.agent.group.wire import MEDIA_TYPE as GROUP_TYPE
from sipmikey.agent.sound_control import sound_event
from sipmikey.agent.stack import CallObserver, Lane, Placement, Sighting, StackCall
from sipmikey.agent.tickets.ahead import MEDIA_TYPE
from sipmikey.call.callee import Invitation
from sipmikey.call.ending import Ending
from sipmikey.call.events import (
    Event,
    MediaRoute,
    PlaybackFinished,
    PolicyRefused,
    PresenceChanged,
    ReplacementRequested,
    StackFailed,
)
from sipmikey.call.inputs import Start
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.keying.no_keying import REFUSED
from sipmikey.call.keying.standard import StandardKeyings
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.nat.path import Candidate, MediaPath, Way
from sipmikey.nat.servers import endpoint_text
from sipmikey.sdp import IdentityMismatch
from sipmikey.sip import SipMalformed, SipMessage
from sipmikey.sound.settings import News
from sipmikey.ticket.identity import canonical

_log = logging.getLogger("sipmikey.agent.incoming_calls")

_FORBIDDEN = 403
_BUSY_HERE = 486
_NOT_ACCEPTABLE_HERE = 488

_VERDICTS = 64
"""How many verdicts are kept: the stack may turn a call away after it was judged."""


class Reception(Protocol):
    """The agent in the event loop, as it is told of calls. Called in the engine's thread."""

    def new_driver(
        self,
        invitation: Invitation,
        keying: Keying | None,
        *,
        refusal: BaseException | None = None,
        replacing: bool = False,
    ) -> CallDriver:
        """Return the driver of a new incoming call."""

    def call_arrived(self, driver: CallDriver) -> None:
        """A call passed the stack; nothing of it is checked yet."""

    def mikey_arrived(self, sender: str, body: bytes) -> None:
        """A MIKEY message came in a MESSAGE, in base64."""

    def group_arrived(self, sender: str, body: bytes) -> None:
        """A message about a group's session came in a MESSAGE."""

    def emit(self, event: Event) -> None:
        """Something happened."""

    def registration(self, status: int, reason: str, expires_s: int) -> None:
        """The registrar answered, or did not (*status* 408 or 503 then)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is done with an INVITE. ``refusal``: why, where ``kind`` is ``REFUSED``.

    ``keying``: has judged the offer, where this side gives the keys; ``fault``: what it found.
    """

    kind: KeyingKind
    caller: str = ""
    refusal: BaseException | None = None
    keying: Keying | None = None
    fault: BaseException | None = None

    @property
    def lane(self) -> Lane:
        """The stack's account for the call: one whose offer will be refused needs no media sockets."""
        return self.kind.lane if self.fault is None else Lane.REFUSED


class IncomingCalls:
    """Judges the INVITEs for one identity, each once; the observer of the stack.

    *post* runs a callable as soon as the stack's present callback has returned. *check* raises a
    ``PeerError`` for a description that this agent cannot use.
    """

    def __init__(
        self,
        config: AgentConfig,
        keyings: StandardKeyings,
        reception: Reception,
        post: Callable[[Callable[[], object]], None],
        check: Callable[[str], None],
    ) -> None:
        self._keyings = keyings
        self._reception = reception
        self._post = post
        self._policy = config.policy
        self._identity = config.identity
        self._trusted = config.sip.trusted_proxies
        self._check = check
        self._turn = config.nat.turn
        self._verdicts: dict[tuple[str, SipMessage], Verdict] = {}
        self._waiting = WaitingMessages()

    # Judging

    def on_invite(self, invite: SipMessage, source: str) -> Placement:
        """Say which of the stack's accounts takes an INVITE, before any socket is opened for it."""
        verdict = self._verdicts[source, invite] = self.judge(invite, source)
        while len(self._verdicts) > _VERDICTS:
            del self._verdicts[next(iter(self._verdicts))]
        refusal = verdict.refusal or verdict.fault
        headers = () if refusal is None else Ending.of(refusal).headers(self._identity)
        return Placement(lane=verdict.lane, headers=headers)

    def _verdict(self, invite: SipMessage, source: str) -> Verdict:
        """Return what was found of an INVITE before, or judge it now."""
        return self._verdicts.pop((source, invite), None) or self.judge(invite, source)

    def judge(self, invite: SipMessage, source: str) -> Verdict:
        """Judge an INVITE from *source*, ``host:port``."""
        try:
            caller = self.caller_of(invite, source)
        except (LocalError, PeerError) as error:
            return Verdict(kind=REFUSED, refusal=IdentityMismatch(str(error), field="From"))
        offer = invite.sdp if invite.has_sdp else None
        try:
            self._check(invite.sdp)
            kind = self._keyings.kind_of(caller=caller, offer=offer, transport=invite.transport)
        except (PeerError, AgentError) as error:
            return Verdict(kind=REFUSED, caller=caller, refusal=error)
        keying = self._keyings.called(kind, caller=caller, offer=offer) if kind.gives_keys else None
        fault = None if keying is None else keying.judge(offer)
        unfit = None if offer is None else kind.unfit(offer, self._keyings.means)
        if unfit is not None:
            return Verdict(kind=REFUSED, caller=caller, refusal=fault or unfit)
        return Verdict(kind=kind, caller=caller, keying=keying, fault=fault)

    def caller_of(self, invite: SipMessage, source: str) -> str:
        """Return the canonical SIP caller: P-Asserted-Identity from a trusted proxy, else From.

        *source* is ``host:port`` the INVITE came from. Raises ``SipMalformed`` or ``LocalError`` where
        no caller can be read.
        """
        host = source.rpartition(":")[0].strip("[]")
        asserted = invite.asserted_identity() if host in self._trusted else None
        uri = asserted or invite.uri("from") or ""
        if uri.count("@") > 1:
            # An @ that may not be there: two readers would find two different callers.
            raise SipMalformed(f"two @ in {uri!r}")
        return canonical(uri)

    # StackObserver

    def on_incoming(self, call: StackCall, invite: SipMessage, source: str, lane: Lane) -> CallObserver:
        """Take a call. It is checked, and the KMS asked, as soon as the stack has handled the INVITE."""
        verdict = self._verdict(invite, source)
        refusal = verdict.refusal
        if lane is Lane.REFUSED and refusal is None and verdict.fault is None:
            refusal = AgentError(Reason.TOO_MANY_CALLS, "too many calls in a short time", side="local")
        keying = self._keying(verdict, invite) if refusal is None else None
        driver = self._reception.new_driver(_invitation(invite, verdict.caller), keying, refusal=refusal)
        driver.call = call
        if refusal is None:
            self._reception.call_arrived(driver)
        self._post(lambda: driver.take(Start()))
        return driver

    def replacement(self, call: str, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        """Judge an INVITE that is to replace *call*, which is on *lane*; the engine waits for the KMS.

        Returns the new call, or the status to refuse with.
        """
        verdict = self._verdict(invite, source)
        outcome = self._let_in(verdict, invite, lane) if verdict.caller else _FORBIDDEN
        status, new_call = (outcome, "") if isinstance(outcome, int) else (200, outcome.number)
        self._reception.emit(
            ReplacementRequested(
                at=time.time(), call=call, caller=verdict.caller, status=status, new_call=new_call
            )
        )
        return outcome

    def _let_in(self, verdict: Verdict, invite: SipMessage, lane: Lane) -> CallDriver | int:
        if not self._policy.transfer:
            return _FORBIDDEN
        # The stack takes the new call on the account of the old one, whichever keying it offers.
        if lane not in (Lane.SECURED, Lane.CLEAR) or verdict.kind.lane is not lane:
            return _NOT_ACCEPTABLE_HERE
        keying = self._keying(verdict, invite)
        driver = self._reception.new_driver(_invitation(invite, verdict.caller), keying, replacing=True)
        self._reception.call_arrived(driver)
        driver.take(Start())
        ending = driver.machine.ending
        return driver if ending is None else ending.status

    def _keying(self, verdict: Verdict, invite: SipMessage) -> Keying:
        offer = invite.sdp if invite.has_sdp else None
        return verdict.keying or self._keyings.called(verdict.kind, caller=verdict.caller, offer=offer)

    def on_turned_away(self, caller: str, status: int, reason: str) -> None:
        """The stack refused a call itself: all its slots are taken, or no codec fits."""
        refusal = self._refusal_of(caller)
        if refusal is not None:
            ending = Ending.of(refusal)
            self._reception.emit(
                PolicyRefused(
                    at=time.time(), reason=ending.reason, side=ending.side,
                    detail=f"{caller} was refused with {status}: {ending.detail}",
                )
            )  # fmt: skip
            return
        full = status == _BUSY_HERE
        why = f"{MAX_CALLS} calls are in progress" if full else reason
        self._reception.emit(
            PolicyRefused(
                at=time.time(),
                reason=Reason.TOO_MANY_CALLS if full else Reason.SIP_FAILURE,
                side="local",
                detail=f"{caller} was refused with {status}: {why}",
            )
        )

    def on_message(self, message: SipMessage, source: str) -> None:
        """Pass on a MESSAGE that carries MIKEY, or is about a group's session, with who sent it."""
        if (kind := message.media_type) is None or kind.name not in (MEDIA_TYPE, GROUP_TYPE):
            return
        try:
            sender = self.caller_of(message, source)
        except LocalError as error:
            _log.info("a message without a sender: %s", error)
        else:
            if kind.name == GROUP_TYPE:
                self._reception.group_arrived(sender, message.content)
            else:
                self._reception.mikey_arrived(sender, message.content)

    def _refusal_of(self, caller: str) -> BaseException | None:
        """Return why an INVITE of *caller* (a URI in brackets), judged a moment ago, was to be refused."""
        for key, verdict in reversed(self._verdicts.items()):
            refusal = verdict.refusal or verdict.fault
            if refusal is not None and verdict.caller and verdict.caller in caller:
                del self._verdicts[key]
                return refusal
        return None

    def on_played(self) -> None:
        """The audio file was played to its end."""
        self._reception.emit(PlaybackFinished(at=time.time()))

    def on_media_path(self, sip_call_id: str, index: int, path: MediaPath) -> None:
        """ICE chose the way of a stream's media."""
        ours = path.local_kind is Candidate.RELAYED
        relay = self._turn if ours else path.remote[0]
        self._reception.emit(
            MediaRoute(
                at=time.time(),
                sip_call_id=sip_call_id,
                index=index,
                way=path.way,
                local=endpoint_text(path.local),
                local_kind=path.local_kind,
                remote=endpoint_text(path.remote),
                remote_kind=path.remote_kind,
                relay=relay if path.way is Way.RELAYED else "",
            )
        )

    def on_sound_news(self, news: News) -> None:
        """A sound device came or went, or a level was measured."""
        self._reception.emit(sound_event(news, time.time()))

    def on_stack_lost(self, calls: int, detail: str, again_in_s: float) -> None:
        """Tell that the stack failed and will be back."""
        self._reception.emit(StackFailed(at=time.time(), calls=calls, detail=detail, again_in_s=again_in_s))

    def on_registration(self, status: int, reason: str, expires_s: int) -> None:
        """Pass on what became of a registration."""
        self._reception.registration(status, reason, expires_s)

    def on_messages_waiting(self, notify: SipMessage, source: str) -> None:
        """Tell of messages that wait for the user."""
        event = self._waiting.take(notify, source)
        if event is not None:
            self._reception.emit(event)

    def on_presence(self, sighting: Sighting) -> None:
        """Tell what a server says of an identity that we watch."""
        state = {True: "open", False: "closed", None: "unknown"}[sighting.open]
        self._reception.emit(
            PresenceChanged(
                at=time.time(), identity=sighting.identity, state=state, note=sighting.note,
                watch=sighting.watch, detail=sighting.detail, source=sighting.source,
            )
        )  # fmt: skip


def _invitation(invite: SipMessage, caller: str) -> Invitation:
    return Invitation(
        caller=caller,
        called=invite.uri("to") or "",
        sdp=invite.sdp if invite.has_sdp else None,
        transport=invite.transport,
        sip_call_id=invite.first("call-id") or "",
        display_name=_display_name(invite),
    )


def _display_name(invite: SipMessage) -> str:
    """Return the name in From, "" where there is none or the field cannot be read."""
    try:
        sender = invite.address("from")
    except SipMalformed:
        return ""
    return "" if sender is None else sender.display_name
