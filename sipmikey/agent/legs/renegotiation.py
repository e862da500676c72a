"""What this side asks of the peer within a call: hold, resume, refresh, new keys. One at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import StackError
from sipmikey.call.reasons import AgentError, Reason, reason_of_status

Finished = Callable[[BaseException | None], None]
"""Told None when the peer agreed, or why it did not."""

MOST_TRIES = 4
"""How often a change that meets one of the peer's (491) is tried before it is given up."""

_REQUEST_PENDING = 491
_OWNER_S, _OTHER_S, _SPAN_S = 2.1, 0.0, 1.9


class Kind(StrEnum):
    """``REFRESH`` offers what is there already, with the codecs now preferred; no key changes."""

    HOLD = "hold"
    RESUME = "resume"
    REFRESH = "refresh"
    REKEY = "rekey"


@dataclass(slots=True, kw_only=True)
class Change:
    """A change under way. ``update``: by UPDATE (RFC 3311) instead of re-INVITE."""

    kind: Kind
    finished: Finished
    update: bool = False
    tries: int = 0


class Changes:
    """The change under way in a call, and its further tries where it meets one of the peer's.

    *send* makes the request; it raises ``StackError`` while one of the peer's is being answered. *withdraw*
    takes back what was offered. *again* runs something after the time that ``glare_wait_s`` gives.
    """

    def __init__(
        self,
        *,
        send: Callable[[Change], None],
        withdraw: Callable[[], None],
        again: Callable[[Callable[[], None]], None],
    ) -> None:
        self._send = send
        self._withdraw = withdraw
        self._again = again
        self._change: Change | None = None

    @property
    def kind(self) -> Kind | None:
        """What is under way, None when nothing is."""
        return None if self._change is None else self._change.kind

    def begin(self, change: Change) -> None:
        """Ask for *change*. Raises ``AgentError`` while another is under way."""
        if self._change is not None:
            raise AgentError(Reason.UNEXPECTED_MESSAGE, "an offer is under way", side="local")
        self._change = change
        self._try(change)

    def forget(self) -> None:
        """The call is over: nothing is tried any more."""
        self._change = None

    def _try(self, change: Change) -> None:
        if self._change is not change:
            return
        change.tries += 1
        try:
            self._send(change)
        except StackError as error:
            self._withdraw()
            if change.tries < MOST_TRIES:
                self._again(lambda: self._try(change))
                return
            self._finish(change, error)

    def answered(self, message: SipMessage) -> None:
        """Take a response to the request; one that is not final or asks for a password changes nothing."""
        change = self._change
        if change is None or message.status < 200 or message.status in (401, 407):
            return
        if message.status == _REQUEST_PENDING and change.tries < MOST_TRIES:
            self._again(lambda: self._try(change))
            return
        if message.status < 300:
            self._finish(change, None)
            return
        detail = message.warning or message.start_line.partition(" ")[2]
        word = reason_of_status(message.status, warning=message.warning)
        self._finish(change, AgentError(word, detail, sip_status=message.status))

    def _finish(self, change: Change, error: BaseException | None) -> None:
        self._change = None
        change.finished(error)


def glare_wait_s(*, call_id_owner: bool, random: int) -> float:
    """Return seconds until a request refused with 491 is tried again (RFC 3261 section 14.1).

    Between 2.1 and 4 s for the side that made the Call-ID, up to 2 s for the other, in steps of 10 ms;
    *random* is any number.
    """
    start = _OWNER_S if call_id_owner else _OTHER_S
    return start + (random % 191) / 190 * _SPAN_S
