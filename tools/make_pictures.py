"""Make the pictures of docs/user/pictures: both faces in every state, from event documents alone.

Run it as `QT_QPA_PLATFORM=offscreen python -m tools.make_pictures` in the repository.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from sipmikey.gui.window import PhoneWindow
from sipmikey.phone.controller import Controller, Line
from sipmikey.phone.edge.language import translation
from sipmikey.tui.app import PhoneApp

FOLDER = Path(__file__).parents[1] / "docs" / "user" / "pictures"
ALICE, BOB, CAROL, KMS = (
    "sip:alice@example.com",
    "sip:bob@example.com",
    "sip:carol@example.com",
    "sip:kms@example.com",
)

Fields = dict[str, Any]


def security(**changes: Any) -> Fields:
    """Return facts of a call with bob that is proven, with *changes*."""
    facts: Fields = {
        "signalling": "tls", "media": "proven", "peer": BOB, "called": BOB, "kms": KMS,
        "suite": "AES_256_CM_HMAC_SHA1_80", "ticket": "3a9cd2f1", "keying": "mikey-ticket",
    }  # fmt: skip
    return facts | changes


def event(type: str, at: float, **fields: Any) -> Fields:
    """Return one document of call 1."""
    return {"type": type, "at": 1_700_000_000 + at, "call": "1", **fields}


def talking(**facts: Any) -> list[Fields]:
    """Return a call to bob that is answered."""
    return [
        event("call.out", 0, uri=BOB),
        event("call.ringing", 1, status=180, to_tag="a", early_media=False),
        event("call.answered", 2, setup_ms=2000.0, security=security(**facts)),
    ]


def conference(*, present: bool, **facts: Any) -> list[Fields]:
    """Return a conference with bob, and with carol in a call with *facts*. *present*: the user is in it."""
    carol = security(**{"peer": CAROL, "called": CAROL, **facts})
    return [
        *talking(),
        event("call.out", 3, uri=CAROL) | {"call": "2"},
        event("call.answered", 4, setup_ms=900.0, security=carol) | {"call": "2"},
        event("conference.changed", 5, conference="1", legs=["1", "2"], present=present) | {"call": ""},
    ]


RINGS = security(media="held", suite=None, keying=None, called=ALICE, signalling="tcp")
NOBODY = {"peer": None, "kms": None, "ticket": None}

STATES: dict[str, list[Fields]] = {
    "incoming": [
        event("call.in", 0, caller=BOB, called=ALICE, sip_call_id="x"),
        event("call.rings", 1, caller=BOB, called=ALICE, security=RINGS),
    ],
    "proven": talking(),
    "not-proven-yet": talking(media="keyed"),
    "in-clear": talking(media="off", keying=None, suite=None, signalling="udp", **NOBODY),
    "not-end-to-end": talking(keying="sdes", **NOBODY),
    "somebody-else": talking(peer=CAROL),
    "silent": [*talking(), event("media.stalled", 9, index=0)],
    "ended": [
        *talking(),
        event("call.end", 70, reason="hangup", side="remote", status=200, detail="", security=security()),
    ],
    "refused": [
        event("call.out", 0, uri=BOB),
        event(
            "call.end", 1, reason="key-mgmt-missing", side="remote", status=488, detail="",
            security=security(media="held", keying=None, **NOBODY),
        ),
    ],
    "conference": conference(present=True),
    "conference-in-clear": conference(
        present=True, media="off", keying=None, suite=None, signalling="udp", **NOBODY
    ),
    "conference-left": conference(present=False),
    "question": [
        event("call.out", 0, uri=BOB),
        event("policy.question", 1, peer=CAROL, called=BOB, kms=KMS, wait_s=30.0),
    ],
}  # fmt: skip


def documents(name: str) -> Iterator[Fields]:
    """Yield what leads to state *name*."""
    yield {"type": "agent.ready", "identity": ALICE, "contact": "", "features": ["conference"]}
    yield {"type": "reg.ok", "identity": ALICE, "registrar": "sip:example.com", "expires_s": 300}
    for identity, person in ((BOB, "Bob Berg"), (CAROL, "Carol Ek")):
        yield {"type": "contact.saved", "identity": identity, "name": person, "media": "PROVEN", "kms": KMS}
    yield from STATES[name]


def feed(controller: Controller, name: str) -> None:
    """Bring *controller* into a state."""
    controller._send = lambda account, line: None
    for document in documents(name):
        controller.take(document)


def window_pictures(names: Iterable[str], language: str) -> None:
    """Save a picture of the window in each state."""
    for name in names:
        window = PhoneWindow([(Line("", ALICE), [])], store=None, tr=translation([language]))
        window.processes.clear()
        window.show()
        feed(window.controller, name)
        QApplication.processEvents()
        picture = window.grab()
        for box in window.questions.open.values():
            painter = QPainter(picture)
            painter.drawPixmap((picture.width() - box.width()) // 2, 220, box.grab())
            painter.end()
        picture.save(str(FOLDER / f"window-{name}.{language}.png"))
        window.close()


async def terminal_pictures(names: Iterable[str], language: str) -> None:
    """Save a picture of the terminal in each state."""
    for name in names:
        app = PhoneApp([(Line("", ALICE), [])], store=None, tr=translation([language]))
        app.processes.clear()
        async with app.run_test(size=(110, 34)) as pilot:
            feed(app.controller, name)
            for _ in range(3):
                await pilot.pause()
            # QtSvg takes one font, not a list of them.
            drawn = re.sub(
                r"font-family: Fira Code[^;]*", "font-family: DejaVu Sans Mono", app.export_screenshot()
            )
            drawing = QSvgRenderer(QByteArray(drawn.encode()))
        picture = QImage(drawing.defaultSize() * 0.7, QImage.Format.Format_ARGB32)
        picture.fill(0xFF1E1E1E)
        painter = QPainter(picture)
        drawing.render(painter)
        painter.end()
        picture.save(str(FOLDER / f"terminal-{name}.{language}.png"))


def main(words: list[str]) -> None:
    """Make the pictures of the states named in *words*, or of all, in English and German."""
    application = QApplication([])
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = words or list(STATES)
    for language in ("en", "de"):
        window_pictures(names, language)
        asyncio.run(terminal_pictures(names, language))
    application.quit()


if __name__ == "__main__":
    main(sys.argv[1:])
