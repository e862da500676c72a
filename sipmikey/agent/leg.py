"""One call's state in the engine's thread: what caller and callee have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from sipmikey.agent.addresses import check_ip_version
from sipmikey.agent.changes import MOST_TRIES, Change, Finished, Kind, glare_wait_s
from sipmikey.agent.config import AgentConfig
from sipmikey.agent.ending import Ending
from sipmikey.agent.engine import Engine
from sipmikey.agent.events import (
    CallAnswered,
    CallEnded,
    CallState,
    DtmfReceived,
    Event,
    KmsExchange,
    MediaProtection,
    MikeyReceived,
    MikeyRefused,
    MikeySent,
    Security,
    Stats,
    StreamStats,
)
from sipmikey.agent.facts import describe_mikey, hold_state
from sipmikey.agent.message import SipMessage
from sipmikey.agent.reasons import (
    AgentError,
    Family,
    Reason,
    reason_of_status,
    status_of,
)
from sipmikey.agent.rekeying import Rekeying
from sipmikey.agent.stack import (
    CallObserver,
    Phase,
    StackCall,
    StackError,
)
from sipmikey.agent.streams import Streams
from sipmikey.sdp import Keyed, Session
from sipmikey.ticket.environment import Environment

Asked = Callable[[bytes, float], None]
"""Takes the KMS's response and the milliseconds it took."""

