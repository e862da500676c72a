"""New keys as often as the ticket demands (TRr, RFC 6043 section 6.10)."""

from __future__ import annotations

from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import Timer

_CALLER, _CALLEE = 0.8, 0.9
_AGAIN = 0.05


class Rekeying:
    """The age of a call's keys: when to replace them, and when they must no longer be used.

    The caller (*calls*) replaces them after four fifths of the interval. The callee waits a little longer,
    and does it where the caller may not, or did not.
    """

    def __init__(self, out: Outbox, *, calls: bool) -> None:
        self._out = out
        self._share = _CALLER if calls else _CALLEE
        self._interval_s = 0
        self._keys: tuple[str, ...] = ()

    def keyed(self, agreement: Agreement) -> None:
        """Restart the timers when the keys in force have changed."""
        if agreement.rekey_interval_s is not None:
            self._interval_s = agreement.rekey_interval_s
        keys = tuple(stream.send_key for stream in agreement.streams)
        if not self._interval_s or keys == self._keys:
            return
        self._keys = keys
        self._out.start(Timer.REKEY, self._share * self._interval_s)
        self._out.start(Timer.EXPIRE, self._interval_s)

    def again(self) -> None:
        """The replacement was refused: try once more soon."""
        if Timer.EXPIRE in self._out.timers:
            self._out.start(Timer.REKEY, _AGAIN * self._interval_s)

    def stop(self) -> None:
        """Stop the timers: these keys are no longer used."""
        self._keys = ()
        self._interval_s = 0
        self._out.stop(Timer.REKEY, Timer.EXPIRE)
