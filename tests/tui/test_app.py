"""The phone in a terminal, with real calls against a real KMS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Sized
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
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from sipmikey.tui.app import PhoneApp
from sipmikey.tui.dialogs import Ask, AskToSend, AskWhich
from tests.agent.processes import children_of
from tests.phone.agents import JsonAgent, settings
from tests.phone.documents import ALICE, BOB, CAROL, CLEAR, incoming, mixed, outgoing, security, two_calls

WAIT_S = 60
SIZE = (120, 42)


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


def test_the_screen_outlives_what_makes_the_calls_and_registers_again(
    kms: TestKms, tmp_path: Path, peer: Callable[..., JsonAgent], forking_proxy: Kamailio
) -> None:
    """The process of the SIP stack is killed in a call, then the whole engine in the next one."""
    through = ("--registrar", forking_proxy.uri, "--proxy", forking_proxy.uri)
    reachable = f"● {ALICE}: can be called"

    async def scenario() -> None:
        bob = await asyncio.to_thread(peer, BOB, *through)
        app = phone_app([*settings(kms, tmp_path, ALICE), *through])
        async with app.run_test(size=SIZE) as pilot:

            async def talk() -> None:
                await until(pilot, shows(pilot, reachable), "registered")
                calling = asyncio.to_thread(bob.do, "call", uri=ALICE)
                await asyncio.gather(calling, until(pilot, shows(pilot, "calls you"), "rings"))
                await pilot.press("f4")
                await until(pilot, shows(pilot, "● Sound: PROVEN"), "proven")

            await talk()
            engine = app.processes[""].process_id
            assert engine is not None
            (stack,) = (stack for loader in children_of(engine) for stack in children_of(loader))
            os.kill(stack, signal.SIGKILL)
            ended = "The part that speaks SIP has ended, and the call with it."
            await until(pilot, shows(pilot, "○ Sound: PROVEN", ended), "told")
            end = await asyncio.to_thread(bob.until, "call.end")
            assert end["reason"] == "stack-failed"
            await talk()
            assert app.processes[""].process_id == engine
            os.kill(engine, signal.SIGKILL)
            await until(pilot, lambda: not app.phone.live, "told")
            assert "The engine that makes the calls has ended: signal SIGKILL" in screen(pilot)
            assert f"The engine ended, and with it the call with {BOB}." in screen(pilot)
            await until(pilot, shows(pilot, reachable), "registered again")
            assert sum(f"{ALICE} can be called." in said for said in app._said) == 3

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
            await until(pilot, lambda: len(sent) == 1, "played")
            app.controller.take({"type": "message.playing", "message": "5f0c", "from": BOB})
            await pilot.pause()
            assert str(shown.get_option_at_index(0).prompt) == f"▶ 0:05 from {BOB}"
            await pilot.press("enter")
            await until(pilot, lambda: len(sent) == 2, "stopped")
            await pilot.press("c")
            await until(pilot, lambda: len(sent) == 3, "called back")
            await pilot.press("delete")
            await until(pilot, lambda: isinstance(app.screen, Ask), "asked")
            assert isinstance(app.screen, Ask)
            assert app.screen.question == f"Delete the message of {BOB}?"
            app.screen.query_one("#other", Button).press()
            await until(pilot, lambda: len(sent) == 4, "deleted")
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


def are(sent: Sized, count: int) -> Callable[[], bool]:
    return lambda: len(sent) == count


def left(app: PhoneApp, name: str) -> Callable[[], bool]:
    """Tell whether the focus has left the widget *name*."""
    return lambda: str(app.focused and app.focused.id) != name


ABLE = {"type": "agent.ready", "identity": ALICE, "features": ["leave-message"]}
WORK = "sip:alice@work.example"


def test_a_message_is_said_and_sent_or_thrown_away() -> None:
    async def scenario() -> None:
        app, sent = phone_app([]), list[tuple[str, str | None]]()
        app.processes.clear()
        app.controller._send = lambda account, line: sent.append(
            (json.loads(line)["do"], json.loads(line).get("uri"))
        )
        async with app.run_test(size=SIZE) as pilot:
            app.controller.take(ABLE)
            for key, outcome in (("enter", "message.sent"), ("escape", "message.dropped")):
                app.query_one("#dial", Input).value = "bob"
                asked = len(sent)
                await pilot.press("ctrl+r")
                await until(pilot, are(sent, asked + 1), "begun")
                app.controller.take({"type": "message.recording", "to": BOB, "longest_s": 120.0})
                await until(pilot, lambda: isinstance(app.focused, Button), "asked")
                assert isinstance(app.screen, AskToSend)
                assert app.screen.said == f"Speak now: a message for {BOB} is recorded, 120 s at most."
                await pilot.press(key)
                await until(pilot, are(sent, asked + 2), "over")
                app.controller.take({"type": outcome, "to": BOB})
                await until(pilot, lambda: not isinstance(app.screen, AskToSend), "closed")
            assert f"The message for {BOB} was left." in screen(pilot)
            assert f"The message for {BOB} was thrown away." in screen(pilot)
            app.controller.take({"type": "message.recording", "to": BOB, "longest_s": 120.0})
            await until(pilot, lambda: isinstance(app.focused, Button), "asked")
            app.controller.take({"type": "message.sending", "to": BOB})  # the longest time is over
            await until(pilot, lambda: not isinstance(app.screen, AskToSend), "closed")
        assert sent == [
            ("leave-message", BOB), ("send-message", None), ("leave-message", BOB), ("drop-message", None),
        ]  # fmt: skip

    asyncio.run(scenario())


def test_of_several_accounts_one_is_chosen_to_call_with_and_the_called_one_is_shown() -> None:
    async def scenario() -> None:
        app, asked = phone_app([]), list[str]()
        app.processes.clear()
        app.controller._send = lambda account, line: asked.append(account)
        async with app.run_test(size=SIZE) as pilot:
            app.controller.take(ABLE | {"contact": "sip:alice@127.0.0.1:5060"})
            app.controller.take(ABLE | {"identity": WORK, "account": "work"})
            await pilot.press("ctrl+y")
            await until(pilot, shows(pilot, f"{WORK}: ready at  ← you call with this one"), "chosen")
            app._dial(BOB)
            assert asked == ["work"]
            for document in incoming():
                app.controller.take(document | {"account": "work"})
            await pilot.pause()
            assert f"{BOB}: calls you (for {WORK})" in screen(pilot)
            assert f"sip:kms@example.com vouches that this is {BOB}" in screen(pilot)
            (told,) = app._notifications
            assert f"(for {WORK})" in told.message

    asyncio.run(scenario())


def test_devices_details_and_the_report_are_keys_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        app, sent = phone_app([]), list[dict[str, Any]]()
        app.processes.clear()
        app._report = lambda call: tmp_path / f"{call.number}.json"
        app.controller._send = lambda account, line: sent.append(json.loads(line))
        devices = [{"name": name, "kind": "output", "chosen": name == "Hall"} for name in ("Hall", "Headset")]
        async with app.run_test(size=SIZE) as pilot:
            app.controller.take(ABLE)
            app.controller.take({"type": "agent.devices", "devices": devices})
            await pilot.press("ctrl+p")
            await until(pilot, lambda: isinstance(app.screen, AskWhich), "asked")
            which = app.screen.query_one("#which", OptionList)
            assert [str(one.prompt) for one in which.options] == ["● output: Hall", "○ output: Headset"]
            which.focus()
            which.highlighted = 1
            await pilot.press("enter")
            await until(pilot, lambda: sent[-1]["do"] == "device", "chosen")
            assert (sent[-1]["do"], sent[-1]["role"], sent[-1]["name"]) == ("device", "output", "Headset")
            for document in outgoing():
                app.controller.take(document)
            await pilot.press("f3", "f12")
            await until(pilot, lambda: app._said and "Read it" in app._said[-1], "written")
            details = str(app.query_one("#ladder", Static).render())
            assert all(word in details for word in ("MIKEY-TICKET (RFC 6043)", "3a9cd2f1", "INVITE"))
            assert f"Read it before you send it: {tmp_path / '1.json'}" in app._said[-1]

    asyncio.run(scenario())


def test_tab_leads_to_everything_that_can_be_used_and_a_contact_is_removed() -> None:
    async def scenario() -> None:
        app = phone_app([])
        app.processes.clear()
        async with app.run_test(size=SIZE) as pilot:
            for document in two_calls():
                app.controller.take(document)
            app.controller.save(Contact(identity=BOB, name="Bob"))
            await pilot.pause()
            reached: list[str] = []
            while app.focused is not None and (name := str(app.focused.id)) not in reached:
                reached.append(name)
                if name == "contacts":
                    await pilot.press("home", "delete")
                    await until(pilot, lambda: not app.phone.contacts, "removed")
                await pilot.press("tab")
                await until(pilot, left(app, name), "moved")
            assert {"dial", "contacts", "calls"} <= set(reached)
            assert reached[0] == "dial" == str(app.focused and app.focused.id)

    asyncio.run(scenario())
