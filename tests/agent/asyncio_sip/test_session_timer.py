"""Session timers, by a clock of their own (RFC 4028)."""

from __future__ import annotations

import pytest

from sipmikey.agent.asyncio_sip.session_timer import SessionTimer, interval_too_small
from sipmikey.agent.asyncio_sip.writing import response
from sipmikey.sip import SipMessage
from tests.agent.asyncio_sip.clock import Clock


class Timed:
    """A timer, and what it did: when, and what."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.done: list[tuple[float, str]] = []
        self.timer = SessionTimer(
            self.clock.later,
            600,
            lambda: self.done.append((self.clock.now, "refresh")),
            lambda: self.done.append((self.clock.now, "expire")),
        )


def asking(**fields: str) -> SipMessage:
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    common = (("Via", "SIP/2.0/UDP h;branch=z9hG4bKa"), ("To", "<sip:b@h>"), ("From", "<sip:a@h>;tag=1"))
    return SipMessage(start_line="INVITE sip:b@h SIP/2.0", headers=(*common, *headers), content=b"")


def accepting(**fields: str) -> SipMessage:
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return response(asking(), 200, headers=headers)


def refusing(**fields: str) -> SipMessage:
    headers = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return response(asking(), 422, headers=headers)


@pytest.mark.parametrize(
    ("fields", "answer", "done"),
    [
        (
            {"Supported": "timer", "Session_Expires": "300"},
            {"Require": "timer", "Session-Expires": "300;refresher=uac"},
            [(268.0, "expire")],
        ),
        (
            {"Supported": "timer", "Session_Expires": "300;refresher=uas"},
            {"Session-Expires": "300;refresher=uas"},
            [(150.0, "refresh"), (268.0, "expire")],
        ),
        (
            {"Supported": "timer", "Session_Expires": "9999", "Min_SE": "900"},
            {"Require": "timer", "Session-Expires": "900;refresher=uac"},
            [(868.0, "expire")],
        ),
        ({}, {"Session-Expires": "600;refresher=uas"}, [(300.0, "refresh"), (568.0, "expire")]),
        (
            {"Supported": "timer", "Session_Expires": "\u0663\u0660\u0660"},
            {"Require": "timer", "Session-Expires": "600;refresher=uac"},
            [(568.0, "expire")],
        ),
    ],
    ids=["the peer refreshes", "we refresh", "not below their least", "a peer without timers", "no number"],
)
def test_an_answer_names_who_refreshes(
    fields: dict[str, str], answer: dict[str, str], done: list[tuple[float, str]]
) -> None:
    timed = Timed()
    assert dict(timed.timer.answer(asking(**fields))) == answer
    timed.clock.pass_time(2000.0)
    assert timed.done == done


def test_the_answer_of_the_peer_starts_the_timer_or_ends_it() -> None:
    timed = Timed()
    assert dict(timed.timer.asked()) == {"Session-Expires": "600", "Min-SE": "90"}
    timed.timer.agreed(accepting(Session_Expires="200;refresher=uac"))
    assert dict(timed.timer.asked())["Session-Expires"] == "200;refresher=uac"
    timed.clock.pass_time(120.0)
    timed.timer.agreed(accepting(Session_Expires="200;refresher=uas"))
    timed.clock.pass_time(120.0)
    assert timed.done == [(100.0, "refresh")]
    timed.timer.agreed(accepting())
    timed.clock.pass_time(2000.0)
    assert timed.done == [(100.0, "refresh")]
    assert not timed.timer.runs


def test_a_422_asks_for_longer_and_one_that_says_nothing_is_the_end() -> None:
    timer = Timed().timer
    assert timer.longer(refusing(Min_SE="3600"))
    assert dict(timer.asked()) == {"Session-Expires": "3600", "Min-SE": "3600"}
    assert not timer.longer(refusing(Min_SE="3600"))
    assert not timer.longer(refusing())


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"Supported": "timer", "Session_Expires": "89"}, True),
        ({"Supported": "timer", "Session_Expires": "90"}, False),
        ({"Session_Expires": "89"}, False),
        ({"Supported": "timer"}, False),
    ],
)
def test_too_short_an_interval_is_refused_to_who_can_ask_again(fields: dict[str, str], refused: bool) -> None:
    fields_of_422 = interval_too_small(asking(**fields))
    assert (fields_of_422 == (("Min-SE", "90"),)) is refused
