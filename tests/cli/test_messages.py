"""Messages that are left, as commands: through Kamailio, at a real mailbox and KMS, heard and compared."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sipmikey.cli.calls.findings import State, mailbox_finding
from sipmikey.cli.config.load import load
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.config.sections.media import Media
from sipmikey.cli.main import main
from sipmikey.cli.messages import hearing
from sipmikey.cli.messages.box import OwnBox
from sipmikey.cli.messages.opened_file import read_opened
from sipmikey.cli.messages.speech import speech_at_terminal
from sipmikey.mailbox.store import KeptMessage, MailboxStore
from sipmikey.media.g711 import PCMA
from sipmikey.media.similarity import compare_files
from sipmikey.media.wav import read_frames
from sipmikey.phone.edge.box import MessageFailed
from sipmikey.sound.shaping import Level
from sipmikey.sound.trial import Recording
from sipmikey.testing import TestKms
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.mailbox import MailboxDirectory
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from sipmikey.testing.program import COMMAND, Program
from tests.cli.commands import ALICE, BOB, Options, Start
from tests.cli.commands import command as command
from tests.cli.commands import kms as kms
from tests.cli.commands import kms_server as kms_server
from tests.cli.commands import options as options
from tests.deferred.parties import domain, left

ASSETS = Path(__file__).parents[2] / "sipmikey" / "cli" / "assets"
SPEECH = ASSETS / "alice.wav"
Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailboxDirectory]:
    folder = tmp_path_factory.mktemp("mailbox")
    made = MailboxDirectory(folder / "box", "deposits_per_minute = 1000\n")
    (folder / "bob.token").write_text(made.add_box(BOB))
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")


@pytest.fixture
def box(served: MailboxDirectory) -> Iterator[MailboxDirectory]:
    """The mailbox with nothing in bob's box."""
    yield served
    with sqlite3.connect(served.directory / "mailbox.sqlite") as store:
        store.execute("DELETE FROM messages")


class User:
    """Runs commands of `sipmikey` in this process, as one who has a box."""

    def __init__(self, words: list[str], capture: pytest.CaptureFixture[str]) -> None:
        self._words = words
        self._capture = capture

    def __call__(self, *words: object) -> tuple[int, Documents]:
        self._capture.readouterr()
        code = main([*map(str, words), *self._words])
        out = self._capture.readouterr().out
        return code, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def bob(box: MailboxDirectory, options: Options, capsys: pytest.CaptureFixture[str]) -> User:
    token = box.directory.parent / "bob.token"
    return User([*options(BOB), "--mailbox", box.url, "--token-file", str(token)], capsys)


@pytest.fixture
def alice(box: MailboxDirectory, options: Options, capsys: pytest.CaptureFixture[str]) -> User:
    return User([*options(ALICE), "--mailbox", box.url], capsys)


def leave(alice: User, message: Path = SPEECH) -> dict[str, Any]:
    code, told = alice("call", BOB, "--leave-message", "--without-calling", "--message", message)
    assert code == 0
    return told[-1]


@pytest.mark.interop
def test_a_call_that_nobody_answers_becomes_a_message_that_is_heard(
    command: Start,
    options: Options,
    forking_proxy: Kamailio,
    box: MailboxDirectory,
    bob: User,
    tmp_path: Path,
) -> None:
    """Through Kamailio: 480, a message, a NOTIFY, and the speech at the other end."""
    box.stop()
    box.start("--mwi-proxy", f"127.0.0.1:{forking_proxy.port}")
    busy = command("answer", "--reject", "480", *options(BOB, registrar=forking_proxy.uri))
    busy.until("agent.ready")
    words = ("--leave-message", "--message", str(SPEECH), "--mailbox", box.url)
    caller = command("call", BOB, *words, *options(ALICE, proxy=forking_proxy.uri))
    assert caller.finish() == 0, caller.stderr
    assert caller.last("call.end")["reason"] == "no-answer"
    assert caller.seen[-1]["reason"] == "message-left"
    waiting = busy.until("message.waiting")
    assert (waiting["box"], waiting["waiting"], waiting["new"]) == (BOB, True, 1)
    token = box.directory.parent / "bob.token"
    heard = tmp_path / "heard.wav"
    shown = ("--mailbox", box.url, "--token-file", str(token), "--record", str(heard), *options(BOB))
    code, told = User(list(shown), bob._capture)("messages", "play")
    assert code == 0
    assert (told[-1]["from"], told[-1]["kms"]) == (ALICE, "sip:kms@example.com")
    assert read_frames(heard, PCMA) == read_frames(SPEECH, PCMA)
    assert compare_files(SPEECH, heard).same
    assert not compare_files(ASSETS / "bob.wav", heard).matched
    assert busy.until("message.waiting")["waiting"] is False
    kept = b"".join(path.read_bytes() for path in box.directory.iterdir())
    assert not any(frame in kept for frame in read_frames(SPEECH, PCMA) if len(set(frame)) > 20)
    busy.process.terminate()
    busy.finish()


