"""The o= line of later descriptions of a session (RFC 3264 section 8).

A peer may take an offer whose version is that of the last one for the same offer, and answer it as before. A
stack counts the changes it made itself, but does not see the key-mgmt attribute, which is added later.
"""

from __future__ import annotations

import re

from sipmikey.sdp.document import Document

_ORIGIN = re.compile(r"(o=\S+ \S+ )([0-9]{1,19})( .*)", re.ASCII)


def succeeding(made: str, before: str) -> str:
    """Return *made* as the description that follows *before*.

    It gets the o= line of *before*, with a version one higher unless all other lines are the same. A
    description whose o= line has no number for a version stays as it is.
    """
    new, old = _origin(made), _origin(before)
    if new is None or old is None:
        return made
    changed = made.replace(new[0], "", 1) != before.replace(old[0], "", 1)
    line = f"{old[1]}{int(old[2]) + changed}{old[3]}"
    return made.replace(new[0], line, 1)


def with_origin_of(made: str, sent: str) -> str:
    """Return *made* with the o= line of *sent*, whose version the stack may have raised itself."""
    new, old = _origin(made), _origin(sent)
    return made if new is None or old is None else made.replace(new[0], old[0], 1)


def _origin(text: str) -> re.Match[str] | None:
    """Find the o= line of the session level."""
    document = Document.parse(text)
    for line in document.lines[document.session.start : document.session.stop]:
        if line.text.startswith("o="):
            return _ORIGIN.fullmatch(line.text)
    return None
