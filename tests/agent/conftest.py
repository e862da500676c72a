"""What all tests of the agent share: one KMS, a sound, certificates."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipmikey.testing.kms import TestKms
from tests.agent.tone import write_tone
from tests.interop.lab.certificates import Authority


@pytest.fixture(scope="session")
def kms() -> Iterator[TestKms]:
    """The real KMS, on loopback, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = TestKms(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A WAV file of which A-law makes few values, easily told from ciphertext."""
    return str(write_tone(tmp_path_factory.mktemp("audio") / "tone.wav"))


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with an authority, and a certificate of its for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    Authority().issue(folder, "127.0.0.1")
    return str(folder)
