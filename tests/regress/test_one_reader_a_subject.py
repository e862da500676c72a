"""What two readers of one thing read differently: key files, keys in descriptions, SIP over TCP."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from sipmikey.call.keying.mikey_description import describe_mikey
from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.phone.account import read_key
from sipmikey.mikey.errors import LocalError
from sipmikey.nat.servers import NatSettings
from sipmikey.settings import ConfigurationError
from sipmikey.testing.sip_message import read_messages

KEY = base64.b64encode(bytes(range(32))).decode()


def test_a_key_file_of_two_lines_is_refused_by_the_assistant_too(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    assert read_key(str(path)).reveal() == KEY.encode()
    path.write_text(f"{KEY}\n{KEY}\n")
    with pytest.raises(LocalError, match=r"^the key: .*more than one line") as refused:
        read_key(str(path))
    assert KEY not in str(refused.value)


def test_an_empty_password_file_is_told_in_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(" \nnot this line\n")
    with pytest.raises(ConfigurationError, match=r"^nat\.turn_password_file: .* is empty$"):
        read_secret_file(path, "nat.turn_password_file")
    with pytest.raises(LocalError, match=r"^nat\.turn_password_file: .* is empty$"):
        NatSettings(turn="192.0.2.1:3478", turn_password_file=path).credentials(0.0)


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("mikey AQ4FAA==", ("TRANSFER_INIT", 4)),
        ("mikey !!", ("unreadable", 2)),
        ("other AAAA\r\na=key-mgmt:mikey AQ4FAA==", ("TRANSFER_INIT", 4)),
        ("other AAAA", None),
    ],
)
def test_the_event_reads_the_attribute_as_the_exchange_does(
    attribute: str, told: tuple[str, int] | None
) -> None:
    assert describe_mikey(f"v=0\r\na=key-mgmt:{attribute}\r\n") == told


def test_the_kit_cuts_a_connection_as_the_stack_does() -> None:
    async def read() -> list[str]:
        reader = asyncio.StreamReader()
        options = b"OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nhi"
        reader.feed_data(b"\r\n\r\n" + options + options[:20])
        reader.feed_data(options[20:] + b"OPTIONS sip:a SIP/2.0\r\n\r\n")
        reader.feed_eof()
        return [message.content.decode() async for message in read_messages(reader)]

    assert asyncio.run(read()) == ["hi", "hi"]
