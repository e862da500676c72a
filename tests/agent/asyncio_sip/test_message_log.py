"""The log of SIP messages: its owner's alone, and without the keys of SDES."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sipmikey.agent.asyncio_sip.message_log import message_log
from sipmikey.agent.config import AgentConfig, Sip, Transport
from sipmikey.agent.stack import StackError

MESSAGE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\nContent-Type: application/sdp\r\n\r\n"
    b"a=crypto:1 AES inline:AAAA\r\n"
)


def written(path: Path, *, private: bool = False, **settings: Any) -> str:
    config = AgentConfig(identity="sip:alice@example.com", sip=Sip(stack="python"), log_file=path, **settings)
    log = message_log(config, private=private)
    if log is not None:
        log.note(MESSAGE, Transport.TCP, ("192.0.2.1", 5060), sent=True)
        log.close()
    return path.read_text()


def test_a_message_is_written_whole_with_its_way(tmp_path: Path) -> None:
    path = tmp_path / "sip.log"
    first, *rest = written(path, log_level=4).splitlines()
    assert f" to tcp 192.0.2.1:5060, {len(MESSAGE)} octets" in first
    assert rest == [*MESSAGE.decode().split("\r\n")[:-1], ""]
    assert path.stat().st_mode & 0o777 == 0o600


def test_keys_in_descriptions_are_left_out(tmp_path: Path) -> None:
    text = written(tmp_path / "sip.log", log_level=4, private=True)
    assert "INVITE sip:bob@example.com SIP/2.0\n\n" in text
    assert "inline" not in text


def test_a_low_level_leaves_the_messages_out(tmp_path: Path) -> None:
    assert written(tmp_path / "sip.log", log_level=3) == ""


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"nowhere/sip\.log"):
        written(tmp_path / "nowhere" / "sip.log", log_level=4)
