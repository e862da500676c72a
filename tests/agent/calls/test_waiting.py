"""Message summaries that arrive: told once, limited, and never believed to be more than a hint."""

from __future__ import annotations

import pytest

from sipmikey.agent.driver.waiting import WaitingMessages
from sipmikey.sip import SipMessage
from sipmikey.sip.message_summary import MEDIA_TYPE, MessageSummary


def notify(new: int, *, kind: str = MEDIA_TYPE, body: bytes | None = None) -> SipMessage:
    content = MessageSummary(waiting=new > 0, account="sip:bob@example.com", new=new).encode()
    return SipMessage(
        start_line="NOTIFY sip:bob@example.com SIP/2.0",
        headers=(("Content-Type", kind),),
        content=content if body is None else body,
    )


def test_a_summary_is_told_once_until_it_changes() -> None:
    waiting = WaitingMessages()
    event = waiting.take(notify(1), "192.0.2.7:5060")
    assert event is not None
    assert (event.box, event.waiting, event.new, event.source) == (
        "sip:bob@example.com", True, 1, "192.0.2.7:5060",
    )  # fmt: skip
    assert waiting.take(notify(1), "192.0.2.7:5060") is None
    assert waiting.take(notify(0), "192.0.2.7:5060") is not None


@pytest.mark.parametrize("message", [notify(1, kind="text/plain"), notify(1, body=b"\xff: \r\n\0")])
def test_what_is_no_summary_is_left_alone(message: SipMessage) -> None:
    assert WaitingMessages().take(message, "192.0.2.7:5060") is None


def test_a_flood_is_not_told() -> None:
    waiting = WaitingMessages()
    told = [waiting.take(notify(number), "192.0.2.7:5060") for number in range(200)]
    assert sum(event is not None for event in told) < 50
