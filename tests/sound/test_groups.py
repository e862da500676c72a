"""Push to talk at terminals: who has the floor is heard at the other's speaker."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from tests.cli.terminal import Terminal
from tests.interop.lab.agents import wait_until
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.speech import write_speech
from tests.sound.pulse import Pulse, recorded

pytestmark = pytest.mark.interop

SECOND = 2 * 8000
"""Octets of a second."""

LOUD = 500


def member(name: str, verb: str, kms: Kms, folder: Path, *words: str) -> Terminal:
    """Start `sipmikey group` at a terminal as *name* with that person's devices."""
    user = kms.subscribers[name]
    key = folder / f"{name}.psk"
    key.write_text(user.psk)
    key.chmod(0o600)
    options = (
        "--identity", uri(name), "--kms", kms.url, "--kms-identity", kms.identity, "--psk-id", user.psk_id,
        "--psk-file", str(key), "--input", f"{name} mic", "--output", f"{name} ear",
        "--listen", "127.0.0.1:0", "--interface", "127.0.0.1",
    )  # fmt: skip
    return Terminal("group", verb, uri("talk"), *words, *options)


def loudest(octets: bytes) -> int:
    return int(np.abs(np.frombuffer(octets, dtype=np.int16).astype(int)).max(initial=0))


def test_the_space_bar_takes_the_floor_and_gives_it_back(pulse: Pulse, kms: Kms, tmp_path: Path) -> None:
    kms.run("group", "add", uri("talk"), uri("alice"), uri("bob"))
    for name in ("alice", "bob"):
        pulse.add_person(name)
    write_speech(tmp_path / "voice.wav", seconds=1.0, seed=4)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        media = f"239.255.60.43:{probe.getsockname()[1]}"
    alice = member("alice", "call", kms, tmp_path, "--media", media)
    speaking, bob = None, None
    try:
        alice.until("we are at ")
        contact = alice.until("\n").rpartition("we are at ")[2].partition("\n")[0]
        bob = member("bob", "join", kms, tmp_path, "--chair", uri("alice"), "--via", contact)
        bob.until("[space] talk  [q] leave")
        speaking = pulse.say("bob", tmp_path / "voice.wav")
        listening = pulse.listen("alice ear", tmp_path / "heard")
        heard = tmp_path / "heard"
        wait_until(lambda: len(recorded(heard)) > SECOND // 2, "the recording of alice's ear")
        assert loudest(recorded(heard)) == 0
        bob.type(" ")
        bob.until("[space] give the floor back")
        alice.until(f"{uri('bob')} talks")
        alice.type(" ")
        alice.until("another member talks")
        wait_until(lambda: loudest(recorded(heard)) > LOUD, "what bob says at alice's ear")
        listening.stop()
        bob.type(" ")
        alice.until("nobody talks")
        alice.type("q")
        bob.until("the session is over")
    finally:
        for one in (alice, bob):
            if one is not None:
                one.kill()
        if speaking is not None:
            speaking.stop()
