"""The profile: the settings that an organisation gives to its users' agents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from sipmikey.mikey.errors import LocalError

SIP_PASSWORD: Final = "credentials.password"  # noqa: S105 - the name of a setting
"""What an invitation may carry for one user beside the profile."""

SETTINGS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "sip": frozenset(
            {"registrar", "proxy", "transports", "prefer", "registration_expires", "preconditions"}
        ),
        "kms": frozenset({"url", "identity", "others", "mode", "modes"}),
        "nat": frozenset({"stun", "turn", "turn_username", "ice", "rtcp_mux"}),
        "security": frozenset(
            {
                "policy",
                "fallback",
                "alternative",
                "contacts",
                "retarget",
                "groups",
                "forked",
                "transfer",
                "suites",
            }
        ),
        "media": frozenset({"codecs"}),
        "mailbox": frozenset({"url", "domains"}),
    }
)
"""Settings of an agent that a profile may hold, by section. None of them names a file or a device."""

FILES: Final = frozenset(
    {"kms.ca_file", "kms.kms_certificates", "sip.tls_ca_file", "mailbox.ca_file", "nat.turn_password_file"}
)
"""Settings whose value is a file; the profile carries what the file holds."""

MAX_FILE: Final = 32_768

_LOOSENED: Final[Mapping[str, tuple[object, ...]]] = MappingProxyType(
    {
        "policy": ("required", "preferred", "off"),
        "fallback": ("never", "incoming", "both"),
        "alternative": ("none",),
        "retarget": ("refuse", "ask", "accept"),
        "forked": ("refuse", "bind"),
        "transfer": (False, True),
    }
)
"""Settings of `[security]` and their values from the strictest on; one not named is laxer than those."""

_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    {"policy": "required", "fallback": "never", "alternative": "none", "retarget": "accept", "forked": "bind",
     "transfer": False}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """``settings``: values by section and key, as in an agent's configuration. ``files``: texts by setting.

    Raises `LocalError` for a setting that a profile may not hold.
    """

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for section, values in self.settings.items():
            allowed = SETTINGS.get(section, frozenset())
            for key, value in values.items():
                if key not in allowed:
                    raise LocalError(f"a profile does not hold {section}.{key}")
                _check(f"{section}.{key}", value)
        for name, text in self.files.items():
            if name not in FILES:
                raise LocalError(f"a profile does not hold {name}")
            if len(text) > MAX_FILE:
                raise LocalError(f"{name}: a file of a profile has {MAX_FILE} characters at most")

    def document(self) -> dict[str, Any]:
        """Return the profile as JSON-ready values."""
        settings = {section: dict(values) for section, values in self.settings.items() if values}
        return {"settings": settings, "files": dict(self.files)}

    @property
    def version(self) -> str:
        """A word (32 hexadecimal digits) that differs when the profile does."""
        text = json.dumps(self.document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @classmethod
    def of(cls, document: object) -> Profile:
        """Read what `document` gave. Raises `LocalError`."""
        if not isinstance(document, dict):
            raise LocalError("a profile is a JSON object")
        settings, files = document.get("settings"), document.get("files")
        if not isinstance(settings, dict) or not all(
            isinstance(values, dict) for values in settings.values()
        ):
            raise LocalError("a profile's settings are objects by section")
        if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
            raise LocalError("a profile's files are texts by setting")
        return cls(settings=settings, files=files)


def loosened(old: Profile, new: Profile) -> tuple[str, ...]:
    """Return the settings of `[security]` by which *new* protects less than *old*, as words for the user."""
    before, after = old.settings.get("security", {}), new.settings.get("security", {})
    found = []
    for key, strict_first in _LOOSENED.items():
        was, now = before.get(key, _DEFAULTS[key]), after.get(key, _DEFAULTS[key])
        if now != was and _laxer(strict_first, was, now):
            found.append(f"security.{key}: {was} becomes {now}")
    was_contacts, contacts = before.get("contacts", {}), after.get("contacts", {})
    for contact in sorted({*was_contacts, *contacts}):
        was = was_contacts.get(contact, before.get("policy", "required"))
        now = contacts.get(contact, after.get("policy", "required"))
        if was != now and _laxer(_LOOSENED["policy"], was, now):
            found.append(f"security.contacts {contact}: {was} becomes {now}")
    return tuple(found)


def _laxer(strict_first: tuple[object, ...], was: object, now: object) -> bool:
    if now not in strict_first:
        return True
    return was in strict_first and strict_first.index(now) > strict_first.index(was)


def _check(name: str, value: object) -> None:
    plain = (str, bool, int, float)
    if isinstance(value, plain):
        return
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return
    if isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(item, str) for key, item in value.items()
    ):
        return
    raise LocalError(
        f"{name}: a setting is a text, a number, true or false, a list of texts, or texts by name"
    )
