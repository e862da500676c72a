"""SIP messages with the MIKEY message in them, and a way to change it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Self

from sipmikey import sip

KEY_MGMT = re.compile(r"(?m)^(a=key-mgmt:mikey )([A-Za-z0-9+/=]*)")


def bracketed(host: str) -> str:
    """An address as it stands in URIs and Via: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


class SipMessage(sip.SipMessage):
    """A request or response whose MIKEY message can be changed."""

    def __getitem__(self, name: str) -> str:
        """The value of the first header field *name*, which there must be."""
        value = self.first(name)
        assert value is not None, f"{self.start_line} has no {name}"
        return value

    @property
    def mikey(self) -> bytes | None:
        """The first key-mgmt:mikey message of the description, decoded."""
        found = KEY_MGMT.search(self.sdp)
        return base64.b64decode(found.group(2)) if found else None

    def with_mikey(self, change: Callable[[bytes], bytes]) -> Self:
        """The same message with every key-mgmt:mikey message changed."""
        return self.with_sdp(lambda sdp: changed_mikey(sdp, change))


def changed_mikey(sdp: str, change: Callable[[bytes], bytes]) -> str:
    """The same description with every key-mgmt:mikey message changed."""

    def substitute(match: re.Match[str]) -> str:
        return match.group(1) + base64.b64encode(change(base64.b64decode(match.group(2)))).decode()

    return KEY_MGMT.sub(substitute, sdp)
