"""Responses that this side repeats until the peer acknowledges them (RFC 3261 section 13.3.1.4, RFC 3262)."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.agent.asyncio_sip.wire.transactions import LIFETIME, T1, T2, Later, Timer


class RepeatedResponse:
    """A response that is repeated until it is acknowledged. *offered*: the offer in it."""

    def __init__(
        self, later: Later, send: Callable[[], None], lost: Callable[[], None], offered: str = ""
    ) -> None:
        self._later = later
        self._send = send
        self.offered = offered
        self._again = later(T1, lambda: self._repeat(T1))
        self._lost: Timer = later(LIFETIME, lambda: self._give_up(lost))

    def _repeat(self, delay_s: float) -> None:
        self._send()
        following = min(2 * delay_s, T2)
        self._again = self._later(following, lambda: self._repeat(following))

    def _give_up(self, lost: Callable[[], None]) -> None:
        self.stop()
        lost()

    def stop(self) -> None:
        """Do not send it again."""
        self._again.cancel()
        self._lost.cancel()


class UnacknowledgedResponses:
    """The responses that this side repeats, by number: the CSeq of an INVITE, or RSeq (RFC 3262)."""

    def __init__(self, later: Later, lost: Callable[[], None]) -> None:
        self._later = later
        self._lost = lost
        self._responses: dict[int, RepeatedResponse] = {}

    def add(self, number: int, send: Callable[[], None], offered: str = "") -> None:
        """Repeat a response by *send*. *offered*: the offer in it, that the ACK answers."""
        self._responses[number] = RepeatedResponse(self._later, send, self._lost, offered)

    def acknowledged(self, number: str) -> str | None:
        """Stop repeating; return the offer in that response, None where there was no such response."""
        repeated = self._responses.pop(int(number), None) if number.isdecimal() else None
        if repeated is None:
            return None
        repeated.stop()
        return repeated.offered

    def stop(self) -> None:
        """Stop repeating all of them. They may still be acknowledged."""
        for repeated in self._responses.values():
            repeated.stop()
