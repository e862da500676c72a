"""Every verb is in the window, in the terminal and in `sipmikey agent --json`, with the keys of the page."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

from sipmikey.gui.buttons import BUTTONS
from sipmikey.phone.possible import Action
from sipmikey.phone.protocol import VERBS
from sipmikey.tui.app import PhoneApp
from sipmikey.tui.keys import ACTIONS, KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "user" / "phone.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line[:2] == "| "
]
APART = {Action.DIAL, Action.DIGITS, Action.VOLUME, Action.DO_NOT_DISTURB, Action.LEAVE_MESSAGE}
"""What is not a button of a call: tests/gui/test_window.py and tests/tui/test_app.py do each of these."""


def keys_of(column: int) -> set[str]:
    """Return the keys that a column of the page names, such as Ctrl+G and F4."""
    return set(
        re.findall(r"(?:Ctrl\+|Shift\+)*(?:F\d+|[A-Z]\b|Up|Down)", " ".join(row[column] for row in ROWS))
    )


def test_the_window_has_every_verb() -> None:
    assert set(BUTTONS) == set(Action) - APART
    assert {keys for _, keys, _ in BUTTONS.values()} <= keys_of(1)


def test_the_terminal_has_every_verb() -> None:
    assert set(chain.from_iterable(ACTIONS.values())) == set(Action) - APART
    for key in KEYS:
        name, _, parameter = key.action.partition("(")
        assert hasattr(PhoneApp, f"action_{name}"), key
        if name == "act":
            assert parameter.strip("')") in ACTIONS
    shown = {"+".join(part.capitalize() for part in key.key.split("+")) for key in KEYS}
    assert shown <= keys_of(2)


def test_scripts_have_every_verb() -> None:
    assert set(map(str, Action)) - {"unmute"} <= set(VERBS)
