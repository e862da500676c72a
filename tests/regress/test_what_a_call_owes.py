"""What a program that asked a call for something is told when the call ends, or when it asks twice."""

from __future__ import annotations

import pytest

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.caller import CallerMachine
from sipmikey.call.policy import ForkRule
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.state import CallState
from sipmikey.mikey.errors import LocalError
from tests.call.fakes import CAROL, FakeTicket
from tests.call.test_forked import calling, receive


def talking() -> CallerMachine:
    """Return a caller whose call was answered; the stack has not said yet that its INVITE succeeded."""
    machine = calling(ForkRule.BIND, FakeTicket)
    receive(machine, 200, "a", "good a")
    assert machine.state is CallState.TALKING
    return machine


def outcomes(outputs: tuple[o.Output, ...]) -> dict[int, BaseException | None]:
    return {one.token: one.error for one in outputs if isinstance(one, o.ChangeDone)}


def test_a_change_under_way_and_one_that_waits_fail_with_the_call() -> None:
    machine = talking()
    machine.take(i.Propose(kind=i.Kind.HOLD, token=1))
    machine.take(i.Propose(kind=i.Kind.RESUME, token=2))
    failed = outcomes(machine.take(i.Hangup()))
    assert set(failed) == {1, 2}
    assert all(isinstance(error, AgentError) and error.reason is Reason.HANGUP for error in failed.values())
    assert not outcomes(machine.take(i.Disconnected(status=200)))


def test_a_change_fails_also_where_the_peer_ends_the_call() -> None:
    machine = talking()
    machine.take(i.Propose(kind=i.Kind.REFRESH, token=7))
    machine.take(i.Received(message=i.Message(method="BYE")))
    assert set(outcomes(machine.take(i.Disconnected(status=200)))) == {7}


def test_a_second_transfer_waits_for_nothing_and_leaves_the_first_alone() -> None:
    machine = talking()
    machine.take(i.Refer(target=CAROL, token=1))
    refused = machine.take(i.Refer(target=CAROL, token=2))
    assert refused == (o.ReferDone(token=2, status=491),)
    assert o.ReferDone(token=1, status=200) in machine.take(i.TransferProgress(status=200, final=True))
    sent = machine.take(i.Refer(target=CAROL, token=3))
    assert any(isinstance(one, o.SendRefer) for one in sent)


def test_an_answered_call_that_is_hung_up_was_not_cancelled() -> None:
    machine = talking()
    machine.take(i.Hangup())
    assert machine.ending is not None
    assert (machine.ending.reason, machine.ending.status) == (Reason.HANGUP, 200)


@pytest.mark.parametrize("status", [0, 180, 200, 299, 700])
def test_a_call_is_not_refused_with_a_status_that_does_not_refuse(status: int) -> None:
    with pytest.raises(LocalError, match=r"^status: .* not "):
        i.Reject(status=status)