def test_a_message_is_listed_fetched_played_from_its_file_and_deleted(
    alice: User, bob: User, tmp_path: Path
) -> None:
    sent = leave(alice)
    assert (sent["to"], sent["shortened"]) == (BOB, True)
    name = sent["message"]
    assert bob("messages", "list")[1][0]["says_from"] == ALICE
    sealed, heard = tmp_path / "sealed", tmp_path / "heard.wav"
    assert bob("messages", "fetch", name[:6], sealed)[0] == 0
    assert sealed.read_bytes()[:4] == b"MTDD"
    assert bob("messages", "play", "--file", sealed, "--record", heard)[0] == 0
    assert read_frames(heard, PCMA) == read_frames(SPEECH, PCMA)
    code, told = bob("messages", "play", "--delete", "--record", heard)
    assert (code, told[-1]["type"], told[-1]["message"]) == (0, "message.played", name)
    assert bob("messages", "list")[1] == []
    assert bob("messages", "delete", name)[0] == 2


def test_a_message_for_a_group_is_heard_by_its_members_only(
    alice: User,
    bob: User,
    box: MailboxDirectory,
    kms: TestKms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The token opens the box. The KMS says who is in the group when the message is played."""
    group = "sip:talk@example.com"
    token = tmp_path / "talk.token"
    token.write_text(box.add_box(group))
    token.chmod(0o600)
    assert kms._kms is not None
    kms._kms.run("group", "add", group, BOB)
    monkeypatch.setenv("SIPMIKEY_MAILBOX_BOXES", f"{group}={token}")
    code, told = alice("call", group, "--leave-message", "--without-calling", "--message", SPEECH)
    assert (code, told[-1]["to"]) == (0, group)
    assert bob("messages", "list")[1] == []
    kms._kms.run("group", "remove", group, BOB)
    heard = tmp_path / "heard.wav"
    code, told = bob("messages", "play", "--box", group, "--record", heard)
    assert (code, told[-1]["reason"]) == (4, "kms-refused")
    kms._kms.run("group", "add", group, BOB)
    code, told = bob("messages", "play", "--box", group, "--record", heard)
    assert (code, told[-1]["from"]) == (0, ALICE)
    assert read_frames(heard, PCMA) == read_frames(SPEECH, PCMA)
    assert bob("messages", "list", "--box", "sip:other@example.com")[0] == 2


def test_an_agent_lists_the_box_when_it_starts_and_when_asked(
    alice: User, box: MailboxDirectory, options: Options
) -> None:
    leave(alice)
    token = box.directory.parent / "bob.token"
    words = ["agent", *options(BOB), "--mailbox", box.url, "--token-file", str(token)]
    with Program(COMMAND, *words, text=True) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        told = (json.loads(line) for line in agent.stdout)
        listed = next(one for one in told if one["type"] == "messages.listed")
        assert [(one["says_from"], one["heard"]) for one in listed["messages"]] == [(ALICE, False)]
        agent.stdin.write('{"id": 7, "do": "messages"}\n')
        agent.stdin.flush()
        done = next(one for one in told if one["type"] == "command.done" and one["id"] == 7)
        assert done["new"] == 1
        agent.stdin.close()
        assert [one["exit_code"] for one in told if one["type"] == "result"] == [0]


def test_the_kms_may_refuse_the_callee(alice: User, bob: User, kms: TestKms, tmp_path: Path) -> None:
    """The message stays, is not marked as heard, and can be heard once the KMS says yes."""
    leave(alice)
    assert kms._kms is not None
    kms._kms.run("user", "disable", BOB)
    try:
        code, told = bob("messages", "play", "--record", tmp_path / "heard.wav")
        assert (code, told[-1]["type"], told[-1]["reason"]) == (4, "error", "kms-refused")
        assert told[0]["type"] == "message.refused"
    finally:
        kms._kms.run("user", "enable", BOB)
    assert bob("messages", "list")[1][0]["heard"] is False
    assert not (tmp_path / "heard.wav").exists()
    assert bob("messages", "play", "--record", tmp_path / "heard.wav")[0] == 0


def test_a_phone_plays_a_message_on_its_speaker(
    alice: User, kms: TestKms, box: MailboxDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The KMS is asked when it is to be played: its refusal is in words, and leaves it unheard."""
    name = leave(alice)["message"]
    user, key = kms.user(BOB), tmp_path / "key"
    key.write_text(user.psk)
    key.chmod(0o600)
    variables = {
        "SIPMIKEY_IDENTITY_URI": BOB, "SIPMIKEY_KMS_URL": kms.url, "SIPMIKEY_KMS_IDENTITY": kms.identity,
        "SIPMIKEY_KMS_PSK_ID": user.psk_id, "SIPMIKEY_KMS_PSK_FILE": str(key),
        "SIPMIKEY_MAILBOX_URL": box.url,
        "SIPMIKEY_MAILBOX_TOKEN_FILE": str(box.directory.parent / "bob.token"),
    }  # fmt: skip
    ours = OwnBox(load(environment=variables).configuration)
    heard: list[tuple[tuple[bytes, ...], str]] = []
    monkeypatch.setattr(
        "sipmikey.cli.messages.speech.play_message",
        lambda message, media, *, stop: heard.append((message.frames, media.output)),
    )
    begun: list[dict[str, Any]] = []
    assert kms._kms is not None
    kms._kms.run("user", "disable", BOB)
    try:
        with pytest.raises(MessageFailed, match="kms-refused: the KMS refused") as refused:
            asyncio.run(ours.play(name, output="", begins=begun.append))
    finally:
        kms._kms.run("user", "enable", BOB)
    assert (refused.value.reason, refused.value.side, begun) == ("kms-refused", "kms", [])
    assert asyncio.run(ours.listed())[0]["heard"] is False
    played = asyncio.run(ours.play(name, output="Headset", begins=begun.append))
    assert heard == [(read_frames(SPEECH, PCMA), "Headset")]
    assert (begun[0]["from"], played["from"], played["stopped"]) == (ALICE, ALICE, False)
    assert asyncio.run(ours.listed())[0]["heard"] is True
    asyncio.run(ours.delete(name))
    assert asyncio.run(ours.listed()) == []


def test_nobody_else_opens_it(alice: User, bob: User, options: Options, tmp_path: Path) -> None:
    name = leave(alice)["message"]
    sealed = tmp_path / "sealed"
    bob("messages", "fetch", name, sealed)
    thief = User(options("sip:carol@example.com"), bob._capture)
    code, told = thief("messages", "play", "--file", sealed, "--record", tmp_path / "stolen.wav")
    assert (code, told[-1]["reason"]) == (4, "kms-refused")
    assert not (tmp_path / "stolen.wav").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda octets: octets[:-150] + bytes((octets[-150] ^ 1,)) + octets[-149:], "forged-packet"),
        (lambda octets: octets[:60] + bytes((octets[60] ^ 1,)) + octets[61:], None),
        (lambda octets: octets[:-100], "malformed-deposit"),
    ],
    ids=["a packet", "TRANSFER_INIT", "the end"],
)
def test_what_the_mailbox_changed_is_refused(
    alice: User, bob: User, box: MailboxDirectory, tmp_path: Path, change, reason: str | None
) -> None:
    leave(alice)
    with sqlite3.connect(box.directory / "mailbox.sqlite") as store:
        ((octets,),) = store.execute("SELECT octets FROM messages").fetchall()
        store.execute("UPDATE messages SET octets = ?", (change(octets),))
    code, told = bob("messages", "play", "--record", tmp_path / "heard.wav")
    assert code == 5
    assert reason is None or told[-1]["reason"] == reason
    assert not (tmp_path / "heard.wav").exists()
    assert bob("messages", "list")[1][0]["heard"] is False


