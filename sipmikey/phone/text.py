"""Sentences for people, kept apart from their language: a message with values, rendered at the very end."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

Translate: TypeAlias = Callable[[str], str]
"""Takes the English message and returns it in the user's language (``gettext``)."""


LONGEST_WORD = 100
"""Characters without a blank that are shown; of a longer word both ends are, since a domain is at the end."""


LONGEST_TEXT = 1000
"""Characters of a value that are shown: who has words without end to say is not given the whole window."""

MOST_MARKS = 3
"""Marks on one letter that are shown."""


def clean(text: str) -> str:
    """Return *text* without what a screen should not be sent: names and details come from messages.

    Signs such as ● and ✔ are ours alone. A word without an end would make the window as wide.
    """
    shown = "".join(character if _may_be_shown(character) else "?" for character in text[: 2 * LONGEST_TEXT])
    if not shown.isascii():
        shown = _few_marks(shown)
    if len(shown) <= LONGEST_WORD:
        return shown
    shown = " ".join(map(_shortened, shown.split(" ")))
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]}…"


def _few_marks(text: str) -> str:
    """Return *text* with no more marks on a letter than languages have: a tower covers other lines."""
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _may_be_shown(character: str) -> bool:
    if not character.isprintable():
        return False
    return character < "\u0100" or unicodedata.category(character) != "So"


def _shortened(word: str) -> str:
    half = LONGEST_WORD // 2
    return word if len(word) <= LONGEST_WORD else f"{word[:half]}…{word[-half:]}"


@dataclass(frozen=True, slots=True)
class Text:
    """A *message* in English, which is the key of its translations, and the values of its ``{fields}``.

    A value may be a ``Text`` itself; it is translated too. ``str()`` gives the English sentence.
    """

    message: str
    values: Mapping[str, str | Text] = field(default_factory=lambda: MappingProxyType({}))

    def render(self, translate: Translate) -> str:
        """Return the sentence in the language of *translate*."""
        values = {
            name: value.render(translate) if isinstance(value, Text) else clean(value)
            for name, value in self.values.items()
        }
        template = translate(self.message) if self.message else ""
        try:
            return template.format_map(values)
        except (KeyError, IndexError, ValueError):
            # A faulty translation must not hide what is to be said.
            return self.message.format_map(values)

    def __str__(self) -> str:
        return self.render(lambda message: message)

    def __hash__(self) -> int:
        return hash((self.message, tuple(sorted((name, str(value)) for name, value in self.values.items()))))
