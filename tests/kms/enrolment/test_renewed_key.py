"""A program that runs takes the key that another renewed, at its next question to the KMS."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.agent import KeyManagement
from sipmikey.cli.config.load import load
from sipmikey.cli.enrol.present_key import present_key, renewed_in_time
from sipmikey.cli.enrol.redeem import Enrolment, keep
from sipmikey.kms.enrolment.device import EnrolmentResult
from sipmikey.kms.enrolment.documents import EnrolmentGrant
from sipmikey.mikey.secret import Secret
from sipmikey.sealed.vault import Vault, data_folder


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SIPMIKEY_TEST_KEYRING", "file")
    return tmp_path / "config.toml"


def enrol(path: Path, generation: int) -> None:
    """Write the configuration of a device with the key of that generation."""
    given = EnrolmentGrant(
        device="alice.1", identity="sip:alice@example.com", kms_identity="sip:kms@example.com",
        psk_id=f"alice.1.{generation}", valid_until_s=2_000_000_000,
    )  # fmt: skip
    received = EnrolmentResult(
        given=given, psk=Secret(bytes([generation]) * 32), device_key=Secret(bytes(32))
    )
    keep(
        Enrolment(kms_url="https://kms.example.com", received=received, ca_file=None),
        path,
        Vault(data_folder(), None),
    )
    # A clock of files that stands still would hide the change.
    os.utime(path, ns=(generation, generation))


def test_a_renewed_key_is_taken_at_its_next_use(path: Path) -> None:
    enrol(path, 1)
    present = present_key(load(path=path))
    assert present is not None
    first = present()
    keys = KeyManagement(kms="sip:kms@example.com", psk=first.key, psk_id=first.key_id, present_psk=present)
    assert keys.credential == first
    enrol(path, 2)
    renewed = keys.credential
    assert renewed is not None
    assert renewed == present()
    assert (present().key_id, present().key.reveal()) == (b"alice.1.2", bytes([2]) * 32)
    # A file that cannot be read for a moment costs nothing.
    text = path.read_text()
    path.write_text("this is not TOML [")
    assert present().key_id == b"alice.1.2"
    path.unlink()
    assert present().key_id == b"alice.1.2"
    path.write_text(text)
    assert present().key_id == b"alice.1.2"
    assert replace(keys, present_psk=None).credential == first


def test_a_key_that_was_typed_or_named_by_an_option_stays(path: Path) -> None:
    enrol(path, 1)
    loaded = load(path=path, options={("kms", "psk_id"): "another"})
    assert present_key(loaded) is None


def test_a_program_that_runs_renews_in_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enrol(path, 1)
    present = present_key(load(path=path))
    assert present is not None
    asked = asyncio.Event()

    async def story() -> None:
        loop = asyncio.get_running_loop()

        def refresh(loaded: object) -> list[str]:
            enrol(path, 2)
            loop.call_soon_threadsafe(asked.set)
            return ["this device has a new key"]

        monkeypatch.setattr("sipmikey.cli.enrol.refresh.refresh_at_start", refresh)
        monkeypatch.setattr("sipmikey.cli.enrol.present_key.LOOK_S", 0.0)
        with renewed_in_time(present):
            await asyncio.wait_for(asked.wait(), 20)
        assert present().key_id == b"alice.1.2"

    asyncio.run(story())
