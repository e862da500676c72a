"""The echo cancellers take the echo of a synthetic room out, and leave who speaks there."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest

from sipmikey.testing.program import run
from tests.sound.room import RATE, Canceller, cancelled, echo, power_db, return_loss_db

TAIL_MS = 200


def pjmedia() -> tuple[Canceller, object]:
    """Return the canceller of agents with pjsua2, and the library it lives in."""
    import pjsua2 as pj

    endpoint = pj.Endpoint()
    endpoint.libCreate()
    settings = pj.EpConfig()
    settings.logConfig.level = settings.logConfig.consoleLevel = 0
    settings.uaConfig.threadCnt = 0
    settings.uaConfig.mainThreadOnly = True
    endpoint.libInit(settings)
    from sipmikey.agent.pjsua.sound.devices import PjmediaEcho

    return PjmediaEcho(TAIL_MS), endpoint


def webrtc() -> Canceller:
    """Return the canceller of agents without pjsua2."""
    from sipmikey.sound.webrtc_echo import WebrtcEcho

    return WebrtcEcho()


def _measure(canceller: Canceller) -> None:
    """Print, and end before the library is destroyed: it has nothing that this test is about."""
    without, with_it = return_loss_db(None), return_loss_db(canceller)
    played, heard = echo()
    time = np.arange(len(heard)) / RATE
    voice = (0.1 * np.sin(2 * np.pi * 500 * time) * (np.sin(2 * np.pi * 3 * time) > 0)).astype(np.float32)
    kept = power_db(cancelled(canceller, heard + voice, played)) - power_db(voice)
    print(f"\nlosses {without:.1f} {with_it:.1f} {kept:.1f}", flush=True)
    os._exit(0)


def measure_pjmedia() -> None:
    """Measure pjmedia's; the entry of a process."""
    canceller, library = pjmedia()
    _measure(canceller)
    del library


def measure_webrtc() -> None:
    """Measure that of WebRTC; the entry of a process."""
    _measure(webrtc())


@pytest.mark.interop
@pytest.mark.parametrize("entry", [measure_pjmedia, measure_webrtc])
def test_the_return_loss_grows_and_the_voice_stays(entry: Callable[[], None]) -> None:
    done = run(entry=f"{__name__}:{entry.__name__}")
    assert done.returncode == 0, done.stderr
    without, with_it, kept = map(float, done.stdout.rpartition("losses")[2].split())
    assert with_it > without + 20
    assert -12 < kept < 6, "decibels of the voice, while the room's echo is there as well"
