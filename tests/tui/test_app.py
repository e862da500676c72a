"""The phone in a terminal, with real calls against a real KMS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList, Static, TabbedContent

from sipmikey.mikey.secret import Secret
from sipmikey.phone import Contact
from sipmikey.phone.controller import Line
from sipmikey.phone.edge.language import translation
from sipmikey.phone.edge.store import Store
from sipmikey.testing import TestKms
from sipmikey.tui.app import PhoneApp
from sipmikey.tui.dialogs import Ask
from tests.phone.agents import JsonAgent, settings
from tests.phone.documents import ALICE, BOB, CAROL, CLEAR, mixed, security, two_calls

WAIT_S = 60
SIZE = (120, 42)


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestKms]:
    server = TestKms(tmp_path_factory.mktemp("kms"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def peer(kms: TestKms, tmp_path: Path) -> Iterator[Callable[..., JsonAgent]]:
    running: list[JsonAgent] = []

    def start(identity: str) -> JsonAgent:
        running.append(JsonAgent(settings(kms, tmp_path, identity)))
        running[-1].contact = running[-1].until("agent.ready")["contact"]
        return running[-1]

    yield start
    for one in running:
        one.kill()


def phone_app(options: list[str], store: Store | None = None, language: str = "en") -> PhoneApp:
    return PhoneApp([(Line("", ALICE), options)], store=store, tr=translation([language]))


async def until(pilot: Pilot[None], true: Callable[[], object], what: str) -> None:
    """Let the application work until something is true."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, f"{what}:\n{screen(pilot)}"
        await pilot.pause(0.05)
    await pilot.pause()


def screen(pilot: Pilot[None]) -> str:
    """Return what the main screen says."""
    root = pilot.app.screen_stack[0]
    return "\n".join(str(root.query_one(f"#{name}", Static).render()) for name in ("accounts", "call", "log"))


def shows(pilot: Pilot[None], *words: str) -> Callable[[], bool]:
    return lambda: all(word in screen(pilot) for word in words)


def test_a_call_is_taken_held_rekeyed_and_ended_by_keys(
    kms: TestKms, tmp_path: Path, peer: Callable[..., JsonAgent]
) -> None:
    async def scenario() -> None:
        bob = await asyncio.to_thread(peer, BOB)
        app = phone_app(settings(kms, tmp_path, ALICE))
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, shows(pilot, "ready at"), "ready")
            contact = app.phone.accounts[""].contact
            calling = asyncio.to_thread(bob.do, "call", uri=ALICE, via=contact)
            await asyncio.gather(calling, until(pilot, shows(pilot, "calls you"), "rings"))
            assert f"VOUCHED FOR \n  sip:kms@example.com vouches that this is {BOB}." in screen(pilot)
            await pilot.press("f4")
            await until(pilot, shows(pilot, "talking", "● Sound: PROVEN"), "proven")
            await pilot.press("f6")
            await until(pilot, shows(pilot, "on hold"), "held")
            await pilot.press("f6")
            await until(pilot, shows(pilot, "talking"), "resumed")
            await pilot.press("f10")
            await asyncio.gather(asyncio.to_thread(bob.until, "media.rekeyed"), pilot.pause())
            await pilot.press("f3")
            assert "RESOLVE_INIT" in str(app.query_one("#ladder", Static).render())
            await pilot.press("f5")
            await asyncio.to_thread(bob.until, "call.end")
            await until(pilot, shows(pilot, "You hung up.", "○ Sound: PROVEN"), "ended")
            assert app.phone.history[0].proven

    asyncio.run(scenario())


def test_a_contact_is_dialled_by_name_and_remembered(kms: TestKms, tmp_path: Path) -> None:
    key = Secret(bytes(32))

    async def scenario() -> None:
        with Store(tmp_path / "phone.db", key) as store:
            app = phone_app(settings(kms, tmp_path, ALICE), store)
            async with app.run_test(size=SIZE) as pilot:
                await until(pilot, shows(pilot, "ready at"), "ready")
                app.controller.save(Contact(identity="sip:bob@example.invalid", name="Bob Berg"))
                field = app.query_one("#dial", Input)
                field.value = "bob berg"
                await pilot.press("f2", "enter")
                await until(pilot, lambda: app.phone.history, "the call is over")
                assert field.value == ""

    asyncio.run(scenario())
    with Store(tmp_path / "phone.db", key) as store:
        kinds = [document["type"] for document in store.documents()]
    assert kinds == ["contact.saved", "history.entry"]


def test_the_end_of_the_engine_in_a_call_is_told_and_it_is_started_again(
    kms: TestKms, tmp_path: Path, peer: Callable[..., JsonAgent]
) -> None:
    async def scenario() -> None:
        bob = await asyncio.to_thread(peer, BOB)
        app = phone_app(settings(kms, tmp_path, ALICE))
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, shows(pilot, "ready at"), "ready")
            calling = asyncio.to_thread(bob.do, "call", uri=ALICE, via=app.phone.accounts[""].contact)
            await asyncio.gather(calling, until(pilot, shows(pilot, "calls you"), "rings"))
            await pilot.press("f4")
            await until(pilot, shows(pilot, "PROVEN"), "proven")
            process = app.processes[""].process_id
            assert process is not None
            os.kill(process, signal.SIGABRT)
            await until(pilot, lambda: app.phone.accounts[""].engine_ends == 1, "told")
            assert "PROVEN" not in screen(pilot) or "○ Sound: PROVEN" in screen(pilot)
            assert "The engine ended, and with it the call with" in screen(pilot)
            await until(pilot, shows(pilot, "● sip:alice@example.com: ready at"), "ready again")
            assert not app.phone.live

    asyncio.run(scenario())


