"""What the peers of a call say to each other: offers, changes, new keys, transfers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from sipmikey.agent.legs.base import BaseLeg
from sipmikey.agent.legs.context import Surroundings
from sipmikey.agent.legs.ending import TRANSFERRED, Ending
from sipmikey.agent.legs.rekeying import Rekeying
from sipmikey.agent.legs.renegotiation import Change, Changes, Finished, Kind, glare_wait_s
from sipmikey.agent.sip.ip_version import check_ip_version
from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import CallObserver, Lane, StackCall
from sipmikey.call.events import DtmfReceived, MediaProtection, Security
from sipmikey.call.reasons import AgentError, Reason, status_of
from sipmikey.sdp import SessionKeys

_NO_SUCH_CALL = 481


class Leg(BaseLeg):
    """Base of ``OutgoingLeg`` and ``IncomingLeg``; an observer of the stack's call."""

    def __init__(self, number: str, around: Surroundings, security: Security) -> None:
        super().__init__(number, around, security)
        self._offering = False
        self._answering = False
        self._changes = Changes(send=self._request, withdraw=self._withdraw, again=self._after_glare)
        self._rekeying: Rekeying | None = None
        self._referred: Callable[[int], None] | None = None

    # Descriptions and messages

    def attached(self, call: StackCall) -> None:
        self.call = call

    def local_sdp(self, sdp: str, remote: str) -> str:
        if self.session is None:
            return sdp if self.security.media is MediaProtection.OFF else self.first_sdp(sdp, remote)
        if not self._answering:
            self._offering = True
            return self.session.make_offer(sdp, rekey=self._changes.kind is Kind.REKEY)
        self._answering = False
        text, keyed = self.session.make_answer(sdp)
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
            self._changes.answered(message)

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
        if self._offering:
            raise AgentError(Reason.UNEXPECTED_MESSAGE, "an offer is under way", side="local")
        if kind is Kind.REKEY and (self.session is None or not self.session.may_rekey):
            raise AgentError(Reason.POLICY, "the ticket lets only the peer give new keys", side="local")
        self._changes.begin(Change(kind=kind, finished=finished, update=update))

    def _request(self, change: Change) -> None:
        if change.update:
            self.live.update()
        else:
            self.live.reinvite(hold=change.kind is Kind.HOLD, unhold=change.kind is Kind.RESUME)

    def _withdraw(self) -> None:
        if self._offering and self.session is not None:
            self.session.abandon()
        self._offering = False

    def _after_glare(self, work: Callable[[], None]) -> None:
        number = int.from_bytes(self.around.env.random(4), "big")
        self.around.engine.later(glare_wait_s(call_id_owner=self.calls, random=number), work)

    # New keys

    def keys_in_use(self, keyed: SessionKeys) -> None:
        """Have the keys replaced as often as the ticket demands (TRr)."""
        if self._rekeying is None and keyed.rekey_interval_s is not None:
            self._rekeying = Rekeying(self, self.around.engine.later, keyed.rekey_interval_s)
        if self._rekeying is not None:
            self._rekeying.keyed(tuple(media.send.master_key.fingerprint() for media in keyed.media))

    def stop_rekeying(self) -> None:
        """Do not replace the keys of an attempt that is over, nor end the call for their age."""
        if self._rekeying is not None:
            self._rekeying.stop()
            self._rekeying = None

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

    # Digits and transfers

    def dtmf(self, digit: str) -> None:
        self.around.emit(DtmfReceived(at=self.now(), call=self.number, digit=digit))

    @property
    def peer_uri(self) -> str:
        """The URI by which others reach this call's peer."""
        return self.security.peer or self.security.called or ""

    def transfer_requested(self, target: str) -> CallObserver | int:
        return self.around.transfer(self.number, target)

    def refer(self, target: str, finished: Callable[[int], None], replacing: Leg | None = None) -> None:
        """Ask the peer to call *target*; *finished* hears the final status of that, or of the refusal.

        With *replacing* the peer is to take our place in that call.
        """
        self._referred = finished
        if replacing is None:
            self.live.transfer(target)
            return
        replacing.given_away = True
        self.live.transfer(target, replacing.live)

    def transfer_progress(self, status: int, final: bool) -> None:
        if final and self._referred is not None:
            finished, self._referred = self._referred, None
            finished(status)

    def leave(self) -> None:
        """End the call because its peer was transferred."""
        if self.ending is None:
            self.ending = TRANSFERRED
        self.hangup()

    def replacement_asked(self, invite: SipMessage, source: str, lane: Lane) -> CallObserver | int:
        if not self._answered or self._over:
            return _NO_SUCH_CALL
        return self.around.replace(self.number, invite, source, lane)

    def replaced(self) -> None:
        self.ending = Ending(
            reason=Reason.REPLACED, side="remote", status=200, detail="another call has this one's place"
        )

    def _finish(self) -> None:
        self._changes.forget()
        super()._finish()
