"""Offers that bob, who requires security, must refuse: with a reason, a status, a Warning, and no packet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sipmikey.keys.suite import SUITE_256
from sipmikey.mikey import Timestamp
from sipmikey.system import now_ns
from sipmikey.testing.stacks import chosen_stacks
from sipmikey.ticket import FULL_MODE, RequestedKey, TicketGrant, TicketPolicy
from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kms import IDENTITY, Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets.capture import Capture, recording
from tests.interop.lab.packets.fields import fields
from tests.interop.lab.peer import SipPeer, offer_of, plain_sdp, request_ticket
from tests.interop.lab.sip import SipMessage

S = 10**9
CALLS_OF_AN_AGENT = 10
Change = Callable[[SipMessage], SipMessage]


@pytest.fixture(scope="module", autouse=True)
def network_of_module(namespace: Namespace) -> Iterator[None]:
    with namespace:
        yield


@pytest.fixture(scope="module", autouse=True)
def nothing_in_clear(network_of_module: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    """What every test of this module must leave behind: not one RTP or RTCP packet."""
    with recording(tmp_path_factory.mktemp("refused") / "all.pcap") as capture:
        yield capture
    assert capture.count("sip.Method == INVITE") > 0
    assert capture.rtp() == []
    assert capture.rtcp() == []


@pytest.fixture(scope="module")
def bobs(network_of_module: None, kms: Kms) -> Iterator[Callable[[], Agent]]:
    """bob, restarted after a dozen calls: more in a short time are refused with Retry-After."""
    uses = 0
    agents: list[Agent] = []

    def bob() -> Agent:
        nonlocal uses
        if uses % CALLS_OF_AN_AGENT == 0:
            stop()
            agents.append(Agent("bob", settings("bob", kms)))
        uses += 1
        return agents[-1]

    def stop() -> None:
        for agent in agents:
            agent.stop()

    yield bob
    stop()


@pytest.fixture
def bob(bobs: Callable[[], Agent]) -> Agent:
    return bobs()


def granted(kms: Kms, *, called: str = "bob", valid_s: float = 600.0) -> TicketGrant:
    """A ticket of alice for *called*."""
    now = now_ns()
    policy = TicketPolicy(
        suite=SUITE_256,
        flags=FULL_MODE,
        responders=(uri(called),),
        kms=IDENTITY,
        initiator=uri("alice"),
        valid_from=Timestamp.ntp_utc(now - 10 * S),
        valid_until=Timestamp.ntp_utc(now + int(valid_s * S)),
        requested_keys=(RequestedKey(length=SUITE_256.key_length),),
    )
    return request_ticket(kms, "alice", policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    reason: str
    status: int = 488


def _mac_changed(octets: bytes) -> bytes:
    """Both copies of the MAC changed alike: only the KMS can tell, by Vr over one of them."""
    found = {field.name: field for field in fields(octets)}
    changed = bytearray(octets)
    for name in ("TICKET Vi MAC", "V MAC"):
        changed[found[name].end - 1] ^= 1
    return bytes(changed)


def _flipped(name: str, octet: int = -1) -> Change:
    def change(octets: bytes) -> bytes:
        field = next(field for field in fields(octets) if field.name == name)
        at = range(field.start, field.end)[octet]
        return octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]

    return lambda message: message.with_mikey(change)


def _lines(change: Callable[[list[str]], list[str]]) -> Change:
    """Change the lines of the body."""

    def apply(message: SipMessage) -> SipMessage:
        lines = message.sdp.split("\r\n")
        return message.with_content("\r\n".join(change(lines)).encode())

    return apply


def _stripped(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("a=key-mgmt")]


def _twice(lines: list[str]) -> list[str]:
    return [again for line in lines for again in [line] * (1 + line.startswith("a=key-mgmt"))]


def _replaced(old: str, new: str) -> Change:
    return _lines(lambda lines: [re.sub(old, new, line) for line in lines])


OFFERS: tuple[tuple[str, Change, Refusal], ...] = (
    ("key-mgmt line stripped", _lines(_stripped), Refusal(reason="key-mgmt-missing")),
    ("key-mgmt line twice", _lines(_twice), Refusal(reason="key-mgmt-duplicate")),
    ("no base64", _replaced("mikey .*", "mikey ?*?"), Refusal(reason="key-mgmt-malformed")),
    ("no data", _replaced("mikey .*", "mikey"), Refusal(reason="key-mgmt-malformed")),
    (
        "another protocol",
        _replaced("key-mgmt:mikey", "key-mgmt:keymgmt2"),
        Refusal(reason="key-mgmt-missing"),
    ),
    ("plain RTP", _replaced("RTP/SAVP", "RTP/AVP"), Refusal(reason="media-not-secured")),
    (
        "stripped to plain RTP",
        lambda message: _replaced("RTP/SAVP", "RTP/AVP")(_lines(_stripped)(message)),
        Refusal(reason="key-mgmt-missing"),
    ),
    (
        "stripped to SDES",
        _replaced(
            "a=key-mgmt.*",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e",
        ),
        Refusal(reason="key-mgmt-missing"),
    ),
    (
        "a protocol added",
        _replaced("(a=key-mgmt:mikey .*)", "\\1\r\na=key-mgmt:keymgmt2 AAAA"),
        Refusal(reason="bidding-down"),
    ),
    ("MIKEY cut", lambda m: m.with_mikey(lambda octets: octets[:-1]), Refusal(reason="malformed-message")),
    ("MIKEY altered", _flipped("HDR CSB ID"), Refusal(reason="auth-failure")),
    ("ticket altered", _flipped("TICKET Ticket Data", 150), Refusal(reason="kms-refused", status=500)),
    ("MAC altered", _flipped("V MAC"), Refusal(reason="auth-failure")),
    (
        "both copies of the MAC altered",
        lambda m: m.with_mikey(_mac_changed),
        Refusal(reason="kms-refused", status=500),
    ),
    (
        "not for us",
        lambda m: m.with_mikey(lambda octets: octets[:1] + b"\x0d" + octets[2:]),
        Refusal(reason="unsupported-data-type"),
    ),
    (
        "another caller",
        lambda m: m.with_header("From", f"<{uri('carol')}>;tag=x"),
        Refusal(reason="identity-mismatch", status=403),
    ),
)


@pytest.mark.parametrize(
    ("change", "expected"), [case[1:] for case in OFFERS], ids=[case[0] for case in OFFERS]
)
def test_an_offer_that_must_be_refused(bob: Agent, kms: Kms, change: Change, expected: Refusal) -> None:
    start = bob.now
    response = _offer(bob, kms, change)
    _check_refused(bob, response, expected, start)


def test_a_call_without_key_management(bob: Agent) -> None:
    for profile in ("RTP/AVP", "RTP/SAVP"):
        start = bob.now
        with SipPeer("alice") as alice:
            response = _call(bob, alice, plain_sdp(9000, profile=profile))
            _check_refused(bob, response, Refusal(reason="key-mgmt-missing"), start)


def test_a_call_without_offer(bob: Agent) -> None:
    start = bob.now
    with SipPeer("alice") as alice:
        _check_refused(bob, _call(bob, alice, None), Refusal(reason="offer-missing"), start)


def test_an_sdp_that_is_none(bob: Agent) -> None:
    start = bob.now
    with SipPeer("alice") as alice:
        response = _call(bob, alice, "this is not a session description\r\n")
        assert response.status in (400, 488)
    if "python" in chosen_stacks().values():
        bob.event("call.end", start=start)  # pjsip answers without a call


def test_a_ticket_for_somebody_else(bob: Agent, kms: Kms) -> None:
    """carol is called with a ticket for carol, and bob's phone gets the INVITE: the KMS refuses him."""
    start = bob.now
    with SipPeer("alice") as alice:
        sdp, _ = offer_of(granted(kms, called="carol"), uri("carol"), 9000)
        response = _call(bob, alice, sdp)
    _check_refused(bob, response, Refusal(reason="kms-refused", status=500), start)


