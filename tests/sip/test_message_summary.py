"""Message summaries (RFC 3842): what is written reads the same, and others' are read or refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sip import SipMalformed
from sipmikey.sip.message_summary import LONGEST, MessageSummary, parse_summary

_counts = st.integers(0, 10**9 - 1)


@given(
    st.builds(
        MessageSummary,
        waiting=st.booleans(),
        account=st.sampled_from(["", "sip:bob@example.com"]),
        new=_counts,
        old=_counts,
        urgent_new=_counts,
        urgent_old=_counts,
    )
)
def test_what_is_written_reads_the_same(summary: MessageSummary) -> None:
    assert parse_summary(summary.encode()) == summary


@given(st.one_of(st.binary(max_size=100), st.text(max_size=100).map(str.encode)), st.booleans())
def test_any_body_is_read_or_refused(body: bytes, headed: bool) -> None:
    with contextlib.suppress(SipMalformed):
        parse_summary((b"Messages-Waiting: yes\r\n" if headed else b"") + body)


def test_the_example_of_the_rfc() -> None:
    body = (
        "Messages-Waiting: yes\r\nMessage-Account: sip:alice@vmail.example.com\r\n"
        "Voice-Message: 2/8 (0/2)\r\nFax-Message: 0/1\r\n\r\nTo: <alice@atlanta.example.com>\r\n"
    )
    assert parse_summary(body.encode()) == MessageSummary(
        waiting=True, account="sip:alice@vmail.example.com", new=2, old=8, urgent_new=0, urgent_old=2
    )


@pytest.mark.parametrize("body", ["Messages-Waiting: no", "messages-waiting : NO\nVoice-Message: 0/0\n"])
def test_the_shortest_and_other_spellings(body: str) -> None:
    assert parse_summary(body.encode()) == MessageSummary(waiting=False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "message-summary"),
        (b"no colon", "message-summary"),
        (b"Voice-Message: 1/0", "Messages-Waiting"),
        (b"Messages-Waiting: maybe", "Messages-Waiting"),
        (b"Messages-Waiting: yes\r\nVoice-Message: many", "Voice-Message"),
        (b"Messages-Waiting: yes\r\nVoice-Message: 1/9999999999", "Voice-Message"),
        (b"Messages-Waiting: yes\r\n" + b"x" * LONGEST, None),
    ],
)
def test_what_is_wrong_is_named(body: bytes, field: str | None) -> None:
    with pytest.raises(SipMalformed) as caught:
        parse_summary(body)
    assert caught.value.field == field