_PROOF_INTERVAL_S = 0.02
_REQUEST_PENDING = 491
_SWITCH_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a leg needs of the agent. ``ask_kms``: (call, exchange, message, kms, answered, failed).

    ``transfer``: the peer of a call asks us to call somebody; as ``CallObserver.transfer_requested``.
    """

    config: AgentConfig
    env: Environment
    engine: Engine
    emit: Callable[[Event], None]
    ask_kms: Callable[[str, KmsExchange, bytes, str | None, Asked, Callable[[BaseException], None]], None]
    transfer: Callable[[str, str], CallObserver | int]


class Leg:
    """Base of ``OutgoingLeg`` and ``IncomingLeg``; an observer of the stack's call.

    ``calls``: True at the side that made the call.
    """

    calls = False

    def __init__(self, number: str, around: Surroundings, security: Security) -> None:
        self.number = number
        self.around = around
        self.security = security
        self.call: StackCall | None = None
        self.session: Session | None = None
        self.ending: Ending | None = None
        self.to_tag = ""
        self._started = time.monotonic()
        self._confirmed_at: float | None = None
        self._answered = False
        self._over = False
        self._keyed: Keyed | None = None
        self.streams = Streams(
            number,
            live=lambda: self.live,
            emit=around.emit,
            later=around.engine.later,
            proven=self._all_proven,
        )
        self._hold = "talking"
        self._referred: Callable[[int], None] | None = None
        self._offering = False
        self._answering = False
        self._change: Change | None = None
        self._rekeying: Rekeying | None = None
        self._last: SipMessage | None = None

    @property
    def live(self) -> StackCall:
        if self.call is None:
            raise StackError("there is no call yet")
        return self.call

    @property
    def over(self) -> bool:
        """True when the call has ended."""
        return self._over

    def now(self) -> float:
        return time.time()

    # Keys

    def bind(self, keyed: Keyed, to_tag: str) -> None:
        """Run the streams on the keys of branch *to_tag*; streams that do not exist yet get them later."""
        self._keyed = keyed
        self.to_tag = to_tag
        self._show(
            peer=keyed.peer,
            called=keyed.called,
            kms=keyed.kms,
            suite=keyed.suite,
            ticket=keyed.ticket_id[:8],
            keying="mikey-ticket",
        )
        self.streams.key(keyed, to_tag, rekeyed=self._answered)
        if self.streams.running:
            self._show(state="keyed", media=self.streams.protection)
            self.live.connect_audio()
            self._keep_fresh(keyed)
        if self._answered:
            self._show_hold(keyed)

    def unbind(self) -> None:
        """Take all keys off the streams: nothing is sent or played."""
        self._keyed = None
        self.streams.unkey()
        if self.security.media is not MediaProtection.OFF:
            self._show(state="held", media=MediaProtection.HELD)

    def stream_created(self, index: int) -> None:
        # Before the call is confirmed the stack takes the keys away; they are given again when it is known
        # which branch this stream is for.
        self.streams.created(index, without_keys=self._confirmed_at is None)
        self.stream_ready(index)

    def stream_ready(self, index: int) -> None:
        """A stream exists: the callee keys it at once, the caller when the answer was checked."""

    def _all_proven(self) -> None:
        self._show(state="proven", media=MediaProtection.PROVEN)

    def _keep_fresh(self, keyed: Keyed) -> None:
        """Have the keys replaced as often as the ticket demands (TRr)."""
        if self._rekeying is None and keyed.rekey_interval_s is not None:
            self._rekeying = Rekeying(self, self.around.engine.later, keyed.rekey_interval_s)
        if self._rekeying is not None:
            self._rekeying.keyed(tuple(media.send.master_key.fingerprint() for media in keyed.media))

    @property
    def may_rekey(self) -> bool:
        """True when the ticket lets this side give new keys."""
        return self._answered and self.session is not None and self.session.may_rekey

    def expired(self) -> None:
        """The keys were not replaced in time: they are not used any more, and the call ends."""
        detail = "the ticket's rekeying interval (TRr) is over, and there are no new keys"
        self.streams.expire(detail)
        self.unbind()
        self.end(Ending(reason=Reason.KEY_EXPIRED, side="local", status=200, detail=detail))

    def _show_hold(self, keyed: Keyed) -> None:
        hold = hold_state(keyed)
        if hold != self._hold:
            self._hold = hold
            self.around.emit(CallState(at=self.now(), call=self.number, state=hold, security=self.security))

    # Messages within the call

    def attached(self, call: StackCall) -> None:
        self.call = call

    def local_sdp(self, sdp: str, remote: str) -> str:
        if self.session is None:
            return sdp if self.security.media is MediaProtection.OFF else self.first_sdp(sdp, remote)
        if not self._answering:
            self._offering = True
            change = self._change
            return self.session.offer(sdp, rekey=change is not None and change.kind is Kind.REKEY)
        self._answering = False
        text, keyed = self.session.answer(sdp)
        self._keyed = keyed
        return text

    def first_sdp(self, sdp: str, remote: str) -> str:
        """Return the description that sets the call up."""
        raise NotImplementedError

    def remote_offer(self, sdp: str) -> int:
        if self.session is None:
            return 200 if self.security.media is MediaProtection.OFF else 488
        try:
            check_ip_version(sdp, ipv6=self.around.config.sip.ipv6)
            self.session.receive_offer(sdp)
        except Exception as error:  # noqa: BLE001 - an offer within the call is refused, the call goes on
            self.refused(error)
            return status_of(error)
        self._answering = True
        return 200

    def message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        try:
            self._take(direction, message)
        except Exception as error:
            # The stack may end the call by itself before the error gets its turn (``failed``).
            if self.ending is None and not self._over:
                self.ending = Ending.of(error)
            raise

    def _take(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        if message.method == "BYE" and direction == "received" and not message.status:
            self._last = message
        if message.method not in ("INVITE", "UPDATE"):
            return
        if direction == "received" and message.status >= 300:
            self._last = message
        if direction == "received" and message.status // 100 in (1, 2) and message.has_sdp:
            self._check_reachable(message)
        established = self._answered
        if self.security.media is MediaProtection.OFF:
            self.clear_message(direction, message)
        elif self.session is None or not established:
            self.setup_message(direction, message)
        else:
            self._later_message(direction, message)
        if established and direction == "received" and message.status:
            self._answer_to_change(message)

    def _check_reachable(self, answer: SipMessage) -> None:
        """The stack gives a call up whose answer has an address it cannot reach, whatever branch it is of."""
        if not (self.calls and self._answered and answer.to_tag != self.to_tag):
            check_ip_version(answer.body, ipv6=self.around.config.sip.ipv6)

    def clear_message(self, direction: str, message: SipMessage) -> None:
        if direction == "received" and message.status // 100 == 2 and not self._answered:
            self.to_tag = message.to_tag

    def setup_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        """Take a message of the call's set-up."""
        raise NotImplementedError

    def _later_message(self, direction: str, message: SipMessage) -> None:
        assert self.session is not None
        if direction == "sent":
            self._sent_later(message)
            return
        if not self._offering or message.status < 200:
            return
        self._offering = False
        if message.status >= 300:
            self.session.abandon()
        else:
            self.bind(self.session.receive_answer(message.body if message.has_sdp else None), self.to_tag)

    def _sent_later(self, message: SipMessage) -> None:
        assert self.session is not None
        if not message.has_sdp:
            return
        if message.status == 0 and self._offering:
            self.session.check_sent(message.body)
        elif message.status // 100 == 2 and self._keyed is not None:
            self.session.check_sent(message.body)
            self.bind(self._keyed, self.to_tag)

    def propose(self, kind: Kind, finished: Finished, *, update: bool = False) -> None:
        """Ask the peer for a change; *finished* hears None or why not. Raises ``AgentError``."""
        if not self._answered or self._over:
            raise AgentError(Reason.UNEXPECTED_MESSAGE, "the call is not established", side="local")
        if self._offering or self._change is not None:
            raise AgentError(Reason.UNEXPECTED_MESSAGE, "an offer is under way", side="local")
        if kind is Kind.REKEY and (self.session is None or not self.session.may_rekey):
            raise AgentError(Reason.POLICY, "the ticket lets only the peer give new keys", side="local")
        self._change = Change(kind=kind, finished=finished, update=update)
        self._try(self._change)

    def _try(self, change: Change) -> None:
        if self._over or self._change is not change:
            return
        change.tries += 1
        try:
            if change.update:
                self.live.update()
            else:
                self.live.reinvite(hold=change.kind is Kind.HOLD, unhold=change.kind is Kind.RESUME)
        except StackError as error:
            if self._offering and self.session is not None:
                self.session.abandon()
            self._offering = False
            if change.tries < MOST_TRIES:
                # A request of the peer is being answered.
                self.around.engine.later(self._glare_wait_s(), lambda: self._try(change))
                return
            self._change = None
            change.finished(error)

    def _glare_wait_s(self) -> float:
        number = int.from_bytes(self.around.env.random(4), "big")
        return glare_wait_s(call_id_owner=self.calls, random=number)

    def _answer_to_change(self, message: SipMessage) -> None:
        """Take the final response to a change of ours."""
        change = self._change
        if change is None or message.status < 200 or message.status in (401, 407):
            return
        if message.status == _REQUEST_PENDING and change.tries < MOST_TRIES:
            self.around.engine.later(self._glare_wait_s(), lambda: self._try(change))
            return
        self._change = None
        if message.status < 300:
            change.finished(None)
            return
        detail = message.warning or message.start_line.partition(" ")[2]
        word = reason_of_status(message.status, warning=message.warning)
        change.finished(AgentError(word, detail, sip_status=message.status))

    def sent_mikey(self, sdp: str) -> None:
        """Tell of the MIKEY message in *sdp*, which was sent."""
        if (found := describe_mikey(sdp)) is not None:
            name, size = found
            self.around.emit(MikeySent(at=self.now(), call=self.number, message=name, size=size))

    def received_mikey(self, sdp: str, to_tag: str) -> None:
        """Tell of the MIKEY message in *sdp*, which was received."""
        if (found := describe_mikey(sdp)) is not None:
            name, size = found
            self.around.emit(
                MikeyReceived(at=self.now(), call=self.number, message=name, size=size, to_tag=to_tag)
            )

    # State

    def phase(self, phase: Phase, status: int, reason: str) -> None:
        if phase is Phase.CONFIRMED and self._confirmed_at is None:
            self._confirmed_at = time.monotonic()
            self.confirmed()
        elif phase is Phase.DISCONNECTED and not self._over:
            self._ended(status, reason)

    def confirmed(self) -> None:
        """The INVITE transaction succeeded."""

    def answered(self) -> None:
        """The call is established: tell, and wait for the packet that proves it."""
        if self._answered:
            return
        self._answered = True
        self.streams.expect_proof(self.around.config.timeouts.media)
        if self.security.media is MediaProtection.OFF:
            self.live.connect_audio()
        self.around.emit(
            CallAnswered(
                at=self.now(),
                call=self.number,
                sip_call_id=self.live.sip_call_id,
                to_tag=self.to_tag,
                setup_ms=(time.monotonic() - self._started) * 1e3,
                security=self.security,
            )
        )

    def _show(self, *, state: str | None = None, **facts: object) -> None:
        changed = replace(self.security, **facts)  # type: ignore[arg-type]
        if changed == self.security:
            return
        self.security = changed
        if state is not None:
            self.around.emit(CallState(at=self.now(), call=self.number, state=state, security=changed))

    def dtmf(self, digit: str) -> None:
        self.around.emit(DtmfReceived(at=self.now(), call=self.number, digit=digit))

    @property
    def peer_uri(self) -> str:
        """The URI by which others reach this call's peer."""
        return self.security.peer or self.security.called or ""

    def transfer_requested(self, target: str) -> CallObserver | int:
        return self.around.transfer(self.number, target)

    def refer(self, target: str, finished: Callable[[int], None]) -> None:
        """Ask the peer to call *target*; *finished* hears the final status of that, or of the refusal."""
        self._referred = finished
        self.live.transfer(target)

    def transfer_progress(self, status: int, final: bool) -> None:
        if final and self._referred is not None:
            finished, self._referred = self._referred, None
            finished(status)

    def leave(self) -> None:
        """End the call because its peer was transferred."""
        if self.ending is None:
            self.ending = Ending(reason=Reason.TRANSFERRED, side="local", status=200, detail="transferred")
        self.hangup()

    def redirected(self, target: str) -> bool:
        return False

    # The end

    def refused(self, error: BaseException, to_tag: str = "") -> Ending:
        """Tell that a MIKEY message or description of the peer was refused."""
        ending = Ending.of(error)
        if ending.reason.family in (Family.KEYING, Family.NO_KEYING):
            self.around.emit(
                MikeyRefused(
                    at=self.now(), call=self.number, reason=ending.reason, side=ending.side,
                    detail=ending.detail, to_tag=to_tag,
                )
            )  # fmt: skip
        return ending

    def failed(self, error: BaseException) -> None:
        """End the call because of *error*; the peer is told why."""
        if self._over:
            return
        self.end(self.refused(error))

    def end(self, ending: Ending) -> None:
        """End the call for a reason found on this side."""
        if self._over:
            return
        if self.ending is None:
            self.ending = ending
        if self.call is None:
            self._finish()
            return
        try:
            self.call.hangup(ending.status, headers=ending.headers(self.around.config.identity))
        except StackError:
            self._finish()

    def hangup(self) -> None:
        """End the call because the user wants it."""
        early = self._confirmed_at is None
        reason = Reason.CANCELLED if early else Reason.HANGUP
        if self._over:
            return
        if self.ending is None:
            self.ending = Ending(
                reason=reason, side="local", status=487 if early else 200, detail="hung up here"
            )
        try:
            self.live.hangup()
        except StackError:
            self._finish()

    def _ended(self, status: int, reason: str) -> None:
        if self.ending is None:
            self.ending = Ending.by_peer(self._last, status, reason)
        self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self.forget_keys()
        streams = () if self.call is None else self.stats()
        ending = self.ending
        assert ending is not None
        since = self._confirmed_at
        if since is not None:
            self.around.emit(Stats(at=self.now(), call=self.number, streams=streams))
        self.around.emit(
            CallEnded(
                at=self.now(),
                call=self.number,
                reason=ending.reason,
                side=ending.side,
                status=ending.status,
                detail=ending.detail,
                duration_s=0.0 if since is None else time.monotonic() - since,
                security=self.security,
            )
        )

    def forget_keys(self) -> None:
        """Erase what is left of the keys."""
        if self.session is not None:
            self.session.close()
        self._keyed = None
        self.streams.forget()

    def stats(self) -> tuple[StreamStats, ...]:
        """Return the packet counts so far."""
        return tuple(
            StreamStats(
                index=count.index,
                codec=count.codec,
                sent=count.sent,
                decrypted=count.received,
                lost=count.lost,
            )
            for count in self.live.counts()
        )
