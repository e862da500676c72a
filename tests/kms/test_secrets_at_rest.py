"""Secrets at rest: sealed, bound to their row, under a master key from a file or the environment."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.kms.stores.vault import (
    EnvironmentMasterKey,
    FileMasterKey,
    MasterKeyMismatch,
    Vault,
)
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

MASTER = Secret(bytes(range(32)))


@given(
    st.binary(max_size=100), st.lists(st.binary(max_size=5) | st.text(max_size=5) | st.integers(), min_size=1)
)
def test_what_is_sealed_for_a_row_opens_for_that_row(octets: bytes, row: list[bytes | str | int]) -> None:
    vault = Vault(MASTER)
    sealed = vault.seal(Secret(octets), *row)
    assert vault.open(sealed, *row) == Secret(octets)
    with pytest.raises(MasterKeyMismatch):
        vault.open(sealed, *row, "more")
    with pytest.raises(MasterKeyMismatch):
        Vault(Secret(bytes(32))).open(sealed, *row)


def test_rows_do_not_run_together() -> None:
    sealed = Vault(MASTER).seal(Secret(b"x"), "ab", "c")
    with pytest.raises(MasterKeyMismatch):
        Vault(MASTER).open(sealed, "a", "bc")


def test_no_bit_may_change() -> None:
    sealed = Vault(MASTER).seal(Secret(b"key"), "row")
    for at in range(len(sealed)):
        for altered in (sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :], sealed[:at]):
            with pytest.raises(MasterKeyMismatch):
                Vault(MASTER).open(altered, "row")


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    vault = Vault(MASTER)
    assert vault.seal(Secret(b"key"), "row") != vault.seal(Secret(b"key"), "row")


def test_a_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    provider = FileMasterKey(tmp_path / "master.key")
    provider.create()
    assert stat.S_IMODE((tmp_path / "master.key").stat().st_mode) == 0o600
    key = provider.master_key()
    assert len(key) == 32
    with pytest.raises(LocalError, match="never overwritten"):
        provider.create()
    assert provider.master_key() == key


def test_a_key_file_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    FileMasterKey(path).create()
    path.chmod(0o640)
    with pytest.raises(LocalError, match="chmod 600"):
        FileMasterKey(path).master_key()


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(bytes(31)).decode()])
def test_what_is_no_key_is_refused_without_being_shown(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "master.key"
    path.write_text(text)
    path.chmod(0o600)
    monkeypatch.setenv("TEST_MASTER_KEY", text)
    for provider in (FileMasterKey(path), EnvironmentMasterKey("TEST_MASTER_KEY")):
        with pytest.raises(LocalError) as caught:
            provider.master_key()
        assert not text or text not in str(caught.value)


def test_the_environment_holds_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_MASTER_KEY", base64.b64encode(MASTER.reveal()).decode())
    assert EnvironmentMasterKey("TEST_MASTER_KEY").master_key() == MASTER
    monkeypatch.delenv("TEST_MASTER_KEY")
    with pytest.raises(LocalError, match="TEST_MASTER_KEY is not set"):
        EnvironmentMasterKey("TEST_MASTER_KEY").master_key()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="nothing here"):
        FileMasterKey(tmp_path / "nothing here").master_key()
