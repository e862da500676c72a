"""A call that takes the place of another (Replaces, RFC 3891)."""

from __future__ import annotations

from sipmikey.agent.legs.incoming import IncomingLeg


class ReplacingLeg(IncomingLeg):
    """The user is not asked: it is answered as soon as it is judged, and the call it replaces ends then.

    pjsua sends the answer that it makes within the callback that brought the INVITE. So the offer is judged
    and its tickets are resolved before that answer is made, while the engine waits.
    """

    def judge(self) -> int:
        """Return 200 when the call may be let in, else the status to refuse it with; it is over then."""
        try:
            self.check()
        except Exception as error:  # noqa: BLE001 - it becomes the call's ending
            self.failed(error)
        return 200 if self.ending is None else self.ending.status

    def first_sdp(self, sdp: str, remote: str) -> str:
        return self._complete(sdp)

    def _may_ring(self) -> None:
        self._show(peer=self.caller)
