"""What works behind which NAT, with new keys, hold and resume in the call; and nothing fails in silence."""

from __future__ import annotations

import pytest

from tests.interop.lab.agents import Agent, Failed, wait_until
from tests.interop.lab.kms import uri
from tests.nat.conftest import NewAgent
from tests.nat.laboratory import OUTSIDE, SECRET, Laboratory, Translation

OPEN, PRESERVING, SYMMETRIC = Translation.OPEN, Translation.PORT_PRESERVING, Translation.SYMMETRIC
STUN = {"stun": OUTSIDE}
TURN = {"turn": OUTSIDE, "turn_secret": SECRET}
PACKETS = 100


def change(alice: Agent, verb: str, number: str) -> None:
    """Have the call changed, as soon as the UPDATE is over that tells the peer what ICE chose."""

    def done() -> bool:
        try:
            alice.do(verb, call=number)
        except Failed as failed:
            if "under way" not in failed.detail:
                raise
            return False
        return True

    wait_until(done, verb)


def prove(alice: Agent, bob: Agent) -> dict[str, str]:
    """Call, prove, give new keys, hold, resume, talk; return the event that tells alice's path."""
    start = bob.now
    number = alice.call(uri("bob"))
    alice.do("proven", call=number)
    answered = bob.event("call.answered", start=start)["call"]
    bob.do("proven", call=answered)
    path = alice.event("media.path", call=number)
    for verb in ("rekey", "hold", "resume"):
        change(alice, verb, number)
    for one, call in ((alice, number), (bob, answered)):
        before = one.do("stats", call=call)["streams"][0]["decrypted"]
        one.hear(call, before + PACKETS)
    alice.do("hangup", call=number)
    bob.event("call.end", start=start)
    return path


@pytest.mark.parametrize(
    ("at_alice", "at_bob", "servers", "way"),
    [
        (OPEN, OPEN, STUN, "direct"),
        (PRESERVING, PRESERVING, STUN, "reflexive"),
        (PRESERVING, PRESERVING, TURN, "reflexive"),
        (SYMMETRIC, OPEN, TURN, "reflexive"),
        (PRESERVING, SYMMETRIC, TURN, "relayed"),
        (SYMMETRIC, PRESERVING, TURN, "relayed"),
        (SYMMETRIC, SYMMETRIC, TURN, "relayed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(k for k in value if "_" not in k),
)
def test_a_call_goes_the_best_way_there_is(
    laboratory: Laboratory,
    agent: NewAgent,
    at_alice: Translation,
    at_bob: Translation,
    servers: dict[str, str],
    way: str,
) -> None:
    laboratory.translate("a", at_alice)
    laboratory.translate("b", at_bob)
    bob = agent("bob", "b", **servers)
    alice = agent("alice", "a", **servers)
    # A check that comes late on a busy machine leaves the call with what was found before it.
    path = next((path for _ in range(3) if (path := prove(alice, bob))["way"] == way), {})
    assert path
    assert bool(path["relay"]) is (way == "relayed")


@pytest.mark.parametrize("at_bob", [True, False], ids=["both-sides", "caller-only"])
def test_rtcp_mux_works_through_symmetric_nats(laboratory: Laboratory, agent: NewAgent, at_bob: bool) -> None:
    """A callee without it leaves it out of its answer: the caller uses two ports (RFC 5761 section 5.1.1)."""
    for side in "ab":
        laboratory.translate(side, SYMMETRIC)
    bob = agent("bob", "b", **TURN, rtcp_mux=at_bob)
    assert prove(agent("alice", "a", **TURN, rtcp_mux=True), bob)["way"] == "relayed"


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_a_dead_turn_server_costs_no_seconds_and_no_refusal(
    laboratory: Laboratory, agent: NewAgent, who: str
) -> None:
    for side in "ab":
        laboratory.translate(side, PRESERVING)
    dead = {"stun": OUTSIDE, "turn": f"{OUTSIDE}:3999", "turn_username": "nobody"}
    bob = agent("bob", "b", **(dead if who == "callee" else STUN))
    alice = agent("alice", "a", **(dead if who == "caller" else STUN))
    assert prove(alice, bob)["way"] == "reflexive"


def test_blocked_udp_is_told_not_left_to_silence(laboratory: Laboratory, agent: NewAgent) -> None:
    laboratory.translate("a", Translation.UDP_BLOCKED)
    laboratory.translate("b", PRESERVING)
    agent("bob", "b", **TURN)
    alice = agent("alice", "a", **TURN)
    number = alice.call(uri("bob"))
    with pytest.raises(Failed, match="media-unproven"):
        alice.do("proven", call=number)
