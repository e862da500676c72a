"""The faces look as they were looked at: each state beside the picture of it in docs/user/pictures.

Where text and widgets are drawn as they were for the picture, pixel by pixel; elsewhere, with other fonts or
another Qt, by how much of the picture each colour of a mood covers.
"""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest
from numpy.typing import NDArray

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from sipmikey.phone import Mood
from sipmikey.phone.palette import COLOURS
from tools.make_pictures import (
    FOLDER,
    STATES,
    assistant_picture,
    drawn_with,
    terminal_picture,
    window_picture,
)

NOTICED = 40
"""A pixel differs when one of its colours differs by more, of 255."""

MOST_PIXELS = 0.001
"""Share of pixels that may differ: a word of the facts that changed is more."""

MOST_COVER = 0.25
"""By how much of itself the area of a mood may differ where the fonts do."""

TERMINALS = ("proven", "in-clear", "incoming", "question", "recording")


def kept(name: str) -> QImage:
    """Return the picture that is kept."""
    image = QImage(str(FOLDER / f"{name}.en.png"))
    assert not image.isNull(), f"{name}: run `python -m tools.make_pictures`, and look at what it made"
    return image


def pixels(image: QImage) -> NDArray[np.int16]:
    """Return red, green and blue of each pixel, one row each."""
    converted = image.convertToFormat(QImage.Format.Format_RGBX8888)  # has to live until it is copied
    octets = np.frombuffer(converted.constBits(), np.uint8)
    return octets.reshape(-1, 4)[:, :3].astype(np.int16)


def differing(one: QImage, other: QImage) -> float:
    """Return which share of the pixels differs."""
    return float((np.abs(pixels(one) - pixels(other)).max(axis=1) > NOTICED).mean())


def covers(image: QImage) -> dict[Mood, int]:
    """Return how many pixels have the ground of each mood."""
    found = pixels(image)
    grounds = {mood: QColor(ground) for mood, (_, ground) in COLOURS.items()}
    return {
        mood: int((found == (one.red(), one.green(), one.blue())).all(axis=1).sum())
        for mood, one in grounds.items()
    }


def check(now: QImage, was: QImage) -> None:
    assert now.size() == was.size()
    if was.text("Drawn with") == drawn_with():
        assert differing(now, was) <= MOST_PIXELS
        return
    before = covers(was)
    for mood, cover in covers(now).items():
        assert abs(cover - before[mood]) <= MOST_COVER * max(cover, before[mood]), mood


@pytest.mark.parametrize("name", STATES)
def test_the_window_looks_as_it_did(qtbot: QtBot, name: str) -> None:
    check(window_picture(name, "en"), kept(f"window-{name}"))


@pytest.mark.parametrize("name", TERMINALS)
def test_the_terminal_looks_as_it_did(qtbot: QtBot, name: str) -> None:
    check(asyncio.run(terminal_picture(name, "en")), kept(f"terminal-{name}"))


def test_the_assistant_looks_as_it_did(qtbot: QtBot) -> None:
    check(assistant_picture("en"), kept("assistant-sign-on"))


def test_a_word_that_changed_is_noticed(qtbot: QtBot) -> None:
    """Neither comparison takes one state for another."""
    proven, keyed, clear = (window_picture(name, "en") for name in ("proven", "not-proven-yet", "in-clear"))
    assert differing(proven, proven) == 0
    assert differing(proven, keyed) > MOST_PIXELS
    assert differing(keyed, clear) > MOST_PIXELS
    assert covers(proven)[Mood.GOOD] > covers(keyed)[Mood.GOOD] > covers(clear)[Mood.GOOD]
