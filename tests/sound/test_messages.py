"""A message spoken into the microphone, without a call, comes out of the addressee's speaker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipmikey.testing.mailbox import MailboxDirectory
from tests.interop.lab.agents import wait_until
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.speech import write_speech
from tests.phone.agents import JsonAgent
from tests.sound.likeness import SAME, likeness
from tests.sound.pulse import Pulse, recorded

pytestmark = pytest.mark.interop

SECONDS = 4.0
"""Room for the voice, which is spoken over and over, from its beginning to its end."""


def options(name: str, kms: Kms, folder: Path) -> list[str]:
    """Return the options of the user *name* with the devices of that person."""
    key = folder / f"{name}.psk"
    key.write_text(kms.subscribers[name].psk)
    key.chmod(0o600)
    user = kms.subscribers[name]
    return [
        "--identity", uri(name), "--kms", kms.url, "--kms-identity", kms.identity, "--psk-id", user.psk_id,
        "--psk-file", str(key), "--input", f"{name} mic", "--output", f"{name} ear",
    ]  # fmt: skip


@contextmanager
def phone(name: str, kms: Kms, folder: Path, *words: str) -> Iterator[JsonAgent]:
    """Run what a window or a terminal talks to, as the user *name*."""
    agent = JsonAgent([*options(name, kms, folder), "--listen", "127.0.0.1:0", *words])
    try:
        agent.until("agent.ready")
        yield agent
    finally:
        agent.kill()


def test_what_is_said_is_heard_later(
    pulse: Pulse, kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIPMIKEY_MAILBOX_LONGEST", str(SECONDS))
    voices = {name: tmp_path / f"{name}.wav" for name in ("alice", "bob")}
    for seed, (name, voice) in enumerate(voices.items(), 1):
        pulse.add_person(name)
        write_speech(voice, seconds=1.5, seed=seed)
    served = MailboxDirectory(tmp_path / "box")
    token = tmp_path / "bob.token"
    token.write_text(served.add_box(uri("bob")))
    served.start()
    try:
        speaking = pulse.say("alice", voices["alice"])
        with phone("alice", kms, tmp_path, "--mailbox", served.url) as alice:
            left = alice.do("leave-message", uri=uri("bob"))  # it ends by itself after the longest time
        speaking.stop()
        assert (left["sent"], left["duration_s"]) == (True, SECONDS)
        listening = pulse.listen("bob ear", tmp_path / "heard")
        shown = ("--mailbox", served.url, "--token-file", str(token))
        with phone("bob", kms, tmp_path, *shown) as bob:
            listed = bob.until("messages.listed")["messages"]
            assert [one["message"] for one in listed] == [left["message"]]
            bob.do("play-message", message=left["message"])
            played = next(one for one in bob.seen if one["type"] == "message.played")
            assert (played["from"], played["stopped"]) == (uri("alice"), False)
            bob.do("delete-message", message=left["message"])
            assert bob.do("messages")["new"] == 0
        wait_until(lambda: len(recorded(tmp_path / "heard")) > 2 * 8000 * SECONDS, "what was heard")
        listening.stop()
        assert likeness(voices["alice"], recorded(tmp_path / "heard")) > SAME
        assert likeness(voices["bob"], recorded(tmp_path / "heard")) < SAME
    finally:
        served.stop()
