"""What the pages for users say of the phone: every state it can show, and every feature with its proof."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from sipmikey.phone import Fact, facts_of
from sipmikey.phone.facts import SHAPES
from tests.phone.documents import BOB, CAROL, KMS

ROOT = Path(__file__).parents[2]
USER = ROOT / "docs" / "user"
SHOWS = (USER / "what-it-shows.md").read_text()
FEATURES = (USER / "features.md").read_text()
ROW = re.compile(r"(?m)^\| ([●◐▲]) ([^|]+) \| ([^|]+) \|$")


def every_fact() -> set[Fact]:
    """Return each fact that any combination of what an agent says leads to."""
    media = ("", "off", "held", "keyed", "proven", "?")
    keying = (None, "mikey-ticket", "sdes")
    return {
        fact
        for signalling, sound, keys, peer, trouble, waiting in product(
            ("tls", "udp", "tcp", ""), media, keying, (None, BOB, CAROL),
            ("", "failed", "expired", "stalled"), (False, True),
        )
        for claimed, dialled in ((BOB, ""), ("", BOB))
        for fact in facts_of(
            {"signalling": signalling, "media": sound, "keying": keys, "peer": peer, "kms": peer and KMS},
            trouble=trouble, waiting=waiting, claimed=claimed, dialled=dialled,
        )
    }  # fmt: skip


def explained() -> dict[str, tuple[str, str]]:
    """Return the words of the page, each with its shape and what is said about it."""
    return {
        word.strip(): (shape, said.strip())
        for shape, words, said in ROW.findall(SHOWS)
        for word in words.split(",")
    }


def test_each_state_is_explained_with_its_shape() -> None:
    words = explained()
    for fact in every_fact():
        assert str(fact.word) in words, fact.word
        assert words[str(fact.word)][0] == fact.shape == SHAPES[fact.mood], fact.word


def test_the_page_explains_nothing_that_is_never_shown() -> None:
    assert set(explained()) == {str(fact.word) for fact in every_fact()}


def test_each_explanation_has_two_sentences() -> None:
    for word, (_, said) in explained().items():
        assert len(re.findall(r"[\w)][.?](?= |$)", said)) == 2, word


@pytest.mark.parametrize("line", [line for line in FEATURES.splitlines() if line.startswith("| ")][2:])
def test_each_feature_names_its_test_or_picture(line: str) -> None:
    feature, _, ours, proof = (cell.strip() for cell in line.strip("|").split("|"))
    assert ours.split()[0].rstrip(",:;") in ("yes", "no", "partly"), feature
    named = re.findall(r"`((?:tests|examples|benchmarks|docs)/[\w./-]+)`", proof)
    named += [f"docs/user/{path}" for path in re.findall(r"\]\(([\w./-]+)\)", proof)]
    assert named or ours.startswith("no"), feature
    for path in named:
        assert (ROOT / path).resolve().exists(), (feature, path)
