"""Inputs in an order that no call has: an answer, and never an accident."""

from __future__ import annotations

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.policy import ForkRule
from sipmikey.call.state import CallState
from tests.call.fakes import FakeTicket
from tests.call.test_forked import calling, receive


def test_a_timer_that_does_not_run_rings_for_nobody() -> None:
    machine = calling(ForkRule.BIND, FakeTicket)
    receive(machine, 200, "a", "good a")
    assert machine.state is CallState.TALKING
    for timer in o.Timer:
        if timer not in machine._out.timers:
            assert machine.take(i.Rang(timer=timer)) == ()
    assert machine.state is CallState.TALKING
    assert machine.ending is None


def test_the_end_of_an_invite_that_was_not_sent_ends_nothing_that_goes_on() -> None:
    machine = calling(ForkRule.BIND, FakeTicket)
    receive(machine, 200, "a", "good a")
    end = o.EndInvite(status=0)
    machine.take(i.NotSent(output=end, error=RuntimeError("gone")))
    assert machine.state is CallState.TALKING
    assert any(isinstance(output, o.EndInvite) for output in machine.take(i.Hangup()))
    outputs = machine.take(i.NotSent(output=end, error=RuntimeError("gone")))
    assert machine.over
    assert machine.ending is not None
    assert any(isinstance(output, o.Tell) for output in outputs)
