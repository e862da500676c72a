"""The question at the terminal: may another party answer?"""

from __future__ import annotations

import asyncio
import io
import os
import pty
import sys
from collections.abc import Iterator

import pytest

from sipmikey.agent import Question
from sipmikey.cli.calls.prompt import ask_at_terminal
from sipmikey.mikey.errors import LocalError

ANSWERED = Question(
    call="1", peer="sip:carol@example.com", called="sip:it@example.com", kms="sip:kms@example.com"
)
REDIRECTED = Question(call="1", peer="sip:carol@example.com", called="sip:bob@example.com")


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of the terminal that is standard input."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        yield ours
    os.close(ours)


@pytest.mark.parametrize(
    ("typed", "accepted"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("yesterday\n", False), ("\x04", False)],
)
def test_only_yes_is_yes(
    typed: str, accepted: bool, keyboard: int, capsys: pytest.CaptureFixture[str]
) -> None:
    os.write(keyboard, typed.encode())
    assert asyncio.run(ask_at_terminal(ANSWERED)) is accepted
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "sip:carol@example.com (sip:kms@example.com vouches) answers for sip:it@example.com" in shown.err


def test_nobody_is_said_to_vouch_for_who_is_not_called_yet(
    keyboard: int, capsys: pytest.CaptureFixture[str]
) -> None:
    os.write(keyboard, b"n\n")
    assert not asyncio.run(ask_at_terminal(REDIRECTED))
    shown = capsys.readouterr().err
    assert "sip:bob@example.com is redirected to sip:carol@example.com" in shown
    assert "vouches" not in shown


def test_a_question_can_be_taken_back(keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask_at_terminal(ANSWERED), 0.05)

    asyncio.run(ask())
    assert capsys.readouterr().err.endswith("no answer\n")


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(LocalError, match="not a terminal"):
        asyncio.run(ask_at_terminal(ANSWERED))
