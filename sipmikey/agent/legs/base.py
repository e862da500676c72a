"""One call's state in the engine's thread: what is known of it, its keys, and how it ends."""

from __future__ import annotations

import time
from dataclasses import replace

from sipmikey.agent.legs.context import Surroundings
from sipmikey.agent.legs.ending import TRANSFERRED, Ending
from sipmikey.agent.legs.mikey_description import describe_mikey, hold_state
from sipmikey.agent.legs.streams import Streams
from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import Phase, StackCall, StackError
from sipmikey.call.events import (
    CallAnswered,
    CallEnded,
    CallState,
    MediaProtection,
    MikeyReceived,
    MikeyRefused,
    MikeySent,
    Security,
    Stats,
    StreamStats,
)
from sipmikey.call.reasons import Family, Reason
from sipmikey.sdp import Session, SessionKeys


class BaseLeg:
    """The facts of a call, its keys and its end; ``Leg`` adds what the peers say to each other.

    ``calls``: True at the side that made the call. ``given_away``: the peer is to be another's peer soon.
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
        self.given_away = False
        self._started = time.monotonic()
        self._confirmed_at: float | None = None
        self._answered = False
        self._over = False
        self._keyed: SessionKeys | None = None
        self.streams = self.no_streams()
        self._hold = "talking"
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

    def no_streams(self) -> Streams:
        """Return the book-keeping of a call without streams yet."""
        return Streams(
            self.number,
            live=lambda: self.live,
            emit=self.around.emit,
            later=self.around.engine.later,
            proven=self._all_proven,
        )

    def bind(self, keyed: SessionKeys, to_tag: str) -> None:
        """Run the streams on the keys of branch *to_tag*; streams that do not exist yet get them later."""
        self._keyed = keyed
        self.to_tag = to_tag
        self._show(
            peer=keyed.peer,
            kms=keyed.kms,
            suite=keyed.suite,
            ticket=keyed.ticket_id[:8],
            keying="mikey-ticket",
        )
        self.streams.key(keyed, to_tag, rekeyed=self._answered)
        if self.streams.running:
            self._show(state="keyed", media=self.streams.protection)
            self.live.connect_audio()
            self.keys_in_use(keyed)
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

    def keys_in_use(self, keyed: SessionKeys) -> None:
        """The streams run on *keyed* now."""

    def _show_hold(self, keyed: SessionKeys) -> None:
        hold = hold_state(keyed)
        if hold != self._hold:
            self._hold = hold
            self.around.emit(CallState(at=self.now(), call=self.number, state=hold, security=self.security))

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
            ending = Ending.by_peer(self._last, status, reason)
            self.ending = TRANSFERRED if self.given_away and ending.reason is Reason.HANGUP else ending
        self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self.forget_keys()
        streams = self.stats()
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
        """Return the packet counts so far; none where there is no INVITE under way."""
        counts = () if self.call is None else self.call.counts()
        return tuple(
            StreamStats(
                index=count.index,
                codec=count.codec,
                sent=count.sent,
                decrypted=count.received,
                lost=count.lost,
            )
            for count in counts
        )
