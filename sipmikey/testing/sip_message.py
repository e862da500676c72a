"""SIP messages as the switchboard needs them: where one ends in a stream, first line, headers and body."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

MAX_OCTETS = 65_536

COMPACT = {
    "v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length",
    "c": "content-type", "k": "supported", "e": "content-encoding", "s": "subject",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessage:
    """``start``: the request or status line. ``headers``: names as written, and values. ``body``: octets."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    @property
    def status(self) -> int | None:
        """The status of a response, None of a request."""
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def method(self) -> str:
        """The method of a request, or of the request a response answers."""
        return self.start.split(" ")[0] if self.status is None else self.header("cseq").split()[-1]

    @property
    def uri(self) -> str:
        """The Request-URI."""
        return self.start.split(" ")[1]

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty text."""
        for written, value in self.headers:
            if _long(written) == name.lower():
                return value
        return ""

    def tag(self, name: str) -> str:
        """Return the tag in the From or To header, or an empty text."""
        found = re.search(r";\s*tag=([^;\s]+)", self.header(name))
        return found[1] if found else ""

    def with_header(self, name: str, value: str | None) -> SipMessage:
        """Return the message with that header's first value replaced or added; None takes it away."""
        headers = list(self.headers)
        place = next((n for n, (written, _) in enumerate(headers) if _long(written) == name.lower()), None)
        if place is not None:
            headers[place : place + 1] = [] if value is None else [(name, value)]
        elif value is not None:
            headers.append((name, value))
        return replace(self, headers=tuple(headers))

    def with_sdp(self, edit: Callable[[str], str]) -> SipMessage:
        """Return the message with *edit* applied to its session description, if it has one."""
        if b"m=" not in self.body:
            return self
        return replace(self, body=edit(self.body.decode()).encode())

    def encode(self) -> bytes:
        """Return the message for the wire, its Content-Length set."""
        sized = self.with_header("Content-Length", str(len(self.body)))
        lines = [sized.start, *(f"{name}: {value}" for name, value in sized.headers), "", ""]
        return "\r\n".join(lines).encode() + self.body


def _long(name: str) -> str:
    return COMPACT.get(name.strip().lower(), name.strip().lower())


async def read_message(reader: asyncio.StreamReader) -> SipMessage | None:
    """Return the next message of a TCP connection, None at its end. Keep-alives are skipped."""
    while True:
        try:
            line = await reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if line != b"\r\n":
            break
    try:
        rest = b"\r\n" + await reader.readuntil(b"\r\n\r\n") if line else b""
        head = (line[:-2] + rest).decode(errors="replace").rstrip("\r\n").split("\r\n")
        headers = tuple(
            (name.strip(), value.strip()) for name, _, value in (text.partition(":") for text in head[1:])
        )
        message = SipMessage(start=head[0], headers=headers)
        length = int(message.header("content-length") or 0)
        if not 0 <= length <= MAX_OCTETS:
            return None
        return replace(message, body=await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None