def test_a_replayed_offer(bob: Agent, kms: Kms) -> None:
    """The very same TRANSFER_INIT in a call of its own, after the first was accepted."""
    start = bob.now
    with SipPeer("alice") as alice:
        sdp, _ = offer_of(granted(kms), uri("bob"), 9)
        held = sdp.replace("a=rtpmap", "a=inactive\r\na=rtpmap", 1)
        address = ("127.0.0.1", bob.port)
        invite = alice.invite(bob.contact, address, body=held, sender=uri("alice"))
        accepted = alice.final(invite, address)
        assert accepted.status == 200
        alice.in_dialog("BYE", invite, accepted, address, cseq=2)
        bob.event("call.end", start=start)
        start = bob.now
        _check_refused(bob, _call(bob, alice, held), Refusal(reason="replayed-message"), start)


def test_an_expired_ticket(kms: Kms) -> None:
    """bob's clock is two minutes ahead: tolerable, but the ticket has ended by then."""
    with Agent("bob", settings("bob", kms, clock_offset_s=120.0)) as bob, SipPeer("alice") as alice:
        sdp, _ = offer_of(granted(kms, valid_s=60.0), uri("bob"), 9000)
        _check_refused(bob, _call(bob, alice, sdp), Refusal(reason="ticket-expired"), 0)


