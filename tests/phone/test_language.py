"""Translations: complete, compiled from what is in the catalogue, and with the fields of the message."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest

from sipmikey.phone import facts_of
from sipmikey.phone.edge.language import LOCALE, translation
from tests.phone.documents import BOB, KMS, security

FIELD = re.compile(r"\{\w+\}")
LANGUAGES = sorted(path.parents[1].name for path in LOCALE.glob("*/LC_MESSAGES/sipmikey.mo"))


def entries(path: Path) -> dict[str, str]:
    """Return the messages of a catalogue, from its text."""
    found: dict[str, str] = {}
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        kept = "\n".join(line for line in block.splitlines() if not line.startswith("#"))
        head, word, tail = kept.partition("msgstr ")
        if word:
            join = lambda text: "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))  # noqa: E731
            found[join(head).replace('\\"', '"')] = join(tail).replace('\\"', '"')
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_with_its_fields(language: str) -> None:
    template = entries(LOCALE / "sipmikey.pot")
    catalogue = entries(LOCALE / language / "LC_MESSAGES" / "sipmikey.po")
    for message in template:
        if message:
            assert catalogue.get(message), message
            assert sorted(FIELD.findall(message)) == sorted(FIELD.findall(catalogue[message])), message


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_in_the_catalogue(language: str) -> None:
    compiled = gettext.translation("sipmikey", LOCALE, languages=[language])
    for message, translated in entries(LOCALE / language / "LC_MESSAGES" / "sipmikey.po").items():
        if message:
            assert compiled.gettext(message) == translated.replace("\\n", "\n")


def test_german_says_the_facts() -> None:
    german = translation(["de"])
    media, peer = facts_of(security(), dialled=BOB)[1:]
    assert media.word.render(german) == "BEWIESEN"
    assert peer.sentence.render(german) == f"{KMS} bezeugt, dass das {BOB} ist."
    assert media.key == "PROVEN", "the key of a state is the same in every language"
    assert "de" in LANGUAGES
