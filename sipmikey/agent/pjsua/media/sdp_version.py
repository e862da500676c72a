"""The version in o= (RFC 3264 section 8), raised by pjmedia also for changes that it does not notice.

It writes its own version over the one it is given: that of the description in force, one higher when one of
the things differs that it compares. Among these is the s= line, not key-mgmt. So the s= line is a blank and a
dash by turns; both mean that the session has no name (RFC 3264 section 5).
"""

from __future__ import annotations

import re

_VERSION = re.compile(r"^o=\S+ \S+ (\d+) ", re.MULTILINE)
_NAME = re.compile(r"^s=[^\r\n]*", re.MULTILINE)
_NAMES = ("s=-", "s= ")


class VersionCounter:
    """The versions of the descriptions of one call, in the order they are made."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._made = 0
        self._in_force = 0

    def marked(self, sdp: str) -> str:
        """Return *sdp* so that pjmedia counts the version up if *sdp* itself does."""
        found = _VERSION.search(sdp)
        if found is None:
            return sdp
        if self._version is not None and found[1] != self._version:
            self._made = 1 - self._in_force
        self._version = found[1]
        return _NAME.sub(_NAMES[self._made], sdp, count=1)

    def agreed(self) -> None:
        """Offer and answer were exchanged: the description made last is in force."""
        self._in_force = self._made
