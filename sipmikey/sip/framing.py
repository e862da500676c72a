"""SIP messages cut out of a stream of octets, by their Content-Length (RFC 3261 section 18.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

LONGEST_MESSAGE: Final = 262_144
"""Most octets of one message: a description may have a MIKEY message of 65,535 octets in base64."""

_LENGTH = re.compile(
    rb"^(?:content-length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"
"""What keeps a connection open, and the answer to it (RFC 5626 section 4.4.1)."""


class FramingError(Exception):
    """The stream can no longer be cut into messages."""


def trimmed(datagram: bytes) -> bytes:
    """Return the message in a datagram without what follows its body (RFC 3261 section 18.3)."""
    head, empty, body = datagram.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    if found is None or not empty or int(found[1]) >= len(body):
        return datagram
    return head + empty + body[: int(found[1])]


class StreamFramer:
    """One direction of a connection. ``pings``: keep-alives (RFC 5626 section 4.4.1) since the last reset."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self.pings = 0

    def take_pong(self) -> bool:
        """Return whether an empty line is all that waits, as after the answer to a ping; it is taken out."""
        if bytes(self._buffer) != PONG:
            return False
        self._buffer.clear()
        return True

    def messages(self, octets: bytes) -> Iterator[bytes]:
        """Take *octets*; yield the messages that are complete. Raises ``FramingError``."""
        self._buffer += octets
        while True:
            self._skip_line_ends()
            end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
            if end < 0:
                self._searched = len(self._buffer)
                if len(self._buffer) > LONGEST_MESSAGE:
                    raise FramingError(f"no end of the header within {LONGEST_MESSAGE} octets")
                return
            found = _LENGTH.search(bytes(self._buffer[:end]))
            if found is None:
                raise FramingError("a message without Content-Length")
            whole = end + 4 + int(found[1])
            if whole > LONGEST_MESSAGE:
                raise FramingError(f"a message of {whole} octets")
            if len(self._buffer) < whole:
                self._searched = end
                return
            message = bytes(self._buffer[:whole])
            del self._buffer[:whole]
            self._searched = 0
            yield message

    def _skip_line_ends(self) -> None:
        """Take out the empty lines before a message."""
        while self._buffer[:2] == b"\r\n":
            if self._buffer[:4] == PING:
                self.pings += 1
                del self._buffer[:4]
            elif len(self._buffer) < 4 and bytes(self._buffer) in (b"\r\n", b"\r\n\r"):
                return
            else:
                del self._buffer[:2]
            self._searched = 0
