"""`sip:` and `tel:` links from browsers and mail: what they ask for, which is never done unasked."""

from __future__ import annotations

from urllib.parse import unquote

from sipmikey.mikey.errors import LocalError
from sipmikey.phone.text import Text
from sipmikey.ticket.identity import canonical

MAX_LINK = 512


def link_target(link: str, *, domain: str = "") -> str:
    """Return the URI that *link* wants called, without headers and parameters.

    A tel: link is called as a user of *domain* where there is one. Raises ``LocalError`` for what is not a
    sip:, sips: or tel: link.
    """
    text = link.strip()
    if len(text) > MAX_LINK or not text.isprintable() or any(character in text for character in ' <>"'):
        raise LocalError("this link is not a valid sip: or tel: link")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in ("sip", "sips", "tel"):
        raise LocalError("this link is not a sip: or tel: link")
    uri = canonical(f"{scheme}:{rest.removeprefix('//')}")
    if scheme == "tel" and domain and "phone-context" not in uri:
        return canonical(f"sip:{unquote(uri.partition(':')[2])}@{domain}")
    return uri


def question_for(target: str) -> Text:
    """Return the question that a link raises."""
    return Text("A link wants to call {target}. Call?", {"target": target})