def test_a_message_that_the_mailbox_shows_twice_is_told(
    alice: User, bob: User, box: MailboxDirectory, tmp_path: Path
) -> None:
    leave(alice)
    heard = tmp_path / "heard.wav"
    assert bob("messages", "play", "--record", heard)[0] == 0
    (name,) = [one["message"] for one in bob("messages", "list")[1]]
    assert bob("messages", "play", name, "--record", heard)[0] == 0, "the same one may be heard again"
    with sqlite3.connect(box.directory / "mailbox.sqlite") as store:
        store.execute("UPDATE messages SET name = '00000000000000ff', heard = 0")
    code, told = bob("messages", "play", "--record", heard)
    assert (code, told[-1]["reason"]) == (5, "replayed-message")


def test_two_messages_opened_at_once_are_both_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "opened.json"
    asked = asyncio.Event()

    async def opened(_: object, __: object, octets: bytes) -> tuple[object, object]:
        if octets == b"first":
            await asked.wait()
        asked.set()
        return None, SimpleNamespace(valid_until=0)

    monkeypatch.setattr(hearing, "opened_path", lambda _: path)
    monkeypatch.setattr(hearing, "_opened", opened)
    monkeypatch.setattr(hearing, "parse_deposit", lambda octets: SimpleNamespace(transfer_init=octets))

    async def both() -> None:
        names = (b"first", b"second")
        await asyncio.gather(*(hearing.open_kept(Configuration(), BOB, one.decode(), one) for one in names))

    asyncio.run(both())
    assert {name for name, _ in read_opened(path).known.values()} == {"first", "second"}


