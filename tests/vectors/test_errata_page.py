"""The errata quote the RFC, name vectors that exist, and have what the RFC Editor's form asks for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rfc" / "errata.md").read_text(encoding="utf-8")
RFC = ROOT.parent / "shared" / "rfc" / "rfc6043.txt"
ERRATA = re.split(r"^### ", PAGE.partition("## Questions")[0], flags=re.MULTILINE)[1:]
TITLES = [text.partition("\n")[0] for text in ERRATA]


def _quotation(text: str) -> str:
    """Return the first block quotation: the original text."""
    match = re.search(r"^> .*(?:\n> .*)*", text, re.MULTILINE)
    assert match is not None
    return " ".join(line.removeprefix("> ") for line in match[0].splitlines())


@pytest.mark.parametrize("erratum", ERRATA, ids=TITLES)
def test_every_erratum_is_complete(erratum: str) -> None:
    assert re.search(r"^\* Section: [0-9A]", erratum, re.MULTILINE)
    kind = re.search(r"^\* Type: (Technical|Editorial)$", erratum, re.MULTILINE)
    assert kind is not None
    assert "Original text" in erratum
    assert "Corrected text" in erratum
    assert kind[1] == "Editorial" or "\nNotes: " in erratum


def test_they_are_numbered() -> None:
    assert [title.partition(".")[0] for title in TITLES] == [str(n + 1) for n in range(len(TITLES))]


@pytest.mark.skipif(not RFC.is_file(), reason="the RFC's text is not here")
@pytest.mark.parametrize("erratum", ERRATA, ids=TITLES)
def test_the_original_text_stands_in_the_rfc(erratum: str) -> None:
    pages = re.sub(r"\n\n+Mattsson & Tian.*\n\f?\n?RFC 6043.*\n", "\n", RFC.read_text(encoding="utf-8"))
    words = " ".join(pages.replace("\f", " ").split())
    assert " ".join(_quotation(erratum).split()) in words


def test_the_vectors_it_names_exist() -> None:
    kinds = {"vector": "exchange", "reject": "reject"}
    known = {
        (vector["kind"], vector["name"])
        for path in Path(__file__).parent.glob("*.json")
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
    }
    named = re.findall(r"`(vector|reject):([^`]+)`", PAGE)
    assert len(named) > 15
    assert [name for kind, name in named if (kinds[kind], name) not in known] == []
