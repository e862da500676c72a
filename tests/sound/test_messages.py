"""A message spoken into the microphone, without a call, comes out of the addressee's speaker."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.testing import program
from tests.interop.lab.agents import wait_until
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.speech import write_speech
from tests.mailbox.serving import ServedMailbox
from tests.sound.likeness import SAME, likeness
from tests.sound.pulse import Pulse, recorded

pytestmark = pytest.mark.interop

SECONDS = 4.0
"""Room for the voice, which is spoken over and over, from its beginning to its end."""


def run(name: str, kms: Kms, folder: Path, *words: str) -> str:
    """Run a command of `sipmikey` as the user *name* with the devices of that person."""
    key = folder / f"{name}.psk"
    key.write_text(kms.subscribers[name].psk)
    key.chmod(0o600)
    user = kms.subscribers[name]
    options = [
        "--identity", uri(name), "--kms", kms.url, "--kms-identity", kms.identity, "--psk-id", user.psk_id,
        "--psk-file", str(key), "--input", f"{name} mic", "--output", f"{name} ear",
    ]  # fmt: skip
    done = program.run(*words, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_said_is_heard_later(
    pulse: Pulse, kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIPMIKEY_MAILBOX_LONGEST", str(SECONDS))
    voices = {name: tmp_path / f"{name}.wav" for name in ("alice", "bob")}
    for seed, (name, voice) in enumerate(voices.items(), 1):
        pulse.add_person(name)
        write_speech(voice, seconds=1.5, seed=seed)
    served = ServedMailbox(tmp_path / "box")
    token = tmp_path / "bob.token"
    token.write_text(served.add_box(uri("bob")))
    served.start()
    try:
        speaking = pulse.say("alice", voices["alice"])
        words = ("call", uri("bob"), "--leave-message", "--without-calling", "--mailbox", served.url)
        assert f"A message of {SECONDS:.0f} s was left" in run("alice", kms, tmp_path, *words)
        speaking.stop()
        listening = pulse.listen("bob ear", tmp_path / "heard")
        shown = ("--mailbox", served.url, "--token-file", str(token))
        assert f"from {uri('alice')}" in run("bob", kms, tmp_path, "messages", "play", *shown)
        wait_until(lambda: len(recorded(tmp_path / "heard")) > 2 * 8000 * SECONDS, "what was heard")
        listening.stop()
        assert likeness(voices["alice"], recorded(tmp_path / "heard")) > SAME
        assert likeness(voices["bob"], recorded(tmp_path / "heard")) < SAME
    finally:
        served.stop()
