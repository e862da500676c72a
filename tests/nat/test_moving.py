"""A host that gets another address in a call: the call goes on, both ways, and it is registered there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.lab.agents import Agent
from tests.interop.lab.kms import uri
from tests.nat.conftest import NewAgent
from tests.nat.laboratory import HOSTS, OUTSIDE, SECRET, Laboratory, Translation

MOVED_TO = "192.168.11.77"
TURN = {"turn": OUTSIDE, "turn_secret": SECRET}
PACKETS = 50


@pytest.fixture
def back(laboratory: Laboratory) -> Iterator[None]:
    yield
    laboratory.move("a", HOSTS["a"])


def hears(agent: Agent, call: str) -> None:
    """Return once more packets of the peer have verified than so far."""
    before = agent.do("stats", call=call)["streams"][0]["decrypted"]
    agent.hear(call, before + PACKETS)


@pytest.mark.usefixtures("back")
@pytest.mark.parametrize(
    ("translation", "servers"),
    [(Translation.OPEN, {}), (Translation.PORT_PRESERVING, TURN)],
    ids=["no-ice", "ice"],
)
@pytest.mark.parametrize("caller", ["alice", "bob"])
def test_a_call_goes_on_from_another_address(
    laboratory: Laboratory, agent: NewAgent, translation: Translation, servers: dict[str, str], caller: str
) -> None:
    for side in "ab":
        laboratory.translate(side, translation)
    alice, bob = agent("alice", "a", bind="0.0.0.0", **servers), agent("bob", "b", **servers)
    calls, is_called = (alice, bob) if caller == "alice" else (bob, alice)
    made = calls.call(uri(is_called.name))
    taken = is_called.event("call.answered")["call"]
    number, at_bob = (made, taken) if caller == "alice" else (taken, made)
    for one, call in ((alice, number), (bob, at_bob)):
        one.do("proven", call=call)
        hears(one, call)
    keys = [len(one.events("media.rekeyed")) for one in (alice, bob)]
    start = alice.now
    laboratory.move("a", MOVED_TO)
    changed = alice.event("network.changed", start=start)
    assert (changed["cause"], changed["before"], changed["now"]) == ("address", HOSTS["a"], MOVED_TO)
    assert alice.event("reg.ok", start=start)
    moved = alice.event("call.moved", start=start)
    assert (moved["call"], moved["moved"], moved["detail"]) == (number, True, "")
    for one, call in ((alice, number), (bob, at_bob)):
        hears(one, call)
        assert one.do("security", call=call)["media"] == "proven"
    renewed = [
        len(one.events("media.rekeyed")) - before for one, before in zip((alice, bob), keys, strict=True)
    ]
    if servers:
        path = alice.event("media.path", start=start)
        assert path["local"].startswith((MOVED_TO, OUTSIDE.rpartition(".")[0]))
        assert renewed == [1, 1]
    else:
        assert renewed == [0, 0], "the keys stay with the sockets"
    bob.do("hangup", call=at_bob)
    assert alice.event("call.end")["reason"] == "hangup"


@pytest.mark.usefixtures("back")
@pytest.mark.parametrize("caller", ["alice", "bob"])
def test_a_call_that_rings_ends_and_both_are_told(
    laboratory: Laboratory, agent: NewAgent, caller: str
) -> None:
    for side in "ab":
        laboratory.translate(side, Translation.OPEN)
    moves = agent("alice", "a", bind="0.0.0.0", incoming="ring")
    bob = agent("bob", "b", incoming="ring")
    calls, is_called = (moves, bob) if caller == "alice" else (bob, moves)
    made = calls.do("call", uri=uri(is_called.name))
    rings = is_called.event("kit.incoming")["call"]
    number = made if caller == "alice" else rings
    laboratory.move("a", MOVED_TO)
    told = moves.event("call.moved")
    assert (told["call"], told["moved"]) == (number, False)
    assert told["detail"].startswith(f"our address changed from {HOSTS['a']} to {MOVED_TO} before the call")
    end = moves.event("call.end")
    assert (end["reason"], end["side"], end["detail"]) == ("transport-failed", "network", told["detail"])
    if caller == "bob":
        refused = bob.event("call.end")
        assert (refused["reason"], refused["side"], refused["status"]) == ("transport-failed", "remote", 480)
