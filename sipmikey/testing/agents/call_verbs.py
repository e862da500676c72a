"""What an agent under test can do within a call, and to be seen of it."""

from __future__ import annotations

from sipmikey.testing.agent_driver import WAIT_S, Fields
from sipmikey.testing.agents.driven import Driven


class CallVerbs(Driven):
    """Verbs within the latest call of an agent; each waits until it is done, and raises `CallRefused`."""

    _call: str

    def hold(self) -> None:
        """Put the call on hold."""
        self.do("hold", call=self._call)

    def resume(self) -> None:
        """Take the call from hold."""
        self.do("resume", call=self._call)

    def expect_held(self, *, timeout_s: float = WAIT_S) -> None:
        """Wait until the other side has put the call on hold."""
        self.wait_for("call.state", call=self._call, state="held", timeout_s=timeout_s)

    def rekey(self, *, update: bool = False) -> None:
        """Replace the SRTP keys of the call, by re-INVITE or by *update* (RFC 3311)."""
        self.do("rekey", call=self._call, update=update)

    def expect_rekeyed(self, *, timeout_s: float = WAIT_S) -> Fields:
        """Wait until either side has replaced the keys, and return the event."""
        return self.wait_for("media.rekeyed", call=self._call, timeout_s=timeout_s)

    def dtmf(self, digits: str) -> None:
        """Send digits as telephone events."""
        self.do("dtmf", call=self._call, digits=digits)

    def expect_dtmf(self, digits: str, *, timeout_s: float = WAIT_S) -> None:
        """Wait until these digits have come, in any order."""
        for digit in digits:
            self.wait_for("dtmf.received", call=self._call, digit=digit, timeout_s=timeout_s)

    def transfer(self, target: Driven | str) -> int:
        """Have the other side call *target*: an agent, a URI, or the number of another call of ours.

        Returns the number of a command: `expect_transferred` waits for its outcome. The other side must allow
        it (``transfer=True`` in its settings).
        """
        wanted = target if isinstance(target, str) else target.identity
        return self.process.start("transfer", call=self._call, target=wanted)

    def expect_transferred(self, command: int, *, timeout_s: float = WAIT_S) -> None:
        """Wait until the other side has said that its new call was answered; raises `CallRefused`."""
        self.process.finish(command, timeout_s=timeout_s)

    def follow_transfer(self, *, timeout_s: float = WAIT_S) -> str:
        """Wait until the other side transfers us; return the number of the new call, now the latest."""
        process = self.process

        def found() -> Fields | None:
            asked = (event for event in process.seen if event["type"] == "transfer.requested")
            return next((one for one in asked if one["call"] == self._call and one["new_call"]), None)

        self._call = str(process.wait("transfer", found, timeout_s=timeout_s)["new_call"])
        return self._call