@pytest.mark.parametrize("offset", [-1000.0, 1000.0])
def test_a_clock_that_is_wrong(kms: Kms, offset: float) -> None:
    with Agent("bob", settings("bob", kms, clock_offset_s=offset)) as bob, SipPeer("alice") as alice:
        sdp, _ = offer_of(granted(kms), uri("bob"), 9000)
        _check_refused(bob, _call(bob, alice, sdp), Refusal(reason="invalid-timestamp"), 0)


def test_five_calls_at_once(kms: Kms) -> None:
    """The fifth is told so: the wheel holds four."""
    with Agent("bob", settings("bob", kms, incoming="ring")) as bob, SipPeer("alice") as alice:
        address = ("127.0.0.1", bob.port)
        for number in range(4):
            sdp, _ = offer_of(granted(kms), uri("bob"), 9000)
            alice.invite(bob.contact, address, body=sdp, sender=uri("alice"))
            alice.wait_for(
                lambda _, number=number: sum(m.status == 180 for m in alice.received) > number,  # type: ignore[misc]
                "180",
            )
        sdp, _ = offer_of(granted(kms), uri("bob"), 9000)
        response = _call(bob, alice, sdp)
        assert response.status in (486, 503)
        assert bob.running


def _offer(bob: Agent, kms: Kms, change: Change) -> SipMessage:
    with SipPeer("alice") as alice:
        sdp, _ = offer_of(granted(kms), uri("bob"), 9000)
        return _call(bob, alice, sdp, change)


def _call(bob: Agent, alice: SipPeer, sdp: str | None, change: Change | None = None) -> SipMessage:
    address = ("127.0.0.1", bob.port)
    invite = alice.invite(bob.contact, address, body=sdp, sender=uri("alice"), change=change)
    return alice.final(invite, address)


def _check_refused(bob: Agent, response: SipMessage, expected: Refusal, start: int) -> None:
    """The caller is told, and the log and events of bob say the same."""
    assert response.status == expected.status, response.start_line
    warning = response.all("Warning")
    assert warning, "no Warning header"
    assert expected.reason in warning[0]
    ended = bob.event("call.end", start=start)
    assert (ended["reason"], ended["status"]) == (expected.reason, expected.status)
    assert not bob.events("call.answered", start=start)
    assert not bob.keys(start=start)
