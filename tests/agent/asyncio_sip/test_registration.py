"""What a REGISTER asks for, and what its 200 gives this device (RFC 5626, RFC 5627)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sipmikey.agent.asyncio_sip.binding import Binding
from sipmikey.agent.asyncio_sip.exchange import Means
from sipmikey.agent.asyncio_sip.registration import Registration
from sipmikey.agent.asyncio_sip.wire.transactions import Transactions
from sipmikey.agent.asyncio_sip.writing import response
from sipmikey.agent.config import AgentConfig, Sip, Transport
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import SipMessage
from sipmikey.sip.framing import StreamFramer
from tests.agent.asyncio_sip.clock import Clock, Wire

INSTANCE = "urn:uuid:00000000-0000-1000-8000-000a95a0e128"
GRUU = f"sip:bob@example.com;gr={INSTANCE}"


class PingedWire(Wire):
    """Counts pings; ``answered``: whether each wanted an answer."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self.answered: list[bool] = []

    def ping(self, *, answered: bool) -> None:
        self.answered.append(answered)


class Device:
    """A registration by one flow, and the registrar."""

    def __init__(self, transport: Transport = Transport.TCP, **sip: Any) -> None:
        config = AgentConfig(
            identity="sip:bob@example.com",
            sip=Sip(stack="python", registrar="sip:example.com", **sip),
        )
        self.clock, self.wire = Clock(), PingedWire(transport)
        self.transactions = Transactions(self.clock.later)
        flows: Any = self
        self.means = Means(
            sip=config.sip,
            flows=flows,
            transactions=self.transactions,
            user="bob",
            binding=Binding(config.sip),
        )
        self.told: list[tuple[int, int]] = []
        self.registration = Registration(
            config, self.means, self.clock.later, lambda status, reason, s: self.told.append((status, s))
        )
        self.registration.want(True)

    def reach(self, target: Any, then: Callable[[Any, str], None], *, tried: Any) -> None:
        then(self.wire, "")

    @property
    def last(self) -> SipMessage:
        return self.wire.sent[-1]

    def answer(self, status: int, *headers: tuple[str, str], parameters: str = ";expires=300") -> None:
        contact = ("Contact", (self.last.first("contact") or "").partition(">")[0] + ">" + parameters)
        self.transactions.receive_response(response(self.last, status, headers=(contact, *headers)))


def test_a_registration_without_either_asks_for_neither() -> None:
    device = Device()
    assert device.last.first("supported") == "path"
    assert "instance" not in (device.last.first("contact") or "")
    device.answer(200, ("Require", "outbound"), parameters=f';expires=300;pub-gruu="{GRUU}"')
    assert device.means.contact(device.wire) == "<sip:bob@192.0.2.1:5060;transport=tcp>"
    assert device.wire.answered == [False]


def test_the_registrar_keeps_to_the_connection_and_its_pings_are_answered() -> None:
    device = Device(outbound=True, instance=INSTANCE)
    assert device.last.first("supported") == "path, outbound"
    assert (device.last.first("contact") or "").endswith(f';+sip.instance="<{INSTANCE}>";reg-id=1')
    device.answer(200, ("Require", "outbound"), ("Flow-Timer", "10"))
    assert device.means.contact(device.wire) == "<sip:bob@192.0.2.1:5060;transport=tcp;ob>"
    assert device.means.contact(Wire(Transport.TCP)) == "<sip:bob@192.0.2.1:5060;transport=tcp>"
    device.clock.pass_time(10.0)
    assert device.wire.answered == [True, True]


def test_a_registrar_that_does_not_say_so_does_not_do_it() -> None:
    device = Device(outbound=True)
    device.answer(200)
    assert ";ob" not in device.means.contact(device.wire)
    assert device.wire.answered == [False]


def test_a_first_hop_without_outbound_is_asked_without_it() -> None:
    device = Device(outbound=True)
    device.answer(439)
    assert device.last.first("supported") == "path"
    assert "reg-id" not in (device.last.first("contact") or "")
    device.answer(200)
    assert device.told == [(200, 300)]


def test_over_udp_nothing_is_asked_of_the_flow() -> None:
    assert "reg-id" not in (Device(Transport.UDP, outbound=True).last.first("contact") or "")


def test_the_gruu_is_the_contact_by_the_registrar_only_and_while_registered() -> None:
    device = Device(gruu=True, instance=INSTANCE)
    assert device.last.first("supported") == "path, gruu"
    device.answer(200, parameters=f';expires=300;pub-gruu="{GRUU}"')
    assert device.means.contact(device.wire) == f"<{GRUU}>"
    assert device.means.contact(Wire(Transport.TCP)) == "<sip:bob@192.0.2.1:5060;transport=tcp>"
    device.registration.want(False)
    assert "gr=" not in (device.last.first("contact") or "").partition(">")[0]
    device.answer(200, parameters=";expires=0")
    assert device.means.contact(device.wire) == "<sip:bob@192.0.2.1:5060;transport=tcp>"


