"""A TURN server that goes away in a call: the call looks for another way, and is proven again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.lab.kms import uri
from tests.nat.conftest import NewAgent
from tests.nat.laboratory import OUTSIDE, SECRET, Laboratory, Translation, turn_server
from tests.nat.test_moving import hears

PORT = 3479
TURN = {"stun": OUTSIDE, "turn": f"{OUTSIDE}:{PORT}", "turn_secret": SECRET, "silence": 1.0}


@pytest.mark.long
@pytest.mark.parametrize("comes_back", [True, False], ids=["started-again", "dead"])
def test_a_call_outlives_its_relay(
    laboratory: Laboratory, agent: NewAgent, tmp_path: Path, comes_back: bool
) -> None:
    """Where the server is dead for good, there has to be another way: the NATs become port-preserving."""
    for side in "ab":
        laboratory.translate(side, Translation.SYMMETRIC)
    server = turn_server(laboratory, tmp_path / "turn", port=PORT)
    try:
        bob, alice = agent("bob", "b", **TURN), agent("alice", "a", **TURN)
        number = alice.call(uri("bob"))
        taken = bob.event("call.answered")["call"]
        for one, call in ((alice, number), (bob, taken)):
            one.do("proven", call=call)
            hears(one, call)
        assert alice.event("media.path", call=number)["way"] == "relayed"
        start = alice.now
        server.stop()
        if comes_back:
            server = turn_server(laboratory, tmp_path / "turn", port=PORT)
        else:
            for side in "ab":
                laboratory.translate(side, Translation.PORT_PRESERVING)
        alice.event("media.stalled", call=number, start=start)
        assert alice.event("call.moved", call=number, start=start)["moved"]
        alice.event("media.rekeyed", call=number, start=start)
        alice.event("media.resumed", call=number, start=start)
        for one, call in ((alice, number), (bob, taken)):
            hears(one, call)
            assert one.do("security", call=call)["media"] == "proven"
        alice.do("hangup", call=number)
        assert bob.event("call.end")["reason"] == "hangup"
    finally:
        server.stop()
