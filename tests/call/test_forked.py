"""A call to several devices under a ticket with the same keys for all: bound to one, or ended by policy."""

from __future__ import annotations

import pytest

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.caller import CallerMachine
from sipmikey.call.inviting.consent import Consent
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.policy import CallPolicy, ForkRule
from sipmikey.call.reasons import Reason
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState
from sipmikey.ticket.request import TicketGrant
from tests.call.fakes import BOB, ENV, GRANT, FakeKeyings, FakeTicket
from tests.call.worlds import ALICE, PATIENCE


class SharedKeys(FakeTicket):
    """A ticket without key forking."""

    shares_keys = True


class Keyings(FakeKeyings):
    def __init__(self, kind: type[FakeTicket]) -> None:
        super().__init__()
        self._kind = kind

    def calling(
        self, kind: KeyingKind, *, called: str, consent: Consent, grant: TicketGrant | None = None
    ) -> Keying:
        return self._kind(calls=True)


def calling(forked: ForkRule, kind: type[FakeTicket] = SharedKeys) -> CallerMachine:
    settings = CallSettings(identity=ALICE, policy=CallPolicy(forked=forked), patience=PATIENCE)
    machine = CallerMachine("1", settings, ENV, Keyings(kind), uri=BOB, called=BOB, grant=GRANT)
    for item in (i.Start(), i.Attached(), i.LocalDescription(sdp="offer")):
        machine.take(item)
    machine.take(i.Sent(message=i.Message(method="INVITE", sdp="offer", call_id="x")))
    return machine


def receive(machine: CallerMachine, status: int, tag: str, sdp: str | None = None) -> tuple[o.Output, ...]:
    return machine.take(i.Received(message=i.Message(method="INVITE", status=status, to_tag=tag, sdp=sdp)))


SECOND = [(180, None), (183, "good b"), (200, "good b")]


@pytest.mark.parametrize(("status", "sdp"), SECOND)
def test_a_second_device_ends_the_call_where_policy_says_so(status: int, sdp: str | None) -> None:
    machine = calling(ForkRule.REFUSE)
    receive(machine, 180, "a")
    outputs = receive(machine, status, "b", sdp)
    assert machine.state is CallState.ENDING
    assert machine.ending is not None
    assert machine.ending.reason is Reason.FORK_NOT_KEYED
    assert any(isinstance(output, o.EndInvite) for output in outputs)
    assert not any(isinstance(output, o.Key) for output in outputs)


def test_a_second_answer_ends_a_call_under_way_where_policy_says_so() -> None:
    machine = calling(ForkRule.REFUSE)
    receive(machine, 200, "a", "good a")
    assert machine.state is CallState.TALKING
    outputs = receive(machine, 200, "b", "good b")
    assert machine.ending is not None
    assert machine.ending.reason is Reason.FORK_NOT_KEYED
    assert o.EndBranch(to_tag="b") in outputs


@pytest.mark.parametrize(("status", "sdp"), SECOND[:2])
def test_by_default_the_first_answer_has_the_call(status: int, sdp: str | None) -> None:
    machine = calling(ForkRule.BIND)
    receive(machine, 180, "a")
    receive(machine, status, "b", sdp)
    receive(machine, 200, "a", "good a")
    assert machine.state is CallState.TALKING


def test_devices_with_keys_of_their_own_are_no_reason_to_end() -> None:
    machine = calling(ForkRule.REFUSE, FakeTicket)
    receive(machine, 180, "a")
    receive(machine, 183, "b", "good b")
    receive(machine, 200, "a", "good a")
    assert machine.state is CallState.TALKING
    assert machine.ending is None


def test_one_device_that_rings_and_answers_is_one() -> None:
    machine = calling(ForkRule.REFUSE)
    receive(machine, 180, "a")
    receive(machine, 183, "a", "good a")
    receive(machine, 200, "a", "good a")
    assert machine.state is CallState.TALKING
