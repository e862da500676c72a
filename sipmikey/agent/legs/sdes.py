"""A call that may turn to SDES (RFC 4568) where policy names it: what caller and callee have in common."""

from __future__ import annotations

import math
import time
from typing import Literal

from sipmikey.agent.legs.leg import Leg
from sipmikey.agent.legs.sdes_exchange import SdesExchange
from sipmikey.agent.sip.ip_version import check_ip_version
from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import CallObserver
from sipmikey.call.events import (
    CallRinging,
    MediaFailed,
    MediaKeyed,
    MediaProtection,
    MediaProven,
    MediaRekeyed,
    PolicyAlternative,
    TransferRequested,
)
from sipmikey.call.reasons import AgentError, Reason, Side, status_of

_PROOF_INTERVAL_S = 0.02
_NOT_ACCEPTABLE_HERE = 488


class SdesLeg(Leg):
    """A leg whose keys come from ``sdes``, unless that is None.

    The stack then runs SRTP by itself; its descriptions and the peer's are judged here, before any sound is
    connected. Nobody vouches for the peer: ``Security.peer`` stays None.
    """

    sdes: SdesExchange | None = None
    _by_sdes_unproven: frozenset[int] = frozenset()
    _by_sdes_deadline: float = math.inf

    def tell_of_sdes(self, reason: Reason, side: Side, detail: str) -> None:
        """Say that this call is keyed by SDES and why."""
        self.around.emit(
            PolicyAlternative(
                at=self.now(), call=self.number, keying="sdes", reason=reason, side=side, detail=detail
            )
        )

    def local_sdp(self, sdp: str, remote: str) -> str:
        if self.sdes is None:
            return super().local_sdp(sdp, remote)
        answering = self._answering or not (self.calls or self._answered)
        self._answering = False
        return self.sdes.made(sdp, answering=answering)

    def remote_offer(self, sdp: str) -> int:
        if self.sdes is None:
            return super().remote_offer(sdp)
        try:
            check_ip_version(sdp, ipv6=self.around.config.sip.ipv6)
            self.sdes.receive_offer(sdp)
        except Exception as error:  # noqa: BLE001 - an offer within the call is refused, the call goes on
            self.refused(error)
            return status_of(error)
        self._answering = True
        return 200

    def sdes_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        """Take a message of a call that is keyed by SDES, at set-up and later."""
        if direction == "sent":
            self._sent_by_sdes(message)
        elif 100 < message.status < 300:
            self._received_by_sdes(message)

    def _sent_by_sdes(self, message: SipMessage) -> None:
        assert self.sdes is not None
        if message.has_sdp:
            self.sdes.check_sent(message.body)
        if not self._answered:
            if not message.status:
                self._show(signalling=message.transport)
                self._check_signalling(message.transport)
            elif message.status // 100 == 2:
                self.to_tag = message.to_tag
        elif message.has_sdp and message.status // 100 == 2:
            self._tell_keys()

    def _check_signalling(self, transport: str) -> None:
        if not self.around.config.policy.sdes_over(transport):
            raise AgentError(
                Reason.POLICY, f"keys of SDES went over {transport}, where policy wants TLS", side="local"
            )

    def _received_by_sdes(self, message: SipMessage) -> None:
        assert self.sdes is not None
        if message.has_sdp:
            try:
                self.sdes.receive_answer(message.body)
            except BaseException:
                self.live.unkey()
                raise
        if self._answered:
            self._tell_keys()
            return
        if message.has_sdp:
            self.to_tag = message.to_tag
        if message.status < 200:
            self.around.emit(
                CallRinging(
                    at=self.now(), call=self.number, status=message.status, to_tag=message.to_tag,
                    early_media=message.has_sdp,
                )
            )  # fmt: skip
            return
        if not self.sdes.agreed or message.to_tag != self.to_tag:
            raise AgentError(Reason.ANSWER_MISSING, "the 200 has no description and no 18x had one")
        self.answered_by_sdes()

    def answered_by_sdes(self) -> None:
        """The call is established, its descriptions are good: let sound flow."""
        if self.ending is not None or self._over:
            return
        self._tell_keys()
        self.live.connect_audio()
        self.answered()

    def _tell_keys(self) -> None:
        assert self.sdes is not None
        suite = self.security.suite
        for stream, again in self.sdes.news():
            suite = stream.suite
            if again:
                self.around.emit(
                    MediaRekeyed(
                        at=self.now(), call=self.number, index=stream.index, suite=stream.suite,
                        send_key=stream.send_key, receive_key=stream.receive_key,
                    )
                )  # fmt: skip
                continue
            self._by_sdes_unproven |= {stream.index}
            self.around.emit(
                MediaKeyed(
                    at=self.now(), call=self.number, index=stream.index, to_tag=self.to_tag,
                    suite=stream.suite, send_key=stream.send_key, receive_key=stream.receive_key,
                )
            )  # fmt: skip
        media = MediaProtection.KEYED if self._by_sdes_unproven else MediaProtection.PROVEN
        self._show(state="keyed", media=media, suite=suite, keying="sdes")
        if self._by_sdes_unproven and self._by_sdes_deadline == math.inf:
            self._by_sdes_deadline = time.monotonic() + self.around.config.timeouts.media
            self.around.engine.later(_PROOF_INTERVAL_S, self._prove_by_sdes)

    def _prove_by_sdes(self) -> None:
        if self._over:
            return
        received = {count.index: count.received for count in self.live.counts()}
        for index in sorted(self._by_sdes_unproven):
            if received.get(index, 0) > 0:
                self._by_sdes_unproven -= {index}
                self.around.emit(MediaProven(at=self.now(), call=self.number, index=index))
        if not self._by_sdes_unproven:
            self._by_sdes_deadline = math.inf
            self._show(state="proven", media=MediaProtection.PROVEN)
            return
        if time.monotonic() > self._by_sdes_deadline:
            self._by_sdes_deadline = math.nan
            self._unproven_by_sdes()
        self.around.engine.later(_PROOF_INTERVAL_S, self._prove_by_sdes)

    def _unproven_by_sdes(self) -> None:
        wait_s = self.around.config.timeouts.media
        for index in sorted(self._by_sdes_unproven):
            self.around.emit(
                MediaFailed(
                    at=self.now(), call=self.number, index=index, reason=Reason.MEDIA_UNPROVEN, side="remote",
                    detail=f"no packet of the peer verified within {wait_s:g} s",
                )
            )  # fmt: skip

    def transfer_requested(self, target: str) -> CallObserver | int:
        if self.sdes is None:
            return super().transfer_requested(target)
        # The stack would make the new call as it made this one: without a ticket.
        self.around.emit(
            TransferRequested(
                at=self.now(), call=self.number, target=target, status=_NOT_ACCEPTABLE_HERE, new_call=""
            )
        )
        return _NOT_ACCEPTABLE_HERE

    def forget_keys(self) -> None:
        if self.sdes is not None:
            self.sdes.close()
        super().forget_keys()
