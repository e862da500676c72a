"""New keys as often as the ticket demands (TRr, RFC 6043 section 6.10), and what a change of keys costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sipmikey.agent.legs.renegotiation import Finished, Kind
from sipmikey.agent.stack import StreamCount
from sipmikey.call.reasons import AgentError

SETTLED = 10
"""So many packets after a change of keys, no packet from before it is still under way."""

_CALLER, _CALLEE = 0.8, 0.9
_AGAIN = 0.05


class Rekeyed(Protocol):
    """The call whose keys are replaced."""

    calls: bool

    @property
    def over(self) -> bool: ...

    @property
    def may_rekey(self) -> bool: ...

    def propose(self, kind: Kind, finished: Finished, *, update: bool = False) -> None: ...

    def expired(self) -> None: ...


class Rekeying:
    """Replaces the keys of a call before they are *interval_s* seconds old, and ends it when that fails.

    The caller does it after four fifths of the interval. The callee waits a little longer, and does it
    where the caller may not, or did not. *later* runs something after a delay in seconds.
    """

    def __init__(
        self, call: Rekeyed, later: Callable[[float, Callable[[], None]], None], interval_s: int
    ) -> None:
        self._call = call
        self._later = later
        self._interval_s = interval_s
        self._keys: tuple[str, ...] = ()
        self._age = 0

    def keyed(self, keys: tuple[str, ...]) -> None:
        """Start counting anew when *keys*, fingerprints of those in force, are other ones than before."""
        if keys == self._keys:
            return
        self._keys = keys
        self._age += 1
        age = self._age
        share = _CALLER if self._call.calls else _CALLEE
        self._later(share * self._interval_s, lambda: self._replace(age))
        self._later(self._interval_s, lambda: self._end(age))

    def stop(self) -> None:
        """Do nothing more: the call goes on without these keys."""
        self._age += 1

    def _is_current(self, age: int) -> bool:
        return age == self._age and not self._call.over

    def _replace(self, age: int) -> None:
        if not self._is_current(age) or not self._call.may_rekey:
            return

        def finished(error: BaseException | None) -> None:
            if error is not None:
                self._later(_AGAIN * self._interval_s, lambda: self._replace(age))

        try:
            self._call.propose(Kind.REKEY, finished)
        except AgentError as error:
            finished(error)

    def _end(self, age: int) -> None:
        if self._is_current(age):
            self._call.expired()


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A change of keys of stream ``index``: the counts ``before`` it, and when to stop looking."""

    index: int
    before: StreamCount | None
    deadline: float

    def difference(self, now: StreamCount | None) -> tuple[int, int]:
        """Return packets (lost, received) since."""
        if self.before is None or now is None:
            return 0, 0
        return now.lost - self.before.lost, now.received - self.before.received
