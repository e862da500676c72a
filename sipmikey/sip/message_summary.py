"""The body of a message summary (RFC 3842 section 5): read and written. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sipmikey.sip.errors import SipMalformed
from sipmikey.sip.grammar import shown

MEDIA_TYPE = "application/simple-message-summary"
EVENT = "message-summary"

LONGEST = 16_384
"""Octets of the longest body that is read."""

_LINE = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)[ \t]*:[ \t]*(.*?)[ \t]*", re.DOTALL)
_COUNTS = re.compile(r"(\d{1,9})\s*/\s*(\d{1,9})(?:\s*\(\s*(\d{1,9})\s*/\s*(\d{1,9})\s*\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSummary:
    """``waiting``: there are messages. ``account``: whose they are, "" where it is not told.

    ``new``, ``old``, ``urgent_new``, ``urgent_old``: voice messages; 0 where they are not told.
    """

    waiting: bool
    account: str = ""
    new: int = 0
    old: int = 0
    urgent_new: int = 0
    urgent_old: int = 0

    def encode(self) -> bytes:
        """Return the octets of the body."""
        lines = [f"Messages-Waiting: {'yes' if self.waiting else 'no'}"]
        if self.account:
            lines.append(f"Message-Account: {self.account}")
        lines.append(f"Voice-Message: {self.new}/{self.old} ({self.urgent_new}/{self.urgent_old})")
        return "\r\n".join([*lines, ""]).encode()


def parse_summary(body: bytes) -> MessageSummary:
    """Read a body; headers of single messages behind an empty line are left alone.

    Raises ``SipMalformed``, which names the line.
    """
    if len(body) > LONGEST:
        raise SipMalformed(f"the message summary has {len(body)} octets, at most {LONGEST}")
    text = body.decode("utf-8", "replace").replace("\r\n", "\n")
    found: dict[str, str] = {}
    for line in text.partition("\n\n")[0].strip("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise SipMalformed(f"{shown(line)} is not a line of a message summary", field="message-summary")
        found.setdefault(match[1].lower(), match[2])
    waiting = found.get("messages-waiting", "").lower()
    if waiting not in ("yes", "no"):
        raise SipMalformed("Messages-Waiting says neither yes nor no", field="Messages-Waiting")
    counts = (0, 0, 0, 0)
    if "voice-message" in found:
        match = _COUNTS.fullmatch(found["voice-message"])
        if match is None:
            raise SipMalformed(f"{shown(found['voice-message'])} is not NEW/OLD", field="Voice-Message")
        counts = (int(match[1]), int(match[2]), int(match[3] or 0), int(match[4] or 0))
    new, old, urgent_new, urgent_old = counts
    return MessageSummary(
        waiting=waiting == "yes", account=found.get("message-account", ""), new=new, old=old,
        urgent_new=urgent_new, urgent_old=urgent_old,
    )  # fmt: skip
