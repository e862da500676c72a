"""Answers to digest challenges (RFC 7616, RFC 3261 section 22, RFC 8760)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.request import parse_http_list

from sipmikey.agent.config import DigestCredentials
from sipmikey.sip import Headers, SipMalformed, SipMessage, quote, unquote

_HASHES: Final[Mapping[str, str]] = {"MD5": "md5", "SHA-256": "sha256"}
_ANSWERED_BY: Final = {"www-authenticate": "Authorization", "proxy-authenticate": "Proxy-Authorization"}
_MOST: Final = 8
"""How many challenges of one response are read."""


class Digest:
    """The answers of one request, with all its repetitions, to challenges.

    *random* makes client nonces, given a number of octets, in hexadecimal.
    """

    def __init__(
        self, credentials: DigestCredentials | None, random: Callable[[int], str] = secrets.token_hex
    ) -> None:
        self._credentials = credentials
        self._random = random
        self._tried: dict[tuple[str, str], set[str]] = {}

    def answer(self, challenge: SipMessage, method: str, uri: str, body: bytes) -> Headers:
        """Return the header fields that answer a 401 or 407; none where that would not help.

        A second challenge of the same realm is answered if its nonce is another and the first was stale.
        """
        if self._credentials is None:
            return ()
        made: list[tuple[str, str]] = []
        for field, name in _ANSWERED_BY.items():
            # The first challenge of a realm that is understood is the one to answer (RFC 8760 section 2.4).
            realms: set[str] = set()
            for value in challenge.all(field)[:_MOST]:
                given = _parameters(value)
                realm = given.get("realm", "")
                if realm in realms or not self._wanted(field, given):
                    continue
                if (text := self._response(given, method, uri, body)) is not None:
                    realms.add(realm)
                    self._tried.setdefault((field, realm), set()).add(given["nonce"])
                    made.append((name, text))
        return tuple(made)

    def _wanted(self, field: str, given: Mapping[str, str]) -> bool:
        """Return whether to answer; a challenge after an answer means that the password is wrong."""
        assert self._credentials is not None
        realm, nonce = given.get("realm", ""), given.get("nonce", "")
        if not nonce or self._credentials.realm not in ("*", realm):
            return False
        tried = self._tried.get((field, realm), set())
        stale = given.get("stale", "").lower() == "true"
        return nonce not in tried and (stale or not tried) and len(tried) < _MOST

    def _response(self, given: Mapping[str, str], method: str, uri: str, body: bytes) -> str | None:
        assert self._credentials is not None
        written = given.get("algorithm", "MD5")
        plain, _, session = written.upper().partition("-SESS")
        is_session = written.upper().endswith("-SESS")
        if plain not in _HASHES or session:
            return None
        offered = [word.strip().lower() for word in given.get("qop", "").split(",") if word.strip()]
        qop = next((word for word in ("auth", "auth-int") if word in offered), "")
        if offered and not qop:
            return None

        def h(text: bytes) -> str:
            return hashlib.new(_HASHES[plain], text, usedforsecurity=False).hexdigest()

        user, realm, nonce = self._credentials.username, given.get("realm", ""), given["nonce"]
        cnonce, count = self._random(16), "00000001"
        secret = h(f"{user}:{realm}:".encode() + self._credentials.password.reveal())
        if is_session:
            secret = h(f"{secret}:{nonce}:{cnonce}".encode())
        asked = f"{method}:{uri}" + (f":{h(body)}" if qop == "auth-int" else "")
        middle = f":{count}:{cnonce}:{qop}" if qop else ""
        proof = h(f"{secret}:{nonce}{middle}:{h(asked.encode())}".encode())
        parts = [
            f"username={quote(user)}", f"realm={quote(realm)}", f"nonce={quote(nonce)}", f"uri={quote(uri)}",
            f"response={quote(proof)}",
        ]  # fmt: skip
        if "algorithm" in given:
            parts.append(f"algorithm={written}")
        if qop:
            parts += [f"qop={qop}", f"nc={count}"]
        if qop or is_session:
            parts.append(f"cnonce={quote(cnonce)}")
        if "opaque" in given:
            parts.append(f"opaque={quote(given['opaque'])}")
        return "Digest " + ", ".join(parts)


def _parameters(value: str) -> Mapping[str, str]:
    """Return the parameters of a digest challenge, by lower-case names; none of another scheme."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        return {}
    found: dict[str, str] = {}
    for item in parse_http_list(rest):
        name, _, text = item.partition("=")
        try:
            found.setdefault(name.strip().lower(), unquote(text))
        except SipMalformed:
            return {}
    return found
