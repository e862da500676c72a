"""The callee's side of a call: early checks, the question to the KMS, the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from sipmikey.agent.legs.context import Surroundings
from sipmikey.agent.legs.ending import Ending
from sipmikey.agent.legs.leg import Leg
from sipmikey.agent.legs.sdes import SdesLeg
from sipmikey.agent.legs.sdes_exchange import SdesExchange
from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import StackCall, StackError
from sipmikey.agent.tickets.store import ResolvedTickets
from sipmikey.call.events import CallIn, KmsResponse, MediaProtection, PolicyRefused, Security
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import PeerError, SipmikeyError
from sipmikey.sdp import Answerer
from sipmikey.ticket.credentials import PreSharedKey
from sipmikey.ticket.resolve import answerer_text

_SERVICE_UNAVAILABLE = 503


class IncomingLeg(SdesLeg):
    """A call of *caller*; *ready* is called when it may ring. *answerer* None: a call in clear, or keyed by
    *sdes*."""

    def __init__(
        self,
        number: str,
        around: Surroundings,
        call: StackCall | None,
        invite: SipMessage,
        *,
        caller: str,
        answerer: Answerer | None,
        kept: ResolvedTickets | None,
        sdes: SdesExchange | None = None,
        ready: Callable[[IncomingLeg], None],
    ) -> None:
        clear = answerer is None and sdes is None
        media = MediaProtection.OFF if clear else MediaProtection.HELD
        super().__init__(number, around, Security(signalling=invite.transport, media=media))
        self.call = call
        self.caller = caller
        self.called = invite.uri("to") or ""
        self._invite = invite
        self._answerer = answerer
        self._kept = kept
        self._ticket_id = ""
        self.sdes = sdes
        self._ready = ready
        self._own_sdp = ""

    def check(self) -> None:
        """Judge the offer, and ask the KMS when it passes. Raises a ``PeerError`` to refuse."""
        body = self._invite.body if self._invite.has_sdp else None
        if self._answerer is None:
            self._tell_of_call()
            if self.sdes is not None:
                self.tell_of_sdes(
                    Reason.KEY_MGMT_MISSING, "remote", "the offer has a=crypto and no key management"
                )
            self._ready(self)
            return
        if body is not None:
            self.received_mikey(body, "")
        offered = self._answerer.receive_offer(body, sip_caller=self.caller)
        self._show(called=offered.called, kms=offered.kms, ticket=offered.ticket_id[:8])
        self._tell_of_call()
        self._ticket_id = offered.ticket_id
        resolved = None if self._kept is None else self._kept.get(offered.ticket_id)
        if resolved is not None:
            self._answerer.use_resolved(resolved)
        self._next(offered.kms)

    def _tell_of_call(self) -> None:
        self.around.emit(
            CallIn(
                at=self.now(),
                call=self.number,
                caller=self.caller,
                called=self.called,
                sip_call_id=self._invite.first("call-id") or "",
            )
        )

    def _ask(self, kms: str | None) -> None:
        assert self._answerer is not None
        keys = self.around.config.keys
        if keys is None:
            raise AgentError(Reason.NO_KMS, "no KMS is configured", side="local")
        credential = PreSharedKey(key=keys.psk, key_id=keys.psk_id)
        message = self._answerer.make_resolve_init(credential, kms=kms or keys.kms)
        self.around.ask_kms(
            self.number,
            "ticket-resolve",
            message,
            kms,
            lambda response, took: self._resolved(kms or keys.kms, response, took),
            self.failed,
        )

    def _resolved(self, kms: str, response: bytes, elapsed_ms: float) -> None:
        if self._over:
            return
        assert self._answerer is not None
        try:
            resolved = self._answerer.receive_resolve_resp(response)
        except SipmikeyError as error:
            self.failed(error)
            return
        if self._kept is not None:
            self._kept.keep(self._ticket_id, resolved)
        self.around.emit(
            KmsResponse(
                at=self.now(), call=self.number, exchange="ticket-resolve", kms=kms, size=len(response),
                elapsed_ms=elapsed_ms, answerer=answerer_text(resolved),
            )
        )  # fmt: skip
        self._next(kms)

    def _next(self, kms: str | None) -> None:
        """Have the next ticket resolved; when all are, the call rings."""
        assert self._answerer is not None
        if self._answerer.unresolved:
            self._ask(kms)
            return
        self._may_ring()

    def _may_ring(self) -> None:
        self._show(state="ringing", peer=self.caller)
        self._ready(self)

    def first_sdp(self, sdp: str, remote: str) -> str:
        # The stack makes its answer when the call comes in; it is sent, completed, when the user answers.
        self._own_sdp = sdp
        return sdp

    def ring(self) -> None:
        """Send 180."""
        self.live.answer(180)

    def accept(self) -> None:
        """Send 200 with the answer."""
        if self._over:
            return
        if self._answerer is None:
            self._started = time.monotonic()
            self.live.answer(200)
            return
        self._started = time.monotonic()
        try:
            self.live.answer(200, sdp=self._complete(self._own_sdp))
        except SipmikeyError as error:
            self.failed(error)

    def _complete(self, sdp: str) -> str:
        """Return the answer with TRANSFER_RESP, and have its keys used."""
        assert self._answerer is not None
        made, keyed = self._answerer.make_answer(sdp)
        self.session = self._answerer.session
        self.bind(keyed, "")
        return made

    def stream_ready(self, index: int) -> None:
        if self._keyed is not None and self.session is not None and not self._answered:
            self.bind(self._keyed, self.to_tag)

    def refuse(self, status: int) -> None:
        """Refuse with *status* because the user does not want the call."""
        if self._over:
            return
        reason = Reason.BUSY if status in (486, 600) else Reason.DECLINED
        self.ending = Ending(reason=reason, side="local", status=status, detail="refused by the user")
        try:
            self.live.hangup(status)
        except StackError:
            self._finish()

    def setup_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        if self.sdes is not None:
            self.sdes_message(direction, message)
            return
        if direction != "sent" or message.method != "INVITE" or message.status // 100 != 2:
            return
        self.to_tag = message.to_tag
        assert self._answerer is not None
        self._answerer.check_sent(message.body)
        self.sent_mikey(message.body)

    def confirmed(self) -> None:
        if self.sdes is not None:
            self.answered_by_sdes()
        else:
            self.answered()

    def forget_keys(self) -> None:
        if self._answerer is not None:
            self._answerer.close()
        super().forget_keys()


class RefusedLeg(Leg):
    """A call that is answered with a failure at once, because of *error*."""

    def __init__(self, number: str, around: Surroundings, call: StackCall, error: PeerError) -> None:
        super().__init__(number, around, Security(signalling="udp", media=MediaProtection.HELD))
        self.call = call
        self._error = error

    def refuse(self) -> None:
        """Send the refusal."""
        ending = self.ending = self.refused(self._error)
        if ending.side == "local":
            self.around.emit(
                PolicyRefused(
                    at=self.now(), call=self.number, reason=ending.reason, side=ending.side,
                    detail=ending.detail,
                )
            )  # fmt: skip
        headers = ending.headers(self.around.config.identity)
        if ending.status == _SERVICE_UNAVAILABLE:
            headers += (("Retry-After", "1"),)
        try:
            self.live.answer(ending.status, headers=headers)
        except StackError:
            self._finish()

    def first_sdp(self, sdp: str, remote: str) -> str:
        return sdp

    def setup_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        return
