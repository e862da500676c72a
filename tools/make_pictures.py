"""Make the pictures of docs/user/pictures: both faces in every state, from event documents alone.

Run it as `QT_QPA_PLATFORM=offscreen python -m tools.make_pictures` in the repository.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from PySide6.QtCore import QByteArray, qVersion
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication
from textual.widgets import Input

from sipmikey.gui.assistant import Assistant
from sipmikey.gui.window import PhoneWindow
from sipmikey.phone.assistant import SignOnShown, Steps
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

DEVICE = "https://login.example.com/device"

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


FEATURES = ["conference", "mute", "volume", "leave-message"]
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
    "recording": [
        event("call.out", 0, uri=BOB),
        event(
            "call.end", 40, reason="no-answer", side="remote", status=480, detail="",
            security=security(media="held", keying=None, **NOBODY),
        ),
        event("message.recording", 41, to=BOB, longest_s=120.0) | {"call": ""},
    ],
    "question": [
        event("call.out", 0, uri=BOB),
        event("policy.question", 1, peer=CAROL, called=BOB, kms=KMS, wait_s=30.0),
    ],
}  # fmt: skip


def documents(name: str) -> Iterator[Fields]:
    """Yield what leads to state *name*."""
    yield {"type": "agent.ready", "identity": ALICE, "contact": "", "features": FEATURES}
    yield {"type": "reg.ok", "identity": ALICE, "registrar": "sip:example.com", "expires_s": 300}
    for identity, person in ((BOB, "Bob Berg"), (CAROL, "Carol Ek")):
        yield {"type": "contact.saved", "identity": identity, "name": person, "media": "PROVEN", "kms": KMS}
    yield from STATES[name]


def feed(controller: Controller, name: str) -> None:
    """Bring *controller* into a state."""
    controller._send = lambda account, line: None
    for document in documents(name):
        controller.take(document)


def drawn_with() -> str:
    """Return what decides how text and widgets are drawn: versions, and a digest of some drawn text."""
    sample = QImage(240, 30, QImage.Format.Format_Grayscale8)
    sample.fill(0xFF)
    painter = QPainter(sample)
    for left, family in ((0, ""), (120, "DejaVu Sans Mono")):
        font = painter.font()
        font.setFamily(family or QApplication.font().family())
        painter.setFont(font)
        painter.drawText(left, 20, "● Who: Äg◐▲")
    painter.end()
    digest = hashlib.sha256(bytes(sample.constBits())).hexdigest()[:16]
    return f"Qt {qVersion()}, Textual {version('textual')}, text {digest}"


def window_picture(name: str, language: str) -> QImage:
    """Return a picture of the window in state *name*."""
    window = PhoneWindow([(Line("", ALICE), [])], store=None, tr=translation([language]))
    window.processes.clear()
    window.show()
    feed(window.controller, name)
    QApplication.processEvents()
    if (focused := window.focusWidget()) is not None:
        focused.clearFocus()  # whether the window has the focus is not ours to say, and a cursor blinks
    picture = window.grab()
    for box in (*window.questions.open.values(), *window.recordings.boxes.values()):
        painter = QPainter(picture)
        left, top = (picture.width() - box.width()) // 2, 220
        painter.drawPixmap(left, top, box.grab())
        painter.drawRect(left - 1, top - 1, box.width() + 1, box.height() + 1)  # as its frame would
        painter.end()
    window.close()
    return picture.toImage()


async def terminal_picture(name: str, language: str) -> QImage:
    """Return a picture of the terminal in state *name*."""
    app = PhoneApp([(Line("", ALICE), [])], store=None, tr=translation([language]))
    app.processes.clear()
    async with app.run_test(size=(110, 34)) as pilot:
        app.query_one("#dial", Input).cursor_blink = False
        feed(app.controller, name)
        app.clear_notifications()  # they go by themselves after some seconds
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
    return picture


def assistant_picture(language: str) -> QImage:
    """Return a picture of the assistant while a person signs on."""
    assistant = Assistant(cast(Steps, None), translation([language]))
    assistant.start.signs_on.setChecked(True)
    assistant.show()
    assistant.next()
    page = assistant.sign_on
    page.kms_url.setText("https://kms.example.com")
    page.show_code(SignOnShown(address=DEVICE, code="WDJB-MJHT", link=f"{DEVICE}?user_code=WDJB-MJHT"))
    assistant.adjustSize()
    picture = assistant.grab().toImage()
    assistant.close()
    return picture


def save(picture: QImage, path: Path) -> None:
    """Save *picture*, with what it was drawn with."""
    picture.setText("Drawn with", drawn_with())
    picture.save(str(path))


def main(words: list[str]) -> None:
    """Make the pictures of the states named in *words*, or of all, in English and German."""
    application = QApplication([])
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = words or list(STATES)
    for language in ("en", "de"):
        for name in names:
            save(window_picture(name, language), FOLDER / f"window-{name}.{language}.png")
            terminal = asyncio.run(terminal_picture(name, language))
            save(terminal, FOLDER / f"terminal-{name}.{language}.png")
        save(assistant_picture(language), FOLDER / f"assistant-sign-on.{language}.png")
    application.quit()


if __name__ == "__main__":
    main(sys.argv[1:])
