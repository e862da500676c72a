"""pjmedia's own diagnosis of packets that do not verify is found while a proven stream is silent."""

from __future__ import annotations

import ctypes

import pytest

from sipmikey.agent.pjsua.library import LIBRARY
from sipmikey.agent.pjsua.native.trouble import PacketLog, Trouble


def write(level: int, text: str) -> None:
    """Write a line to pjlib's log as pjmedia does."""
    c = ctypes.CDLL(LIBRARY)
    name = f"pj_log_{level}"
    getattr(c, name)(b"srtp0x1", ctypes.c_char_p(b"%s"), ctypes.c_char_p(text.encode()))


@pytest.fixture
def log() -> PacketLog:
    ctypes.CDLL(LIBRARY).pj_init()
    return PacketLog()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("authentication failure", "do not verify"),
        ("replay check failed (bad index)", "seen before"),
        ("replay check failed (index too old)", "too old"),
        ("something new", "something new"),
    ],
)
def test_what_libsrtp_said_is_told_in_words(error: str, said: str, log: PacketLog) -> None:
    trouble = Trouble(log)
    assert [trouble.about("one", 50, at) for at in (0.0, 1.0, 2.5)] == ["", "", ""]
    for _ in range(3):
        write(5, f"Failed to unprotect SRTP, pkt size=182, err={error}")
    write(5, "TX: AES_CM_128 key=never-shown")
    assert said in trouble.about("one", 50, 3.5)
    assert said in trouble.about("one", 50, 4.5)
    assert trouble.about("one", 51, 5.5) == ""


def test_a_stream_to_which_nothing_comes_has_no_trouble(log: PacketLog) -> None:
    trouble = Trouble(log)
    assert [trouble.about("one", 50, at) for at in (0.0, 2.5, 3.5, 4.5)] == ["", "", "", ""]


def test_a_stream_that_was_never_heard_is_not_listened_to(log: PacketLog) -> None:
    trouble = Trouble(log)
    level = ctypes.CDLL(LIBRARY).pj_log_get_level()
    assert [trouble.about("one", 0, at) for at in (0.0, 2.5, 3.5)] == ["", "", ""]
    assert ctypes.CDLL(LIBRARY).pj_log_get_level() == level


def test_the_log_is_as_it_was_when_a_stream_ends_meanwhile(log: PacketLog) -> None:
    c = ctypes.CDLL(LIBRARY)
    level = c.pj_log_get_level()
    trouble = Trouble(log)
    for at in (0.0, 2.5):
        trouble.about("one", 50, at)
    assert c.pj_log_get_level() == 5
    trouble.forget("one")
    assert c.pj_log_get_level() == level