def test_a_message_whose_ticket_has_expired_is_told_as_such(
    bob: User, box: MailboxDirectory, tmp_path: Path
) -> None:
    """Left two days ago with a ticket for twenty hours."""
    kms = domain(tmp_path)
    kms.clock.now = time.time_ns() - 2 * 86_400 * 10**9
    deposit = left(kms)
    kms.close()
    now = time.time()
    message = KeptMessage(
        name="00000000000000aa", sender=ALICE, deposited=now - 2 * 86_400, expires=now + 86_400,
        valid_until=now - 28 * 3600, duration_s=0.6, size=1, heard=False,
    )  # fmt: skip
    store = MailboxStore(box.directory / "mailbox.sqlite")
    store.add(BOB, message, deposit.encode(), source="x", digest=b"x")
    store.close()
    assert bob("messages", "list")[1][0]["expired"] is True
    code, told = bob("messages", "play", "--record", tmp_path / "heard.wav")
    assert (code, told[-1]["reason"]) == (5, "ticket-expired")
    assert "expired" in told[-1]["detail"]


def test_check_looks_into_the_box(alice: User, box: MailboxDirectory, tmp_path: Path) -> None:
    leave(alice)
    wrong = tmp_path / "wrong.token"
    wrong.write_text("00" * 32)
    right = box.directory.parent / "bob.token"
    for url, token, state, said in (
        (box.url, str(right), State.OK, "1 new, 0 heard"),
        (box.url, str(wrong), State.BAD, "not-the-owner"),
        (box.url, "", State.WARNING, "nothing opens"),
        ("http://127.0.0.1:1", str(right), State.BAD, "cannot reach"),
    ):
        variables = {"SIPMIKEY_IDENTITY_URI": BOB, "SIPMIKEY_MAILBOX_URL": url}
        variables |= {"SIPMIKEY_MAILBOX_TOKEN_FILE": token} if token else {}
        finding = asyncio.run(mailbox_finding(load(environment=variables).configuration))
        assert (finding.name, finding.state) == ("mailbox", state)
        assert said in finding.detail


def test_a_wrong_token_and_a_mailbox_that_is_not_there(
    alice: User, box: MailboxDirectory, options: Options, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.token"
    wrong.write_text("00" * 32)
    other = User([*options(BOB), "--mailbox", box.url, "--token-file", str(wrong)], capsys)
    code, told = other("messages", "list")
    assert (code, told[-1]["reason"]) == (9, "not-the-owner")
    assert "mailbox.token_file" in told[-1]["detail"]
    nowhere = User([*options(ALICE), "--mailbox", "http://127.0.0.1:1"], capsys)
    words = ("call", BOB, "--leave-message", "--without-calling", "--message", SPEECH)
    code, told = nowhere(*words)
    assert (code, told[-1]["reason"]) == (9, "mailbox-failure")
    assert "mailbox.url" in told[-1]["detail"]
    code, told = alice("call", "sip:nobody@example.com", *words[2:])
    assert (code, told[-1]["reason"]) == (9, "no-such-box")


def test_a_message_that_cannot_be_left_is_told_before_the_call(
    alice: User, options: Options, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words, why in (
        (("--leave-message",), "--message"),
        (("--leave-message", "--message", tmp_path / "none.wav"), "none.wav"),
        (("--message", SPEECH), "--leave-message"),
        (("--without-calling",), "--leave-message"),
    ):
        code, told = alice("call", BOB, *words)
        assert (code, told[-1]["type"]) == (2, "error")
        assert why in told[-1]["detail"]
    without = User(options(ALICE), capsys)
    code, told = without("call", BOB, "--leave-message", "--message", SPEECH)
    assert code == 2
    assert "mailbox.url" in told[-1]["detail"]


def test_what_is_said_at_a_terminal_takes_the_microphone_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[float, str]] = []

    def record(seconds: float, name: str, *, stop: threading.Event) -> Recording:
        asked.append((seconds, name))
        return Recording(samples=np.full(16_000, 0.5, np.float32), level=Level(peak_db=-6.0, rms_db=-6.0))

    monkeypatch.setattr("sipmikey.sound.trial.record", record)
    frames = speech_at_terminal(Media(input="Headset"), longest_s=120.0)
    assert asked == [(120.0, "Headset")]
    assert len(frames) == 50
    assert "recording a message of 120 s" in capsys.readouterr().err
