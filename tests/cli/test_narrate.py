"""What people are told: every event has a line, and the three facts never melt into one."""

from __future__ import annotations

import dataclasses
import io
from typing import Any, get_type_hints

import pytest

from sipmikey.call import events
from sipmikey.call.events import (
    CallMoved,
    Event,
    MediaProtection,
    Security,
    StreamStats,
    TicketFacts,
    document,
)
from sipmikey.call.reasons import Reason
from sipmikey.cli.calls.narrate import narrate, state_line
from sipmikey.cli.output import Paint

PLAIN = Paint(io.StringIO())

SECURITY = Security(
    signalling="tls",
    media=MediaProtection.PROVEN,
    peer="sip:bob@example.com",
    called="sip:bob@example.com",
    kms="sip:kms@example.com",
    suite="AES_256_CM_HMAC_SHA1_80",
    ticket="3a9cd2f1",
)
TICKET = TicketFacts(
    ticket="3a9cd2f1", kms="sip:kms@example.com", initiator="sip:alice@example.com",
    responders=("sip:bob@example.com",), valid_from=None, valid_until=None, flags="DEFG", suite="256",
    mode="full",
)  # fmt: skip
SAMPLES: dict[str, Any] = {
    "reason": Reason.AUTH_FAILURE,
    "detail": "the MAC does not verify",
    "side": "remote",
    "keying": "sdes",
    "exchange": "ticket-request",
    "security": SECURITY,
    "ticket": TICKET,
    "streams": (StreamStats(index=0, codec="PCMA", sent=300, decrypted=299, lost=1),),
    "answerer": "sip:bob@example.com",
    "kms": "sip:kms@example.com",
}


def event_types() -> list[type[Event]]:
    return [
        kind for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    ]  # fmt: skip


def sample(kind: type[Event]) -> Event:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        hint = get_type_hints(kind)[field.name]
        fallback = {str: f"<{field.name}>", int: 7, float: 12.5, bool: True}.get(hint)
        values[field.name] = SAMPLES.get(field.name, fallback)
    return kind(**values)


@pytest.mark.parametrize("kind", event_types(), ids=lambda kind: kind.type)
def test_every_event_of_the_agent_has_a_line_with_its_reason(kind: type[Event]) -> None:
    line = narrate(document(sample(kind)), PLAIN)
    assert line
    if "reason" in {field.name for field in dataclasses.fields(kind)}:
        assert "auth-failure" in line
        assert "the MAC does not verify" in line


def test_a_call_that_stalled_is_told_apart_from_one_whose_address_changed() -> None:
    failed = CallMoved(at=0.0, call="1", moved=False, detail="the peer said 488", cause="stalled")
    told = narrate(document(failed), PLAIN) or ""
    assert "the peer said 488" in told
    assert "call again" in told
    assert "address" not in told
    found = narrate(document(dataclasses.replace(failed, moved=True, detail="")), PLAIN) or ""
    assert "another way" in found
    left = narrate(document(dataclasses.replace(failed, cause="address")), PLAIN) or ""
    assert "new address" in left


def test_events_of_commands_and_unknown_ones() -> None:
    ready = {"type": "agent.ready", "identity": "sip:bob@example.com", "contact": "sip:127.0.0.1:5060"}
    assert "sip:127.0.0.1:5060" in (narrate(ready, PLAIN) or "")
    assert narrate({"type": "of.tomorrow"}, PLAIN) is None


def line(**changes: Any) -> str:
    facts = dataclasses.asdict(dataclasses.replace(SECURITY, **changes))
    return state_line("sip:bob@example.com", "ESTABLISHED", facts, PLAIN)


def test_the_state_line_gives_signalling_media_and_peer_apart() -> None:
    assert line() == (
        "sip:bob@example.com ESTABLISHED | signalling: TLS | media: SRTP AES_256_CM_HMAC_SHA1_80, proven"
        " | peer: sip:bob@example.com, KMS-authenticated (sip:kms@example.com), ticket 3a9cd2f1"
    )


@pytest.mark.parametrize(
    ("media", "words"),
    [
        (MediaProtection.OFF, "media: OFF, IN CLEAR"),
        (MediaProtection.HELD, "media: held, no keys yet"),
        (MediaProtection.KEYED, "not proven yet"),
        (MediaProtection.PROVEN, ", proven"),
    ],
)
def test_media_is_said_in_words(media: MediaProtection, words: str) -> None:
    assert words in line(media=media)
    assert ("proven" in line(media=media)) is (media in (MediaProtection.KEYED, MediaProtection.PROVEN))


def test_keys_of_sdes_are_said_loudly() -> None:
    text = line(keying="sdes", peer=None, kms=None, ticket=None)
    assert "media: SRTP AES_256_CM_HMAC_SHA1_80 by SDES (keys readable by every proxy), proven" in text
    assert "peer: UNAUTHENTICATED" in text
    assert "SDES" not in line(keying="mikey-ticket")


def test_nobody_and_somebody_else_are_said_loudly() -> None:
    assert "peer: UNAUTHENTICATED" in line(peer=None)
    assert "sip:bob@example.com was dialled" in line(peer="sip:carol@example.com")


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in Paint(Terminal()).bad("x")
    monkeypatch.setenv("NO_COLOR", "1")
    assert Paint(Terminal()).bad("x") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert Paint(Terminal()).bad("x") == "x"
    monkeypatch.setenv("TERM", "xterm")
    assert Paint(io.StringIO()).bad("x") == "x"
