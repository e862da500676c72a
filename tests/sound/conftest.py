"""Fixtures: a PulseAudio server, a KMS, two voices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.lab import programs
from tests.interop.lab.kms import Kms
from tests.interop.lab.speech import write_speech
from tests.sound.pulse import SYSTEMS, PipeWire, Pulse


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    """A PulseAudio server with nobody in it; ``SIPMIKEY_TEST_SOUND`` names another sound system."""
    kind = SYSTEMS[os.environ.get("SIPMIKEY_TEST_SOUND", "")]
    programs.need("pipewire-pulse" if kind is PipeWire else "pulseaudio")
    programs.need("pactl")
    with kind(tmp_path / "pulse") as server:
        yield server


@pytest.fixture(scope="session")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    """A KMS for alice, bob and carol."""
    made = Kms(tmp_path_factory.mktemp("kms") / "kms")
    for user in ("alice", "bob", "carol"):
        made.add_user(user)
    with made:
        yield made


@pytest.fixture(scope="session")
def voices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each of them says: 4 s that correlate with nothing but themselves."""
    folder = tmp_path_factory.mktemp("voices")
    made = {}
    for seed, name in enumerate(("alice", "bob", "carol"), 1):
        made[name] = folder / f"{name}.wav"
        write_speech(made[name], seconds=4.0, seed=seed)
    return made
