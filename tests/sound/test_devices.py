"""Devices by name: listed, tried out, remembered, changed in a call, pulled out and put back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sipmikey.sound.devices import Device, Direction, choose
from sipmikey.sound.errors import NoSoundDevice
from sipmikey.sound.remembered_devices import remember, remembered
from sipmikey.sound.settings import Role
from sipmikey.testing.program import run
from tests.interop.lab.agents import Agent, settings, wait_until
from tests.interop.lab.kms import Kms, uri
from tests.sound.likeness import SAME, likeness
from tests.sound.pulse import Pulse, recorded

ENOUGH = 2 * 8000 * 10
THERE = tuple(
    Device(name=name, direction=direction)
    for name, direction in (
        ("Headset mic", Direction.INPUT),
        ("Built-in mic", Direction.INPUT),
        ("Headset", Direction.OUTPUT),
        ("Headset 2", Direction.OUTPUT),
    )
)


def devices(*words: str, code: int = 0) -> tuple[list[dict[str, object]], str]:
    """Run `sipmikey devices`; return its documents and what it complained."""
    done = run("devices", "--json", *words)
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_part_of_the_name_is_enough_where_it_is_the_only_one() -> None:
    assert choose("built", Direction.INPUT, THERE) == "Built-in mic"
    assert choose("Headset", Direction.OUTPUT, THERE) == "Headset"
    with pytest.raises(NoSoundDevice, match=r"2 devices have 'head'.*Headset; Headset 2"):
        choose("head", Direction.OUTPUT, THERE)
    with pytest.raises(NoSoundDevice, match=r"no device has 'USB'.*Headset mic; Built-in mic"):
        choose("USB", Direction.INPUT, THERE)


def test_a_choice_is_remembered_and_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "state" / "sound.json"
    assert remembered(file) == {}
    remember(Role.INPUT, "Headset mic", file)
    remember(Role.RINGER, "Built-in", file)
    assert remembered(file) == {Role.INPUT: "Headset mic", Role.RINGER: "Built-in"}
    remember(Role.INPUT, "", file)
    assert remembered(file) == {Role.RINGER: "Built-in"}
    file.write_text("[not json")
    assert remembered(file) == {}


@pytest.mark.interop
def test_devices_are_listed_tried_and_remembered(pulse: Pulse, voices: dict[str, Path]) -> None:
    pulse.add_person("alice")
    listed, _ = devices()
    names = {(one["direction"], one["name"], one["monitor"]) for one in listed}
    assert ("input", "alice mic", False) in names
    assert ("output", "alice ear", False) in names
    assert ("input", "Monitor of alice ear", True) in names
    speaking = pulse.say("alice", voices["alice"])
    tried, _ = devices(
        "--test", "--seconds", "1", "--input", "alice mic", "--output", "alice ear", "--remember"
    )
    speaking.stop()
    assert tried[-1]["audible"] is True
    kept, _ = devices()
    assert {one["name"]: one["remembered"] for one in kept if one["remembered"]} == {
        "alice mic": ["input"],
        "alice ear": ["output"],
    }


@pytest.mark.interop
def test_a_silent_microphone_and_a_wrong_name_are_told(pulse: Pulse) -> None:
    pulse.add_person("alice")
    _, silent = devices("--test", "--seconds", "0.5", "--input", "alice mic", code=7)
    assert "muted" in silent
    _, unknown = devices("--test", "--input", "Headset", code=2)
    assert "no device has 'Headset'" in unknown


@pytest.mark.interop
@pytest.mark.long
def test_a_headset_is_pulled_out_and_put_back_in_a_call(
    pulse: Pulse, kms: Kms, voices: dict[str, Path], tmp_path: Path
) -> None:
    pulse.add_person("alice")
    pulse.add_speaker("desk speaker")
    headset = pulse.add_speaker("headset")
    audio = {"device": "default", "sound": {"output": "headset", "input": "alice mic"}}
    with (
        Agent("bob", settings("bob", kms, play=voices["bob"])) as bob,
        Agent(
            "alice",
            settings("alice", kms, peer=bob, audio=audio),
        ) as alice,
    ):
        number = alice.call(uri("bob"))
        alice.event("sound.device", role="output", state="open", name="headset")
        pulse.unplug(headset)
        alice.event("sound.device", role="output", state="lost", name="headset")
        at = alice.now
        alice.event("sound.device", role="output", state="open", name="")
        pulse.add_speaker("headset")
        alice.event("sound.device", role="output", state="open", name="headset", start=at)
        listening = pulse.listen("headset", tmp_path / "again")
        wait_until(lambda: len(recorded(tmp_path / "again")) > ENOUGH, "the headset's sound", timeout=60)
        listening.stop()
        alice.do("sound", what="select", given=["output", "desk"])
        alice.event("sound.device", role="output", state="open", name="desk speaker")
        listening = pulse.listen("desk speaker", tmp_path / "desk")
        wait_until(lambda: len(recorded(tmp_path / "desk")) > ENOUGH, "the desk's sound", timeout=60)
        listening.stop()
        alice.do("hangup", call=number)
    assert likeness(voices["bob"], recorded(tmp_path / "again")) > SAME
    assert likeness(voices["bob"], recorded(tmp_path / "desk")) > SAME


@pytest.mark.interop
def test_mute_sends_silence_and_levels_show_it(pulse: Pulse, kms: Kms, voices: dict[str, Path]) -> None:
    pulse.add_person("alice")
    audio = {"device": "default", "sound": {"input": "alice mic", "output": "alice ear"}}
    with (
        Agent("bob", settings("bob", kms)) as bob,
        Agent("alice", settings("alice", kms, peer=bob, audio=audio)) as alice,
    ):
        speaking = pulse.say("alice", voices["alice"])
        alice.do("sound", what="watch_levels")
        number = alice.call(uri("bob"))

        def loudest(start: int) -> float:
            levels = [
                one["rms_db"] for one in alice.events("sound.level", start=start) if one["role"] == "input"
            ]
            return max(levels[3:], default=-200.0)

        wait_until(lambda: loudest(0) > -40, "speech at the microphone", timeout=30)
        alice.do("sound", what="mute")
        at = alice.now
        wait_until(lambda: len(alice.events("sound.level", start=at)) > 30, "levels", timeout=30)
        assert loudest(at) == -96.0
        speaking.stop()
        alice.do("hangup", call=number)
