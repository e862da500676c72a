"""Taking names, addresses and secrets out of text, the same thing in the same way throughout a report."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from sipmikey.call.reasons import Reason
from sipmikey.cli.output import JsonValue
from sipmikey.settings import MASK

SHORTEST_SECRET = 4
"""Characters of a known secret that is searched for: shorter ones stand in too many words."""

_NUMBER = re.compile(r"\btel:[+\d().-]+")
_URI = re.compile(r"\b(sips?|https?|kms)(:(?://)?)(?:([^\s@<>\"',;]+)@)?([\w.-]+|\[[0-9a-fA-F:.]+\])")
_PATH_IN_URL = re.compile(r"(https?://[^\s/\"'<>]+)/[^\s\"'<>]*")
_MAIL = re.compile(r"(?<![\w.])[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)|(?<![\w:])[0-9a-fA-F]*:[0-9a-fA-F:.]*:[\w:.]+"
)
_NAME = re.compile(r"(?<![\w.<-])(?:[\w-]+\.){2,}[a-zA-Z]{2,}(?![\w.]*\w)")
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{24,}")
_FOLDER = re.compile(r"(?<![\w/<])/(?:[^\s/:'\"]+/)+")
_OURS = re.compile(r"(user|host|(private|public)-address-v[46])-\d+")
_PLAIN_HOSTS = frozenset({"localhost"})
_SUITE = re.compile(r"(AES|AEAD)(_[A-Z0-9]{1,5}){1,6}")
_WORDS = frozenset(Reason)
"""Long words without anything secret, beside the names of suites."""


class Redactor:
    """Replaces what must not leave the machine; equal things get equal names (``user-1``, ``host-2``).

    *secrets* are masked wherever they stand. With *keep_names* users, hosts, addresses and paths stay, and
    only what looks like a key or password goes.
    """

    def __init__(self, secrets: Iterable[str] = (), *, keep_names: bool = False) -> None:
        known = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        self._secrets = sorted(known, key=len, reverse=True)
        self._keep_names = keep_names
        self._names: dict[str, dict[str, str]] = {}
        self._home = str(Path.home())

    def value(self, value: object) -> JsonValue:
        """Return JSON data with every text in it redacted; the names of fields stay."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(name): self.value(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return f"<{type(value).__name__}>"

    def text(self, text: str) -> str:
        """Return *text* without names, addresses, paths, secrets and what is long enough to be one."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        if not self._keep_names:
            text = self._unnamed(text)
        return _TOKEN.sub(self._token, text)

    def name(self, kind: str, text: str) -> str:
        """Return the name that stands for *text* in this report, such as ``user-1``."""
        names = self._names.setdefault(kind, {})
        return names.setdefault(text.lower(), f"{kind}-{len(names) + 1}")

    def _unnamed(self, text: str) -> str:
        text = _PATH_IN_URL.sub(r"\1/...", text)
        text = _FOLDER.sub(lambda found: self._folder(found[0]), text)
        text = _NUMBER.sub(lambda found: f"tel:{self.name('user', found[0])}", text)
        text = _URI.sub(self._uri, text)
        text = _MAIL.sub(lambda found: self._address_of_record(*found[0].split("@", 1)), text)
        for host, stands_for in self._names.get("host", {}).items():
            text = re.sub(
                rf"(?<![\w.-]){re.escape(host)}(?![\w.-]*\w)", stands_for, text, flags=re.IGNORECASE
            )
        text = _ADDRESS.sub(lambda found: self._host(found[0]), text)
        return _NAME.sub(lambda found: self._host(found[0]), text)

    def _uri(self, found: re.Match[str]) -> str:
        scheme, colon, user, host = found.groups()
        if user is None:
            return f"{scheme}{colon}{self._host(host)}"
        return f"{scheme}{colon}{self._address_of_record(user, host)}"

    def _address_of_record(self, user: str, host: str) -> str:
        known = user if _OURS.fullmatch(user) else self.name("user", user)
        return f"{known}@{self._host(host)}"

    def _host(self, host: str) -> str:
        """Return what stands for a host: addresses keep what kind they are, our own machine its name."""
        if host.lower() in _PLAIN_HOSTS or _OURS.fullmatch(host):
            return host
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return self.name("host", host)
        if address.is_loopback or address.is_unspecified:
            return host
        kind = "private-address" if address.is_private else "public-address"
        return self.name(f"{kind}-{'v6' if address.version == 6 else 'v4'}", host)

    def _folder(self, folder: str) -> str:
        return "~/" if folder.startswith(f"{self._home}/") else ".../"

    def _token(self, found: re.Match[str]) -> str:
        text = found[0]
        if text in _WORDS or _SUITE.fullmatch(text):
            return text
        return f"<{self.name('token', text)}, {len(text)} characters>"
