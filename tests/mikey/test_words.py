"""What the checker of the language finds."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

FINDINGS = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "check_words.py"))["findings"]


@pytest.mark.parametrize(
    "line",
    [
        "this is no URI",  # words: ok
        "Whoever asks gets it",  # words: ok
        "it starts anew",  # words: ok
        "keyed otherwise than before",  # words: ok
        "it is of no use",  # words: ok
        "hang up so long after the answer",  # words: ok
        "tickets kept for calls to come",  # words: ok
        "a branch that has not got the call",  # words: ok
        "shown to nobody",  # words: ok
        "laid out in another way than expected",  # words: ok
        '"""Who may call."',  # words: ok
        '"""Whether it is ready."',  # words: ok
        "RFC 6043 12.1",  # words: ok
        "RFC 6043, section 12.1",  # words: ok
        "RFC 6043 Section 12.1",  # words: ok
        "RFC6043",  # words: ok
    ],
)
def test_each_of_these_is_found_once(line: str) -> None:
    assert [number for number, _, _ in FINDINGS(f"fine\n{line}\n")] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "there is no key",
        "is no longer used",
        "RFC 6043 section 12.1",
        "a draft-ietf-RFC6043bis",
        "(RFC 6043)",
    ],
)
def test_plain_words_are_left_alone(line: str) -> None:
    assert list(FINDINGS(line)) == []
