"""What a telephone plays by itself, and where: ring, ring-back, call waiting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sipmikey.agent.sound_control import TelephoneTones
from sipmikey.call.events import CallAnswered, CallEnded, CallIn, CallRinging, CallState, Event, Security
from sipmikey.call.events import MediaProtection as Media
from sipmikey.call.reasons import Reason
from sipmikey.sound.bridge import SoundBridge
from sipmikey.sound.commands import Command, PlayTone, Ring, StopRinging, StopTones
from sipmikey.sound.settings import DeviceNews, News, Role, SoundSettings
from tests.interop.lab.agents import wait_until
from tests.sound.pulse import Pulse, recorded

RATE = 16000
HELD = Security(signalling="udp", media=Media.HELD)
LOUD = 1000
RING_BACK, CALL_WAITING = PlayTone(tone="ring-back"), PlayTone(tone="call-waiting")


def comes(call: str) -> list[Event]:
    made = CallIn(at=0.0, call=call, caller="sip:b@example.com", called="sip:a@example.com", sip_call_id=call)
    return [made, CallState(at=0.0, call=call, state="ringing", security=HELD)]


def rings_there(call: str, *, early_media: bool = False) -> list[Event]:
    return [CallRinging(at=0.0, call=call, status=180, to_tag="t", early_media=early_media)]


def answered(call: str) -> list[Event]:
    return [CallAnswered(at=0.0, call=call, sip_call_id=call, to_tag="t", setup_ms=1.0, security=HELD)]


def ended(call: str) -> list[Event]:
    return [
        CallEnded(
            at=0.0, call=call, reason=Reason.HANGUP, side="remote", status=0, detail="", duration_s=0.0,
            security=HELD,
        )
    ]  # fmt: skip


def played(*steps: list[Event]) -> list[tuple[Command, ...]]:
    """Return what each step asks for."""
    tones = TelephoneTones()
    return [tuple(command for event in step for command in tones.commands(event)) for step in steps]


def test_a_call_that_comes_rings_until_it_is_answered_or_over() -> None:
    assert played(comes("1"), answered("1")) == [(Ring(),), (StopRinging(),)]
    assert played(comes("1"), ended("1")) == [(Ring(),), (StopRinging(),)]
    assert played(comes("1"), comes("2"), ended("1"), ended("2")) == [
        (Ring(),),
        (Ring(),),
        (),
        (StopRinging(),),
    ]


def test_a_second_call_waits_with_a_tone_in_the_first() -> None:
    assert played(comes("1"), answered("1"), comes("2"), ended("2"), ended("1")) == [
        (Ring(),), (StopRinging(),), (CALL_WAITING,), (StopTones(),), (),
    ]  # fmt: skip


def test_a_call_that_rings_there_has_a_ring_back_tone_unless_the_peer_sends_one() -> None:
    assert played(rings_there("1"), rings_there("1"), answered("1")) == [(RING_BACK,), (), (StopTones(),)]
    assert played(rings_there("1", early_media=True), answered("1")) == [(), ()]


@pytest.mark.interop
def test_the_ringer_is_a_device_of_its_own(pulse: Pulse, tmp_path: Path) -> None:
    pulse.add_person("alice")
    pulse.add_speaker("bell")
    told: list[News] = []
    settings = SoundSettings(input="alice mic", output="alice ear", ringer="bell")
    bridge = SoundBridge(settings, rate=RATE, tell=told.append)
    listening = [pulse.listen(name, tmp_path / name) for name in ("bell", "alice ear")]

    def loudest(name: str) -> int:
        whole = recorded(tmp_path / name)
        samples = np.frombuffer(whole[: len(whole) // 2 * 2][-8000:], dtype="<i2")
        return int(np.abs(samples.astype(int)).max(initial=0))

    bridge.obey(Ring())
    wait_until(lambda: loudest("bell") > LOUD, "the bell")
    assert loudest("alice ear") == 0
    bridge.obey(StopRinging())
    wait_until(lambda: loudest("bell") == 0, "silence")
    bridge.select(Role.RINGER, "gong")
    bridge.obey(Ring())
    wait_until(lambda: told, "news of the ringer")
    assert isinstance(told[0], DeviceNews)
    assert (told[0].role, told[0].state) == (Role.RINGER, "failed")
    assert "no device has 'gong'" in told[0].detail
    bridge.close()
    for process in listening:
        process.stop()
