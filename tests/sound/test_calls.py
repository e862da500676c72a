"""Speech into a microphone at one end comes out of the speaker at the other, both ways, in a secured call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab.agents import Agent, settings, wait_until
from tests.interop.lab.kms import Kms, uri
from tests.sound.likeness import likeness
from tests.sound.pulse import Pulse, recorded

pytestmark = pytest.mark.interop

ENOUGH = 2 * 8000 * 10
"""Octets of ten seconds: a voice of four, said whole in them."""

HEARD = 0.72
"""Likeness of a voice of four seconds from which on it is that one; the others reach 0.65."""

ENGINES: dict[str, dict[str, Any]] = {
    "native": {"audio": {"codecs": ["G722", "PCMA"]}},
    "python": {"audio": {"codecs": ["opus", "G722"], "engine": "python"}, "keys": {"suites": ["128"]}},
    "no-pjsua2": {
        "audio": {"codecs": ["G722"]}, "sip": {"stack": "python"}, "keys": {"suites": ["128"]},
    },
}  # fmt: skip


def devices(name: str, **more: Any) -> dict[str, Any]:
    return {"device": "default", "sound": {"input": f"{name} mic", "output": f"{name} ear", **more}}


def agent(name: str, kms: Kms, engine: str = "native", **more: Any) -> Agent:
    sections = {section: dict(values) for section, values in ENGINES[engine].items()}
    sections["audio"] |= devices(name)
    return Agent(name, settings(name, kms, **more, **sections))  # type: ignore[arg-type]


def open_devices(one: Agent) -> set[tuple[str, str]]:
    return {
        (event["role"], event["name"]) for event in one.events("sound.device") if event["state"] == "open"
    }


@pytest.mark.parametrize(
    ("engines", "codec"),
    [
        (("native", "native"), "G722"),
        (("python", "native"), "G722"),
        (("python", "python"), "opus"),
        (("no-pjsua2", "native"), "G722"),
    ],
)
def test_speech_goes_from_microphone_to_speaker_both_ways(
    pulse: Pulse, kms: Kms, voices: dict[str, Path], tmp_path: Path, engines: tuple[str, str], codec: str
) -> None:
    for name in ("alice", "bob"):
        pulse.add_person(name)
    with agent("bob", kms, engines[1]) as bob, agent("alice", kms, engines[0], peer=bob) as alice:
        speaking = [pulse.say(name, voices[name]) for name in ("alice", "bob")]
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        for one in (alice, bob):
            one.event("sound.device", role="input", state="open")
            one.event("sound.device", role="output", state="open")
        ears = {name: tmp_path / f"{name}-heard" for name in ("alice", "bob")}
        listening = [pulse.listen(f"{name} ear", into) for name, into in ears.items()]
        for speaker, listener in (("alice", "bob"), ("bob", "alice")):
            wait_until(
                lambda speaker=speaker, listener=listener: (
                    likeness(voices[speaker], recorded(ears[listener])[-ENOUGH:]) > HEARD
                ),
                f"the voice of {speaker} in the ear of {listener}",
                timeout=60,
            )
        for process in (*listening, *speaking):
            process.stop()
        alice.do("hangup", call=number)
        bob.event("call.end")
        assert open_devices(alice) == {("input", "alice mic"), ("output", "alice ear")}
        assert alice.events("stats")[-1]["streams"][0]["codec"] == codec
    for name in ("alice", "bob"):
        assert likeness(voices[name], recorded(ears[name])[-ENOUGH:]) < HEARD
