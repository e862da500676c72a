"""People and groups as another directory has them, and the identities that patterns make of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import LocalError
from sipmikey.printable import printable

MAX_VALUE: Final = 128

_PLACE = re.compile(r"\{([A-Za-z][A-Za-z0-9.;-]*)\}")
_USER = re.compile(r"[A-Za-z0-9._~+-]+")
_ADDRESS = re.compile(r"[A-Za-z0-9._~+-]+@[A-Za-z0-9.-]+")
_NUMBER = re.compile(r"\+?[0-9]{2,32}")
_SEPARATORS = str.maketrans("", "", " -().")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryUser:
    """A person elsewhere. ``key``: what never changes about the entry; ``shown``: its name there.

    ``identities``: canonical, the primary first.
    """

    key: str
    shown: str
    identities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryGroup:
    """A group elsewhere. ``uri``: the group here; ``members``: keys of its people."""

    key: str
    shown: str
    uri: str
    members: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Found:
    """What a directory holds. ``problems``: entries that make no user or group here, and why."""

    users: list[DirectoryUser] = field(default_factory=list)
    groups: list[DirectoryGroup] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    unusable: set[str] = field(default_factory=set)
    """Keys of people and groups with a problem: they have not left."""


class Pattern:
    """A pattern of an identity with the name of one attribute in braces: ``sip:{uid}@example.com``."""

    def __init__(self, text: str, what: str) -> None:
        names = _PLACE.findall(text)
        if len(names) != 1 or text.count("{") != 1 or text.count("}") != 1:
            raise LocalError(f"{what}: {text!r} has one attribute in braces, as in sip:{{uid}}@example.com")
        self.attribute: str = names[0]
        self._before, self._after = text.split(f"{{{names[0]}}}")
        # All of the identity, an address after sip:, a number after tel:, or the part before @.
        if self._before == self._after == "":
            self._kind = None
        elif self._before == "tel:":
            self._kind = _NUMBER
        else:
            self._kind = _USER if "@" in self._after else _ADDRESS
        if "*" in text:
            raise LocalError(f"{what}: {text!r} has a *")
        example = {None: "sip:a@b", _NUMBER: "+12", _USER: "a", _ADDRESS: "a@b"}[self._kind]
        normal_identity(self._before + example + self._after)

    def identity(self, value: str) -> str:
        """Return the canonical identity with *value* in it, which reaches nowhere beyond its place.

        Raises `LocalError`.
        """
        text = value.strip()
        if self._kind is _NUMBER:
            text = text.translate(_SEPARATORS)
        shown = printable(value, most=60)
        if len(text) > MAX_VALUE or (self._kind is not None and not self._kind.fullmatch(text)):
            raise LocalError(f"{self.attribute} {shown!r} cannot be a part of an identity")
        try:
            identity = normal_identity(self._before + text + self._after)
        except LocalError:
            identity = "*"
        if "*" in identity or not identity.isprintable() or " " in identity:
            raise LocalError(f"{self.attribute} {shown!r} makes no identity")
        return identity


def slug(value: str) -> str:
    """Return what a name comes to in an identity: ``Field Sales (Åland)`` is ``field-sales-aland``."""
    letters = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    return "-".join(re.findall(r"[a-z0-9._]+", letters.lower()))


def identities_of(patterns: Sequence[Pattern], attributes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the identities that *attributes* make: of the first pattern one, of each other all there are.

    Raises `LocalError` where the first makes none.
    """
    found: list[str] = []
    for pattern in patterns:
        values = attributes.get(pattern.attribute.lower(), ())
        if pattern is patterns[0]:
            if not values:
                raise LocalError(f"{pattern.attribute} is missing")
            values = values[:1]
        found += [pattern.identity(value) for value in values]
    return tuple(dict.fromkeys(found))
