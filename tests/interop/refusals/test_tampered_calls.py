"""A relay between two real agents changes each field of TRANSFER_INIT and of TRANSFER_RESP, one a call.

One bit of every field here; every octet and every kind of change in `test_tampered_messages`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets.capture import Capture, recording
from tests.interop.lab.packets.fields import fields
from tests.interop.lab.relay import Direction, UdpRelay, sip_hook
from tests.interop.lab.sip import SipMessage
from tests.interop.refusals.test_tampered_messages import (
    AT_KMS,
    INIT_REFUSALS,
    REASONS,
    RESP_REFUSALS,
    Refusal,
)

CALLS_OF_A_PAIR = 10
pytestmark = pytest.mark.long

UDP_ONLY = {"transports": ["udp"]}
STATUS = {"kms-refused": 500, "identity-mismatch": 403}
IN_SDP: dict[str, set[str]] = {
    "CS . CS ID": {"media-mismatch"},
    "EXT data": {"bidding-down"},
    "IDRi data": {"identity-mismatch"},
    "SP param .* value": {"unsupported-security-policy", "invalid-security-policy"},
}
"""Where SDP, the SIP caller and the suites configured tell a change before the ticket's keys would."""
Table = tuple[tuple[str, set[Refusal]], ...]


class Tamper:
    """Changes one field of the INVITE's message, or of the answer's, on its way through the relay."""

    def __init__(self) -> None:
        self.way: Direction = "forward"
        self.field: str | None = None
        self.seen: dict[Direction, list[str]] = {}

    def __call__(self, message: SipMessage, way: Direction) -> SipMessage:
        if message.method != "INVITE" or message.mikey is None:
            return message
        self.seen[way] = [field.name for field in fields(message.mikey)]
        if way != self.way or self.field is None:
            return message
        return message.with_mikey(self._changed)

    def _changed(self, octets: bytes) -> bytes:
        field = next(field for field in fields(octets) if field.name == self.field)
        at = field.end - 1
        return octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


@dataclass(slots=True)
class Stage:
    """alice, bob and the relay between them; the agents are restarted after some calls."""

    kms: Kms
    relay: UdpRelay
    tamper: Tamper
    alice: Agent | None = None
    bob: Agent | None = None
    uses: int = 0

    def agents(self) -> tuple[Agent, Agent]:
        if self.alice is None or self.bob is None or self.uses % CALLS_OF_A_PAIR == 0:
            self.stop()
            self.bob = Agent("bob", settings("bob", self.kms, sip=UDP_ONLY))
            self.relay.target = ("127.0.0.1", self.bob.port)
            through = self.relay.address[1]
            self.alice = Agent("alice", settings("alice", self.kms, peer=through, sip=UDP_ONLY))
        self.uses += 1
        return self.alice, self.bob

    def stop(self) -> None:
        for agent in (self.alice, self.bob):
            if agent is not None:
                agent.stop()


@pytest.fixture(scope="module")
def stage(
    namespace: Namespace, kms: Kms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, Capture]]:
    tamper = Tamper()
    directory = tmp_path_factory.mktemp("tampered")
    with (
        namespace,
        recording(directory / "all.pcap") as capture,
        UdpRelay(("127.0.0.1", 9), hook=sip_hook(tamper)) as relay,
    ):
        made = Stage(kms, relay, tamper)
        try:
            yield made, capture
        finally:
            made.stop()


def test_the_relay_alone_changes_nothing(stage: tuple[Stage, Capture]) -> None:
    acted, _ = stage
    alice, bob = acted.agents()
    number = alice.call(uri("bob"))
    alice.do("proven", call=number)
    alice.do("hangup", call=number)
    bob.event("call.end")
    assert len(acted.tamper.seen["forward"]) > 60
    assert len(acted.tamper.seen["back"]) > 20


def _expected(name: str, table: Table) -> set[str]:
    for pattern, reasons in IN_SDP.items():
        if table is INIT_REFUSALS and re.fullmatch(pattern, name):
            return reasons
    for pattern, refusals in table:
        if re.fullmatch(pattern, name):
            return {"kms-refused" if place == AT_KMS else reason for place, reason in refusals}
    return REASONS | {"kms-refused", "bidding-down", "media-mismatch", "identity-mismatch"}


def test_each_field_of_transfer_init(stage: tuple[Stage, Capture]) -> None:
    """bob, or the KMS he asks, refuses; alice hears why; neither keys anything."""
    acted, _ = stage
    acted.tamper.way, acted.tamper.field = "forward", None
    names = sorted(set(acted.tamper.seen["forward"]))
    wrong = []
    for name in names:
        alice, bob = acted.agents()
        at_alice, at_bob = alice.now, bob.now
        acted.tamper.field = name
        number = alice.do("call", uri=uri("bob"))
        try:
            alice.do("established", call=number)
        except Failed as failed:
            ended = bob.event("call.end", start=at_bob)
            expected = _expected(name, INIT_REFUSALS)
            if failed.reason not in expected or failed.status != STATUS.get(failed.reason, 488):
                wrong.append(f"{name}: alice was told {failed}")
            if ended["reason"] != failed.reason:
                wrong.append(f"{name}: bob says {ended['reason']}, alice {failed.reason}")
        else:
            wrong.append(f"{name}: the call was set up")
        if alice.keys(start=at_alice) or bob.keys(start=at_bob):
            wrong.append(f"{name}: somebody keyed SRTP")
    assert not wrong, "\n".join(wrong)
    assert len(names) > 60


def test_each_field_of_transfer_resp(stage: tuple[Stage, Capture]) -> None:
    """bob has answered: alice ends the call at once, says why, and has sent nothing."""
    acted, _ = stage
    acted.tamper.way, acted.tamper.field = "back", None
    names = sorted(set(acted.tamper.seen["back"]))
    wrong = []
    for name in names:
        alice, bob = acted.agents()
        at_alice, at_bob = alice.now, bob.now
        acted.tamper.field = name
        number = alice.do("call", uri=uri("bob"))
        try:
            alice.do("established", call=number)
        except Failed as failed:
            if failed.reason not in _expected(name, RESP_REFUSALS):
                wrong.append(f"{name}: {failed}")
            if alice.do("ended", call=number)["reason"] != failed.reason:
                wrong.append(f"{name}: two reasons")
            bob.event("call.end", start=at_bob)
        else:
            wrong.append(f"{name}: the call was set up")
        if alice.keys(start=at_alice):
            wrong.append(f"{name}: alice keyed SRTP")
    assert not wrong, "\n".join(wrong)
    assert len(names) > 20


def test_nothing_went_out_in_clear(stage: tuple[Stage, Capture]) -> None:
    """Over all those calls: what bob sent after answering was SRTP, and no RTCP was readable."""
    acted, capture = stage
    acted.stop()
    assert capture.count("sip.Method == INVITE") > 80
    for packet in capture.rtp():
        assert len(packet.payload) == 170, "PCMA and an authentication tag"
        assert len(set(packet.payload)) > 60, "not a codec's silence"
    for _, _, raw in capture.rtcp():
        assert raw[-14] & 0x80, "SRTCP's E flag"
