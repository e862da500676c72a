"""Keys as text and in files: one rule, whichever command reads them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.key_file import read_key_file, read_key_option
from sipmikey.keys.key_text import parse_key
from sipmikey.mikey.errors import LocalError

KEY = bytes(range(16))


@given(st.binary(min_size=16, max_size=64))
def test_hexadecimal_and_base64_give_the_same_key(key: bytes) -> None:
    texts = [key.hex(), key.hex().upper(), f"hex:{key.hex()}", f"base64:{base64.b64encode(key).decode()}"]
    if not all(digit in "0123456789abcdefABCDEF" for digit in base64.b64encode(key).decode()):
        texts.append(base64.b64encode(key).decode())
    for text in texts:
        assert parse_key(f" {text}\n", "key").reveal() == key
        assert parse_key(text.encode(), "key", length=len(key)).reveal() == key


def test_digits_that_are_both_are_hexadecimal_unless_a_prefix_says_otherwise() -> None:
    text = "00112233445566778899aabbccddeeff"
    assert parse_key(text, "key").reveal() == bytes.fromhex(text)
    assert parse_key(f"base64:{text}", "key").reveal() == base64.b64decode(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("swordfish!", "neither hexadecimal nor base64"),
        ("hex:swordfish", "not hex"),
        ("base64:swordfish!", "not base64"),
        ("00" * 15, "15 bytes; 16 or more"),
        ("schl\u00fcssel", "neither"),
        ("\udcff", "neither"),
        (base64.b64encode(KEY).decode().rstrip("="), "neither"),
    ],
)
def test_what_is_not_a_key_is_refused_without_being_repeated(text: str, why: str) -> None:
    with pytest.raises(LocalError, match=why) as caught:
        parse_key(text, "--psk")
    assert str(caught.value).startswith("--psk: ")
    assert not text.strip() or text not in str(caught.value)


def test_a_length_is_exact() -> None:
    with pytest.raises(LocalError, match="16 bytes; exactly 32"):
        parse_key(KEY.hex(), "key", length=32)


def test_a_file_holds_one_key(tmp_path: Path) -> None:
    file = tmp_path / "alice.psk"
    file.write_text(KEY.hex() + "\n")
    assert read_key_file(file, "--psk-file").reveal() == KEY
    assert read_key_option(f"@{file}", "--psk").reveal() == KEY
    assert read_key_option(KEY.hex(), "--psk").reveal() == KEY
    file.write_text(f"{KEY.hex()}\n{KEY.hex()}\n")
    with pytest.raises(LocalError, match="more than one line"):
        read_key_file(file, "--psk-file")
    file.write_bytes(b"0" * 5000)
    with pytest.raises(LocalError, match="longer than 4096"):
        read_key_file(file, "--psk-file")
    with pytest.raises(LocalError, match=r"--psk-file: .*: No such file"):
        read_key_file(tmp_path / "absent", "--psk-file")
    with pytest.raises(LocalError, match=r"--psk-file: .*: Is a directory"):
        read_key_file(tmp_path, "--psk-file")
