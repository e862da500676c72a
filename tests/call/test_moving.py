"""A call whose side got another address: the keys stay with the sockets, and new sockets get new keys."""

from __future__ import annotations

from typing import Any

import pytest

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from tests.call.talking import TOKEN, TalkingCallee, TalkingCaller


def proposed(world: Any, kind: i.Kind, *, may_rekey: bool) -> list[o.Output]:
    world.machine._attempt.keying.may_rekey = may_rekey
    return list(world.machine.take(i.Propose(kind=kind, token=TOKEN)))


@pytest.mark.parametrize("side", [TalkingCaller, TalkingCallee])
@pytest.mark.parametrize("may_rekey", [True, False])
def test_a_move_offers_what_there_is_with_the_same_keys(side: type, may_rekey: bool) -> None:
    world = side()
    assert o.Reinvite(moved=True) in proposed(world, i.Kind.MOVE, may_rekey=may_rekey)
    (answer,) = world.machine.take(i.LocalDescription(sdp="stack"))
    assert answer == o.Describe(sdp="offer")


@pytest.mark.parametrize("side", [TalkingCaller, TalkingCallee])
def test_a_restart_gives_new_keys(side: type) -> None:
    world = side()
    assert o.Reinvite(moved=True, restart=True) in proposed(world, i.Kind.RESTART, may_rekey=True)
    (answer,) = world.machine.take(i.LocalDescription(sdp="stack"))
    assert answer == o.Describe(sdp="rekey")


@pytest.mark.parametrize("side", [TalkingCaller, TalkingCallee])
def test_without_leave_for_new_keys_there_is_no_restart(side: type) -> None:
    """The stack would start the old keys again, from packet index 0."""
    (done,) = proposed(side(), i.Kind.RESTART, may_rekey=False)
    assert isinstance(done, o.ChangeDone)
    assert "new keys" in str(done.error)
