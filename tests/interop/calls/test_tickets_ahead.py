"""Tickets before they are needed: prefetched, kept, used again where the J flag allows it, asked for once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.packets.fields import fields

NO_REUSE = """
[limits.default]
flags = { reuse = "forced-off" }

[[rule]]
name = "all"
from = ["*"]
to = ["*"]
decision = "allow"
"""


def _asked(agent: Agent) -> int:
    """How often the agent asked the KMS for a ticket."""
    return sum(event["exchange"] == "ticket-request" for event in agent.events("kms.request"))


def _call(alice: Agent, bob: Agent) -> None:
    start = bob.now
    number = alice.call(uri("bob"))
    alice.do("proven", call=number)
    alice.do("hangup", call=number)
    bob.event("call.end", start=start)


def _values(mikey: bytes, name: str) -> bytes:
    return b"".join(mikey[field.start : field.end] for field in fields(mikey) if field.name == name)


@pytest.mark.parametrize("reuse", [True, False], ids=["reuse", "no reuse"])
def test_a_ticket_is_used_again_only_where_it_may_be(
    capture: Capture, kamailio: Kamailio, kms: Kms, reuse: bool
) -> None:
    """Three calls: one ticket with J, three without; always a new CSB ID, new RANDs and new keys."""
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio)) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio, keys={"reuse": reuse})) as alice,
    ):
        bob.do("register")
        alice.do("prefetch", uri=uri("bob"))
        for _ in range(3):
            _call(alice, bob)
        assert _asked(alice) == (1 if reuse else 3)
        given = alice.keys()
        assert len({keys["send"] for keys in given}) == 3
    sent = f"sip.Method == INVITE && tcp.dstport == {kamailio.port}"
    offers = set(referee.mikey_messages(capture, sent))
    assert len(offers) >= 3
    tickets = {_values(offer, "TICKET Ticket Data") for offer in offers}
    assert len(tickets) == (1 if reuse else 3)
    for name in ("HDR CSB ID", "RANDRi value"):
        assert len({_values(offer, name) for offer in offers}) == len(offers)


def test_the_kms_may_forbid_reuse(network: Namespace, tmp_path: Path) -> None:
    strict = Kms(tmp_path / "kms")
    for user in ("alice", "bob"):
        strict.add_user(user)
    strict.set_policy(NO_REUSE)
    with (
        strict,
        Agent("bob", settings("bob", strict)) as bob,
        Agent("alice", settings("alice", strict, peer=bob, keys={"reuse": True})) as alice,
    ):
        for _ in range(2):
            _call(alice, bob)
        assert _asked(alice) == 2


def test_calls_at_once_share_one_request(network: Namespace, kms: Kms) -> None:
    with (
        Agent("bob", settings("bob", kms)) as bob,
        Agent("alice", settings("alice", kms, peer=bob, keys={"reuse": True})) as alice,
    ):
        commands = [alice.start("call", uri=uri("bob")) for _ in range(3)]
        numbers = [alice.finish(command) for command in commands]
        for number in numbers:
            alice.do("established", call=number)
            alice.do("proven", call=number)
        assert _asked(alice) == 1
        for number in numbers:
            alice.do("hangup", call=number)