def test_a_question_of_policy_has_the_safe_choice_first() -> None:
    async def scenario() -> None:
        sent: list[str] = []
        app = PhoneApp([(Line("", ALICE), [])], store=None, tr=translation(["en"]))
        app.processes.clear()
        app._send = lambda account, line: sent.append(line)  # type: ignore[method-assign]
        app.controller._send = app._send
        async with app.run_test(size=SIZE) as pilot:
            app.controller.take({"type": "agent.ready", "identity": ALICE})
            app.controller.take({"type": "call.out", "call": "1", "uri": BOB, "at": 1.0})
            asked = {
                "type": "policy.question",
                "call": "1",
                "peer": CAROL,
                "called": BOB,
                "kms": "sip:k@e.com",
            }
            app.controller.take({**asked, "wait_s": 30, "at": 2.0})
            await pilot.pause()
            dialog = app.screen
            assert isinstance(dialog, Ask)
            assert "Talk to sip:carol@example.com?" in dialog.question
            assert isinstance(app.focused, Button)
            assert app.focused.id == "safe"
            await pilot.press("enter")
            await pilot.pause()
            assert '"do": "decide", "call": "1", "accept": false' in sent[-1]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        (security(), "● Sound: PROVEN"),
        (security(media="off", peer=None, kms=None, keying=None), "▲ Sound: IN CLEAR"),
        (security(media="keyed"), "◐ Sound: NOT PROVEN YET"),
        (security(media="held"), "◐ Sound: WAITING FOR KEYS"),
        (security(keying="sdes", peer=None, kms=None), "▲ Sound: NOT END TO END"),
    ],
)
def test_each_state_has_its_shape_and_word(facts: dict[str, object], word: str) -> None:
    async def scenario() -> None:
        app = PhoneApp([(Line("", ALICE), [])], store=None, tr=translation(["en"]))
        app.processes.clear()
        async with app.run_test(size=SIZE) as pilot:
            app.controller.take({"type": "call.out", "call": "1", "uri": BOB, "at": 1.0})
            app.controller.take({"type": "call.answered", "call": "1", "security": facts, "at": 2.0})
            await pilot.pause()
            assert word in screen(pilot)
            assert ("PROVEN " in screen(pilot).replace("NOT PROVEN YET", "")) == (word == "● Sound: PROVEN")

    asyncio.run(scenario())


def test_a_message_is_played_stopped_called_back_and_deleted() -> None:
    async def scenario() -> None:
        sent: list[dict[str, Any]] = []
        app = PhoneApp([(Line("", ALICE), [])], store=None, tr=translation(["en"]))
        app.processes.clear()
        app.controller._send = lambda account, line: sent.append(json.loads(line))
        kept = {"message": "5f0c", "says_from": CAROL, "left_at": 10.0, "duration_s": 5.0, "heard": False}
        async with app.run_test(size=SIZE) as pilot:
            app.controller.take({"type": "agent.ready", "identity": ALICE})
            app.controller.take({"type": "messages.listed", "messages": [kept]})
            app.query_one(TabbedContent).active = "left"
            shown = app.query_one("#messages", OptionList)
            shown.focus()
            shown.highlighted = 0
            await pilot.press("enter")
            await pilot.pause()
            app.controller.take({"type": "message.playing", "message": "5f0c", "from": BOB})
            await pilot.pause()
            assert str(shown.get_option_at_index(0).prompt) == f"▶ 0:05 from {BOB}"
            await pilot.press("enter", "c", "delete")
            await pilot.pause()
            assert isinstance(app.screen, Ask)
            assert app.screen.question == f"Delete the message of {BOB}?"
            app.screen.query_one("#other", Button).press()
            await pilot.pause()
            said = "kms-refused: ask the administrator"
            app.controller.take({"type": "command.failed", "id": sent[0]["id"], "detail": said})
            await pilot.pause()
            assert said in screen(pilot)
        assert [(one["do"], one.get("message", one.get("uri"))) for one in sent] == [
            ("play-message", "5f0c"), ("stop-message", None), ("call", BOB), ("delete-message", "5f0c"),
        ]  # fmt: skip

    asyncio.run(scenario())


def test_a_link_asks_before_it_calls() -> None:
    async def scenario() -> None:
        app = PhoneApp([(Line("", ALICE), [])], store=None, tr=translation(["en"]), wanted=BOB)
        app.processes.clear()
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            assert isinstance(app.screen, Ask)
            await pilot.press("escape")
            await pilot.pause()
            assert not app.phone.calls

    asyncio.run(scenario())


def test_a_conference_shows_its_weakest_call_and_its_keys() -> None:
    async def scenario() -> None:
        app, sent = phone_app([]), list[str]()
        app.processes.clear()
        app.controller._send = lambda account, line: sent.append(json.loads(line)["do"])
        async with app.run_test(size=SIZE) as pilot:
            for document in two_calls(**CLEAR):
                app.controller.take(document)
            await pilot.pause()
            assert "● Sound: PROVEN" in screen(pilot)
            await pilot.press("ctrl+g")
            app.controller.take(mixed())
            await pilot.pause()
            assert f"Conference of 2: {BOB}, {CAROL}" in screen(pilot)
            assert "▲ Sound: IN CLEAR" in screen(pilot)
            assert "● Sound" not in screen(pilot)
            await pilot.press("ctrl+o")
            app.controller.take(mixed(present=False))
            await pilot.pause()
            assert "You are out of it" in screen(pilot)
            await pilot.press("ctrl+o", "ctrl+t", "ctrl+l")
        assert sent[-5:] == ["conference", "step-out", "step-in", "split", "end-conference"]

    asyncio.run(scenario())