@pytest.mark.parametrize("gruu", ["", "tel:+123", "sip:a b@example.com", "sip:bob@example.com>;x"])
def test_what_is_not_a_uri_is_not_taken_for_a_gruu(gruu: str) -> None:
    device = Device(gruu=True)
    device.answer(200, parameters=f';expires=300;pub-gruu="{gruu}"')
    assert device.means.contact(device.wire) == "<sip:bob@192.0.2.1:5060;transport=tcp>"


def test_attempts_come_ever_later() -> None:
    device = Device(outbound=True, registration_retry_s=30)
    pauses = []
    for _ in range(4):
        sent, begin = len(device.wire.sent), device.clock.now
        device.answer(500)
        while len(device.wire.sent) == sent:
            device.clock.pass_time(1.0)
        pauses.append(device.clock.now - begin)
    for pause, longest in zip(pauses, (30, 60, 120, 240), strict=True):
        assert longest / 2 <= pause <= longest + 1


def test_an_empty_line_alone_is_the_answer_to_a_ping() -> None:
    framer = StreamFramer()
    assert list(framer.messages(b"\r\n")) == []
    assert framer.take_pong()
    assert not framer.take_pong()
    assert list(framer.messages(b"\r\n\r\n")) == []
    assert (framer.pings, framer.take_pong()) == (1, False)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"stack": "pjsua2", "outbound": True}, "sip.outbound"),
        ({"stack": "pjsua2", "gruu": True}, "sip.gruu"),
        ({"stack": "pjsua2", "transports": (Transport.WS,)}, "ws"),
        ({"instance": "a device"}, "sip.instance"),
        ({"websocket_path": "elsewhere"}, "sip.websocket_path"),
    ],
)
def test_settings_that_cannot_be_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(LocalError, match=named):
        Sip(**{"stack": "python", **settings})


def outside(device: Device, host: str = "203.0.113.9", port: int = 40001) -> tuple[str, ...]:
    """Answer as a registrar that sees the device at another address; return the Contacts registered next."""
    via = (device.last.first("via") or "").replace(";rport", f";rport={port};received={host}")
    seen = device.last.with_header("Via", via)
    contact = ("Contact", (device.last.first("contact") or "") + ";expires=300")
    device.transactions.receive_response(response(seen, 200, headers=(contact,)))
    return device.last.all("contact")


def test_behind_a_nat_the_contact_is_our_address_outside() -> None:
    """RFC 3581 tells it; the Contact that was registered ends."""
    device = Device(Transport.UDP)
    assert outside(device) == ("<sip:bob@203.0.113.9:40001>", "<sip:bob@192.0.2.1:5060>;expires=0")
    assert device.told == []
    sent = len(device.wire.sent)
    assert outside(device) == ("<sip:bob@203.0.113.9:40001>", "<sip:bob@192.0.2.1:5060>;expires=0")
    assert len(device.wire.sent) == sent
    assert device.told == [(200, 300)]
    assert device.means.contact(device.wire) == "<sip:bob@203.0.113.9:40001>"
    other = Wire()
    other.remote = ("192.0.2.77", 5060)
    assert device.means.contact(other) == "<sip:bob@192.0.2.1:5060>"
    device.registration.leave_flow()
    assert device.means.contact(device.wire) == "<sip:bob@192.0.2.1:5060>"


def test_a_nat_that_changes_its_mind_is_followed_once_each_time() -> None:
    device = Device(Transport.UDP)
    outside(device)
    outside(device, port=40002)
    assert device.told == [(200, 300)], "no circle"
    device.clock.pass_time(296.0)
    assert device.last.first("contact") == "<sip:bob@203.0.113.9:40002>"


@pytest.mark.parametrize(
    "seen", [("none", 4), ("203.0.113.9", 0), ("203.0.113.9", 65536), ("192.0.2.1", 5060)]
)
def test_what_is_not_another_address_changes_nothing(seen: tuple[str, int]) -> None:
    device = Device(Transport.UDP)
    assert outside(device, *seen) == ("<sip:bob@192.0.2.1:5060>",)


def test_a_configured_address_stands() -> None:
    device = Device(Transport.UDP, public_address="192.0.2.1")
    assert outside(device) == ("<sip:bob@192.0.2.1:5060>",)


def test_a_connection_needs_no_address_outside() -> None:
    device = Device(Transport.TCP)
    assert outside(device) == ("<sip:bob@192.0.2.1:5060;transport=tcp>",)
