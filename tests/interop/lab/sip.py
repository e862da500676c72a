"""Just enough of SIP to look into a message and to change one thing in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

KEY_MGMT = re.compile(rb"(?m)^(a=key-mgmt:mikey )([A-Za-z0-9+/=]*)")


def bracketed(host: str) -> str:
    """An address as it stands in URIs and Via: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True, kw_only=True)
class SipMessage:
    """A request or response; header lines are kept as they came, in their order."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raise ValueError for what is no SIP message (a keep-alive, RTP)."""
        head, separator, body = data.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", errors="surrogateescape").split("\r\n")
        if not separator or "SIP/2.0" not in lines[0]:
            raise ValueError("no SIP message")
        pairs = (line.split(":", 1) for line in lines[1:])
        headers = tuple((name.strip(), value.strip()) for name, value in pairs)
        return cls(start=lines[0], headers=headers, body=body)

    def encode(self) -> bytes:
        """The message with Content-Length as long as the body is."""
        lines = [self.start]
        kept = (pair for pair in self.headers if pair[0].lower() not in ("content-length", "l"))
        lines += [f"{name}: {value}" for name, value in kept]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode("utf-8", errors="surrogateescape") + self.body

    @property
    def method(self) -> str:
        """INVITE, ACK... of a request or of the request that a response answers."""
        if self.status is None:
            return self.start.split(" ", 1)[0]
        return self["CSeq"].split()[1]

    @property
    def status(self) -> int | None:
        """Status of a response, None for a request."""
        return int(self.start.split(" ", 2)[1]) if self.start.startswith("SIP/2.0 ") else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        return self.all(name)[0]

    def tag(self, name: str) -> str | None:
        """The tag parameter of From or To."""
        found = re.search(r";\s*tag=([^;\s]+)", self[name])
        return found.group(1) if found else None

    @property
    def mikey(self) -> bytes | None:
        """The first key-mgmt:mikey message of the body, decoded."""
        found = KEY_MGMT.search(self.body)
        return base64.b64decode(found.group(2)) if found else None

    def with_mikey(self, change: Callable[[bytes], bytes]) -> Self:
        """The same message with every key-mgmt:mikey message changed."""

        def substitute(match: re.Match[bytes]) -> bytes:
            return match.group(1) + base64.b64encode(change(base64.b64decode(match.group(2))))

        return self.with_body(KEY_MGMT.sub(substitute, self.body))

    def with_body(self, body: bytes) -> Self:
        return replace(self, body=body)

    def with_header(self, name: str, value: str) -> Self:
        """The same message with the named header replaced, or added."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=(*kept, (name, value)))
