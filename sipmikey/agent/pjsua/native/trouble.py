"""The reasons why pjmedia drops packets.

It does not count them and only logs each one, at its most verbose level. So this module reads the log while
it looks for the reason why a proven stream has fallen silent.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from sipmikey.agent.pjsua.native.functions import c_function

_LEVEL_OF_PACKETS = 5
_FAILED = b"Failed to unprotect SRTP, "
_QUIET_S = 2.0
_MOST_KINDS = 16

_WORDS = {
    "authentication failure": "packets arrive that do not verify: under another key or rollover counter,"
    " altered, or not SRTP",
    "replay check failed (bad index)": "packets arrive whose numbers were seen before: replayed, or begun"
    " again under the same key",
    "replay check failed (index too old)": "packets arrive whose numbers are too old: replayed, or begun"
    " again under the same key",
}


class PacketLog:
    """Listens to pjlib's log.

    While it listens, it counts lines about packets and passes none on: they could hold keys.
    """

    def __init__(self) -> None:
        self._writer_type = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
        self._get, self._set = c_function("pj_log_get_log_func"), c_function("pj_log_set_log_func")
        self._get_level, self._set_level = c_function("pj_log_get_level"), c_function("pj_log_set_level")
        self._found: Counter[str] = Counter()
        # pjlib keeps the address: the object has to live as long as this one.
        self._own = self._writer_type(self._write)
        self._before: tuple[int, int] | None = None

    def open(self) -> None:
        """Begin to listen."""
        if self._before is not None:
            return
        self._found.clear()
        self._before = int(self._get() or 0), int(self._get_level())
        self._set(ctypes.cast(self._own, ctypes.c_void_p))
        self._set_level(_LEVEL_OF_PACKETS)

    def close(self) -> Counter[str]:
        """Listen no more; return what libsrtp said, and how often."""
        if self._before is not None:
            writer, level = self._before
            self._set_level(level)
            self._set(writer or None)
            self._before = None
        return self._found

    def _write(self, level: int, data: int, length: int) -> None:
        """Take a line, in whatever thread wrote it."""
        before = self._before
        line = ctypes.string_at(data, length)
        at = line.find(_FAILED)
        if at >= 0:
            why = line[at:].partition(b"err=")[2].strip().decode("ascii", "replace")
            if why in self._found or len(self._found) < _MOST_KINDS:
                self._found[why] += 1
        elif before is not None and before[0] and level <= before[1]:
            self._writer_type(before[0])(level, data, length)


@dataclass(slots=True)
class _Silence:
    received: int
    since_s: float
    listening: bool = False
    words: str | None = None


class Trouble:
    """Finds out why streams have fallen silent, one at a time. ``about`` is called about once a second."""

    def __init__(self, log: PacketLog) -> None:
        self._log = log
        self._streams: dict[Hashable, _Silence] = {}

    def about(self, stream: Hashable, received: int, now_s: float) -> str:
        """Return what is wrong with the packets of a stream; ``""`` where nothing is, or nothing arrives."""
        last = self._streams.get(stream)
        if last is None or last.received != received:
            self.forget(stream)
            self._streams[stream] = _Silence(received=received, since_s=now_s)
            return ""
        if last.words is not None or received == 0 or now_s - last.since_s < _QUIET_S:
            return last.words or ""
        if last.listening:
            last.listening, last.words = False, _in_words(self._log.close())
        elif not any(other.listening for other in self._streams.values()):
            last.listening = True
            self._log.open()
        return last.words or ""

    def forget(self, stream: Hashable) -> None:
        """The stream is over, or is heard again."""
        last = self._streams.pop(stream, None)
        if last is not None and last.listening:
            self._log.close()


def _in_words(found: Counter[str]) -> str:
    if not found:
        return ""
    why, _ = found.most_common(1)[0]
    return _WORDS.get(why, f"packets arrive that do not verify: {why}")
