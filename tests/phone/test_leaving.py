"""A message is said, and left or thrown away: what is shown of it, and the commands behind that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipmikey.agent import Agent
from sipmikey.phone import phone_actions, replay
from sipmikey.phone.controller import Controller, NotPossible
from sipmikey.phone.edge.box import MessageFailed
from sipmikey.phone.edge.desk import Desk
from sipmikey.phone.possible import Action
from sipmikey.phone.shown import recording_line
from tests.phone.documents import ALICE, BOB, READY, ended, event, outgoing

Fields = dict[str, Any]
ABLE = READY | {"features": ["leave-message"]}
RECORDS = event("message.recording", "", to=BOB, longest_s=120.0)


def may_not(*documents: Fields) -> str:
    """Return why no message can be left after *documents*."""
    return str(phone_actions(replay(documents), "")[Action.LEAVE_MESSAGE].why_not or "")


def test_a_message_is_said_protected_and_left() -> None:
    phone = replay([ABLE, RECORDS])
    said = recording_line(phone.recordings[""], phone, str)
    assert said == f"Speak now: a message for {BOB} is recorded, 120 s at most."
    phone = replay([event("message.sending", "", to=BOB)], phone)
    assert phone.recordings[""].sends
    phone = replay([event("message.sent", "", to=BOB, message="5f0c")], phone)
    assert not phone.recordings
    assert str(phone.notices[-1].text) == f"The message for {BOB} was left."


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (event("message.dropped", "", to=BOB), f"The message for {BOB} was thrown away."),
        (event("message.unsent", "", to=BOB, detail="no"), f"The message for {BOB} was not left: no"),
        (event("engine.down", "", detail="gone"), f"and with it the message for {BOB} that was not left"),
    ],
)
def test_what_was_not_left_is_told(document: Fields, said: str) -> None:
    phone = replay([ABLE, RECORDS, document])
    assert not phone.recordings
    assert any(said in str(one.text) for one in phone.notices)


def test_a_message_is_left_where_there_is_a_mailbox_and_no_call() -> None:
    assert may_not(ABLE) == ""
    assert may_not(READY) == "No mailbox is set up: set mailbox.url in the configuration."
    assert may_not(ABLE, RECORDS) == "A message is recorded already."
    assert may_not(ABLE, *outgoing()) == "You are in a call. End it first."
    assert may_not(ABLE, *outgoing(), ended()) == ""


def test_a_face_asks_for_it_and_ends_it() -> None:
    sent: list[Fields] = []
    controller = Controller(
        (),
        send=lambda account, line: sent.append(json.loads(line)),
        changed=lambda *_: None,
        clock=lambda: 0.0,
    )
    with pytest.raises(NotPossible, match="No account"):
        controller.leave(BOB)
    controller.take(ABLE)
    assert controller.leave("bob") == BOB
    controller.take(RECORDS)
    for send in (True, False):
        controller.end_recording(controller.phone.recordings[""], send=send)
    assert [(one["do"], one.get("uri")) for one in sent] == [
        ("leave-message", BOB), ("send-message", None), ("drop-message", None),
    ]  # fmt: skip


class FakeOutbox:
    """An outbox whose microphone never ends by itself; *refused*: the KMS says no."""

    def __init__(self, *, refused: bool = False) -> None:
        self.refused = refused
        self.device = ""
        self.over: asyncio.Future[bool] | None = None

    @property
    def recording(self) -> bool:
        return self.over is not None

    async def leave(
        self, uri: str, *, file: Path | None, device: str, tell: Callable[[Fields], None]
    ) -> Fields:
        self.device = device
        if file is None:
            self.over = asyncio.get_running_loop().create_future()
            tell({"type": "message.recording", "longest_s": 120.0})
            sent = await self.over
            self.over = None
            if not sent:
                return {"sent": False}
        tell({"type": "message.sending"})
        if self.refused:
            raise MessageFailed("the KMS refused", reason="kms-refused", side="kms")
        return {"sent": True, "to": uri, "message": "5f0c"}

    def _end(self, sent: bool) -> bool:
        if self.over is None or self.over.done():
            return False
        self.over.set_result(sent)
        return True

    def send(self) -> bool:
        return self._end(True)

    def drop(self) -> bool:
        return self._end(False)


def told_of(outbox: FakeOutbox, *lines: Fields) -> list[Fields]:
    """Return what a desk says until all of *lines* have had their outcomes."""
    said: list[Fields] = []
    agent = SimpleNamespace(
        sound=SimpleNamespace(select=lambda role, name: None),
        config=SimpleNamespace(audio=SimpleNamespace(device="null"), sip=SimpleNamespace(registrar=None)),
    )

    async def scene() -> None:
        desk = Desk(said.append, outbox=outbox)
        desk.use(cast(Agent, agent))
        assert desk.features == ("conference", "leave-message")
        for number, line in enumerate(lines, 1):
            desk.take(json.dumps({"id": number, **line}))
            for _ in range(10):
                await asyncio.sleep(0)
        await desk.close()
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(scene())
    return said


def kinds(said: list[Fields]) -> list[str]:
    return [one["type"] for one in said]


def test_the_desk_records_until_it_is_told_to_send() -> None:
    outbox = FakeOutbox()
    leave = {"do": "leave-message", "uri": BOB}
    device = {"do": "device", "role": "input", "name": "Headset"}
    said = told_of(outbox, device, leave, leave, {"do": "send-message"}, {"do": "send-message"})
    assert outbox.device == "Headset"
    assert kinds(said[1:]) == [
        "message.recording", "command.failed", "command.done", "message.sending", "message.sent",
        "command.done", "command.failed",
    ]  # fmt: skip
    assert said[2]["detail"] == "a message is recorded already: send-message or drop-message"
    assert (said[5]["to"], said[5]["message"]) == (BOB, "5f0c")
    assert said[6]["sent"] is True
    assert said[7]["detail"] == "no message is recorded"


def test_a_file_is_left_at_once() -> None:
    said = told_of(FakeOutbox(), {"do": "leave-message", "uri": BOB, "file": "hello.wav"})
    assert kinds(said) == ["message.sending", "message.sent", "command.done"]


def test_what_is_thrown_away_is_told() -> None:
    said = told_of(FakeOutbox(), {"do": "leave-message", "uri": BOB}, {"do": "drop-message"})
    assert kinds(said) == ["message.recording", "command.done", "message.dropped", "command.done"]
    assert said[-1]["sent"] is False


def test_a_refusal_is_told_with_its_reason() -> None:
    said = told_of(FakeOutbox(refused=True), {"do": "leave-message", "uri": BOB, "file": "a.wav"})
    assert (said[1]["type"], said[1]["reason"], said[1]["to"]) == ("message.unsent", "kms-refused", BOB)
    assert (said[2]["type"], said[2]["side"]) == ("command.failed", "kms")


def test_a_call_ends_the_recording() -> None:
    """The microphone is for the call: what was said until then is not left."""
    said = told_of(FakeOutbox(), {"do": "leave-message", "uri": BOB}, {"do": "call", "uri": ALICE})
    assert "message.dropped" in kinds(said)
    assert "message.sent" not in kinds(said)
