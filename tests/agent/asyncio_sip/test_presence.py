"""Watching others (RFC 3856, RFC 6665) and being watched (RFC 3903): every answer a server may give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipmikey.agent.asyncio_sip.binding import Binding
from sipmikey.agent.asyncio_sip.exchange import Means
from sipmikey.agent.asyncio_sip.presence.service import PresenceService
from sipmikey.agent.asyncio_sip.wire.transactions import Transactions
from sipmikey.agent.asyncio_sip.writing import response
from sipmikey.agent.config import AgentConfig, Sip
from sipmikey.agent.stack import Sighting
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import Headers, SipMessage
from sipmikey.sip.pidf import MEDIA_TYPE, Presence, parse_presence
from tests.agent.asyncio_sip.clock import Clock, Wire

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"
SERVER = ("Contact", "<sip:presence@192.0.2.2>")


class Watcher:
    """Bob, who watches alice and says something of himself; and the server of both."""

    def __init__(self) -> None:
        config = AgentConfig(identity=BOB, sip=Sip(stack="python", registration_retry_s=30))
        self.clock, self.wire = Clock(), Wire()
        self.transactions = Transactions(self.clock.later)
        flows: Any = self
        means = Means(
            sip=config.sip, flows=flows, transactions=self.transactions, user="bob",
            binding=Binding(config.sip),
        )  # fmt: skip
        self.told: list[Sighting] = []
        self.presence = PresenceService(config, means, self.clock.later, self.told.append)
        self._branches = iter(range(1, 1000))
        self._numbers = iter(range(1, 1000))

    def reach(self, target: Any, then: Callable[[Any, str], None], *, tried: Any) -> None:
        then(self.wire, "")

    @property
    def last(self) -> SipMessage:
        """The request that went out last."""
        return next(message for message in reversed(self.wire.sent) if not message.status)

    @property
    def requests(self) -> int:
        """How many requests went out; repeated ones count once."""
        return len({message.all("via") for message in self.wire.sent if not message.status})

    def answer(self, status: int, *headers: tuple[str, str], tag: str = "server") -> None:
        self.transactions.receive_response(response(self.last, status, tag=tag, headers=headers))

    def notify(
        self,
        state: str = "active;expires=600",
        *,
        body: bytes | None = None,
        tag: str = "server",
        event: str = "presence",
        kind: str = MEDIA_TYPE,
        number: int | None = None,
        to: str | None = None,
    ) -> int:
        """Have the server send a NOTIFY, and return its status; 0 where nobody takes it."""
        subscribe = next(message for message in reversed(self.wire.sent) if message.method == "SUBSCRIBE")
        content = Presence(entity=ALICE, open=True).encode() if body is None else body
        headers: Headers = (
            ("Via", f"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK{next(self._branches)}"),
            ("From", f"<{ALICE}>;tag={tag}"),
            ("To", to or f"<{BOB}>;tag={subscribe.tag('from')}"),
            ("Call-ID", subscribe.first("call-id") or ""),
            ("CSeq", f"{next(self._numbers) if number is None else number} NOTIFY"),
            SERVER, ("Event", event), ("Subscription-State", state), ("Content-Type", kind),
        )  # fmt: skip
        message = SipMessage(
            start_line=f"NOTIFY {BOB} SIP/2.0",
            headers=tuple(one for one in headers if one[1]),
            content=content,
        )
        way: Any = self.wire
        transaction = self.transactions.receive_request(message, way)
        assert transaction is not None
        return self.wire.sent[-1].status if self.presence.receive(transaction) else 0

    @property
    def state(self) -> tuple[Any, ...]:
        return self.told[-1].watch, self.told[-1].open


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """Alice is watched, and the server has taken the SUBSCRIBE."""
    one = Watcher()
    one.presence.watch(ALICE, True)
    one.answer(200, ("Expires", "600"), SERVER)
    yield one
    one.presence.stop()
    one.clock.pass_time(64.0)
    assert not one.clock.waits


def test_what_a_subscribe_says(watcher: Watcher) -> None:
    sent = watcher.last
    assert (sent.method, sent.request_uri, sent.first("event")) == ("SUBSCRIBE", ALICE, "presence")
    assert (sent.first("accept"), sent.first("expires")) == (MEDIA_TYPE, "3600")
    assert sent.first("contact") == "<sip:bob@192.0.2.1:5060>"
    assert watcher.told == []


def test_a_change_is_told_once(watcher: Watcher) -> None:
    assert watcher.notify() == 200
    assert watcher.told == [
        Sighting(identity=ALICE, watch="active", open=True, source="192.0.2.2:5060"),
    ]
    assert watcher.notify() == 200
    away = Presence(entity="pres:alice@example.com", open=False, note="at lunch").encode()
    assert watcher.notify(body=away) == 200
    assert [(one.open, one.note) for one in watcher.told] == [(True, ""), (False, "at lunch")]
    assert watcher.notify(body=b"") == 200, "nothing new"
    assert len(watcher.told) == 2


def test_a_notify_before_the_200_counts() -> None:
    """RFC 6665 section 4.4.1: it makes the dialog."""
    watcher = Watcher()
    watcher.presence.watch(ALICE, True)
    assert watcher.notify() == 200
    watcher.answer(200, ("Expires", "600"), SERVER)
    watcher.clock.pass_time(596.0)
    assert watcher.last.request_uri == "sip:presence@192.0.2.2"
    assert watcher.last.to_tag == "server"
    assert watcher.last.first("cseq") == "2 SUBSCRIBE"


def test_nobody_may_approve_yet(watcher: Watcher) -> None:
    assert watcher.notify("pending;expires=600", body=b"") == 200
    assert watcher.state == ("pending", None)
    assert watcher.notify() == 200
    assert watcher.told[-1].watch == "active"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"tag": "another branch"}, 481),
        ({"event": "dialog"}, 489),
        ({"event": "presence;id=7"}, 481),
        ({"state": ""}, 400),
        ({"body": b"<presence"}, 400),
        ({"body": Presence(entity="sip:carol@example.com", open=True).encode()}, 400),
        ({"body": Presence(entity="carol", open=True).encode()}, 400),
        ({"kind": "text/plain"}, 415),
        ({"number": 0}, 500),
        ({"to": f"<{BOB}>;tag=guessed"}, 0),
    ],
)
def test_a_wrong_notify_tells_nothing(wrong: dict[str, Any], status: int, watcher: Watcher) -> None:
    assert watcher.notify() == 200
    told = list(watcher.told)
    assert watcher.notify(**wrong) == status
    assert watcher.told == told
    if status == 489:
        assert watcher.wire.sent[-1].first("allow-events")
    assert watcher.notify(body=Presence(entity=ALICE, open=False).encode()) == 200, "it lives on"
    assert watcher.state == ("active", False)


def test_a_flood_is_put_off(watcher: Watcher) -> None:
    statuses = [watcher.notify() for _ in range(100)]
    assert set(statuses) == {200, 500}
    assert statuses.count(200) < 50
    assert watcher.wire.sent[-1].first("retry-after")


def test_it_is_renewed_before_its_time_is_over(watcher: Watcher) -> None:
    watcher.notify("active;expires=100")
    before = watcher.requests
    watcher.clock.pass_time(94.0)
    assert watcher.requests == before
    watcher.clock.pass_time(2.0)
    assert watcher.requests == before + 1
    assert (watcher.last.method, watcher.last.to_tag) == ("SUBSCRIBE", "server")


def test_a_server_that_is_silent_is_no_longer_believed(watcher: Watcher) -> None:
    """Its refresh has no answer: what was known holds until the time is over."""
    watcher.notify("active;expires=100")
    watcher.clock.pass_time(100.0)
    assert watcher.told[-1].open is True
    watcher.clock.pass_time(2.0)
    assert watcher.state == ("pending", None)
    watcher.clock.pass_time(2.0)
    assert watcher.last.to_tag == "", "another subscription"


def test_no_notify_at_all(watcher: Watcher) -> None:
    """Timer N, 32 s."""
    watcher.clock.pass_time(33.0)
    assert watcher.told[-1].detail == "no NOTIFY came"
    before = watcher.requests
    watcher.clock.pass_time(31.0)
    assert watcher.requests == before + 1
    assert watcher.last.to_tag == ""


@pytest.mark.parametrize(
    ("state", "watch", "again_s"),
    [
        ("terminated;reason=deactivated", "pending", 1),
        ("terminated;reason=timeout", "pending", 1),
        ("terminated;reason=probation;retry-after=90", "pending", 90),
        ("terminated;reason=giveup", "pending", 30),
        ("terminated", "pending", 30),
        ("terminated;reason=rejected", "ended", None),
        ("terminated;reason=noresource", "ended", None),
    ],
)
def test_the_server_ends_it(state: str, watch: str, again_s: int | None, watcher: Watcher) -> None:
    watcher.notify()
    assert watcher.notify(state, body=b"") == 200
    assert watcher.state == (watch, None)
    before = watcher.requests
    if again_s is None:
        watcher.clock.pass_time(4000.0)
        assert watcher.requests == before
        assert watcher.notify() == 0
        return
    watcher.clock.pass_time(again_s - 0.5)
    assert watcher.requests == before
    watcher.clock.pass_time(1.0)
    assert watcher.requests == before + 1
    assert watcher.last.first("cseq") == "1 SUBSCRIBE", "a dialog of its own"


@pytest.mark.parametrize(
    ("status", "watch"), [(403, "ended"), (489, "ended"), (404, "pending"), (500, "pending")]
)
def test_a_subscribe_is_refused(status: int, watch: str) -> None:
    watcher = Watcher()
    watcher.presence.watch(ALICE, True)
    watcher.answer(status)
    assert watcher.told[-1].watch == watch
    assert watcher.told[-1].detail.startswith(str(status))
    before = watcher.requests
    watcher.clock.pass_time(31.0)
    assert watcher.requests == before + (watch == "pending")


def test_pauses_grow() -> None:
    watcher = Watcher()
    watcher.presence.watch(ALICE, True)
    for pause in (30, 60, 120, 240, 480, 960, 1800, 1800):
        watcher.answer(404)
        before = watcher.requests
        watcher.clock.pass_time(pause - 1.0)
        assert watcher.requests == before
        watcher.clock.pass_time(1.0)
        assert watcher.requests == before + 1


def test_a_longer_life_is_asked_for() -> None:
    watcher = Watcher()
    watcher.presence.watch(ALICE, True)
    watcher.answer(423, ("Min-Expires", "7200"))
    assert watcher.last.first("expires") == "7200"
    watcher.answer(423, ("Min-Expires", "100"))
    assert watcher.told[-1].watch == "pending", "not in a circle"


@pytest.mark.parametrize(("status", "fresh"), [(481, True), (500, False)])
def test_a_refresh_is_refused(status: int, fresh: bool, watcher: Watcher) -> None:
    """481 ends the subscription, 500 does not (RFC 6665 section 4.1.2.2)."""
    watcher.notify("active;expires=100")
    watcher.clock.pass_time(96.0)
    watcher.answer(status)
    assert watcher.state == (("pending", None) if fresh else ("active", True))
    watcher.clock.pass_time(2.0)
    assert (watcher.last.to_tag == "") is fresh


def test_to_watch_no_longer(watcher: Watcher) -> None:
    watcher.notify()
    watcher.presence.watch(ALICE, False)
    assert (watcher.last.first("expires"), watcher.last.to_tag) == ("0", "server")
    assert watcher.presence.busy
    watcher.answer(200, ("Expires", "0"), SERVER)
    assert watcher.notify("terminated;reason=timeout", body=b"") == 200
    assert not watcher.presence.busy
    assert watcher.notify() == 0
    assert len(watcher.told) == 1


def test_a_connection_that_is_lost(watcher: Watcher) -> None:
    watcher.notify()
    flow: Any = watcher.wire
    watcher.presence.connection_lost(flow)
    assert watcher.state == ("pending", None)
    watcher.clock.pass_time(31.0)
    assert watcher.last.first("cseq") == "1 SUBSCRIBE"


def test_another_address(watcher: Watcher) -> None:
    watcher.notify()
    old = watcher.last.first("call-id")
    watcher.presence.follow_address()
    assert watcher.last.first("call-id") != old


# Our own presence


def test_a_state_is_published_changed_renewed_and_withdrawn() -> None:
    watcher = Watcher()
    watcher.presence.publish(True, "here")
    first = watcher.last
    assert (first.method, first.request_uri, first.first("event")) == ("PUBLISH", BOB, "presence")
    assert parse_presence(first.content) == Presence(entity=BOB, open=True, note="here")
    assert first.first("sip-if-match") is None
    watcher.answer(200, ("SIP-ETag", "one"), ("Expires", "600"))
    watcher.presence.publish(False, "")
    assert watcher.last.first("sip-if-match") == "one"
    watcher.presence.publish(True, "back")
    assert parse_presence(watcher.last.content).open is False, "one request at a time"
    watcher.answer(200, ("SIP-ETag", "two"), ("Expires", "600"))
    assert parse_presence(watcher.last.content).note == "back"
    assert watcher.last.first("sip-if-match") == "two"
    watcher.answer(200, ("SIP-ETag", "three"), ("Expires", "600"))
    before = watcher.requests
    watcher.clock.pass_time(596.0)
    assert watcher.requests == before + 1
    watcher.answer(200, ("SIP-ETag", "four"), ("Expires", "600"))
    watcher.presence.leave()
    assert (watcher.last.first("sip-if-match"), watcher.last.first("expires")) == ("four", "0")
    assert watcher.last.content == b""
    assert watcher.presence.busy
    watcher.answer(200, ("SIP-ETag", "four"), ("Expires", "0"))
    assert not watcher.presence.busy
    watcher.clock.pass_time(64.0)
    assert not watcher.clock.waits


@pytest.mark.parametrize(
    ("status", "headers", "again_s"),
    [(412, (), 0), (423, (("Min-Expires", "7200"),), 0), (500, (), 30), (405, (), None)],
)
def test_a_publish_is_refused(status: int, headers: Headers, again_s: int | None) -> None:
    """412: the server has forgotten what we said."""
    watcher = Watcher()
    watcher.presence.publish(True, "")
    watcher.answer(200, ("SIP-ETag", "one"), ("Expires", "600"))
    watcher.presence.publish(False, "")
    before = watcher.requests
    watcher.answer(status, *headers)
    watcher.clock.pass_time(31.0 if again_s else 0.1)
    assert watcher.requests == before + (again_s is not None)
    if again_s is not None:
        assert parse_presence(watcher.last.content).open is False
        assert watcher.last.first("sip-if-match") == ("one" if status == 423 else None)


@pytest.mark.parametrize("identity", ["tel:+358401234567", "bob", "sip:", ""])
def test_whom_nobody_can_watch(identity: str) -> None:
    with pytest.raises(LocalError, match=r"sip\.presence"):
        Sip(stack="python", presence=(identity,))


def test_pjsua2_watches_nobody() -> None:
    with pytest.raises(LocalError, match=r"sip\.presence needs sip\.stack python"):
        Sip(stack="pjsua2", presence=(ALICE,))
