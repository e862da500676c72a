"""When keys are replaced by themselves, and how long a change waits after it met one of the peer's."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent.legs.rekeying import Rekeying
from sipmikey.agent.legs.renegotiation import Finished, Kind, glare_wait_s
from sipmikey.call.reasons import AgentError, Reason

INTERVAL_S = 100


class Clock:
    """Runs what was asked for later, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._number = itertools.count()
        self._work: list[tuple[float, int, Callable[[], None]]] = []

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        self._work.append((self.now + delay_s, next(self._number), work))

    def run(self, until: float) -> None:
        while due := [entry for entry in self._work if entry[0] <= until]:
            first = min(due)
            self._work.remove(first)
            self.now = first[0]
            first[2]()
        self.now = until


class Call:
    """A call whose peer answers a rekeying with the next of *answers* (None: it agrees)."""

    over = False

    def __init__(
        self, clock: Clock, *, calls: bool, may: bool, answers: tuple[BaseException | None, ...]
    ) -> None:
        self.calls, self.may_rekey = calls, may
        self.proposed: list[float] = []
        self.expired_at: float | None = None
        self._clock = clock
        self._answers = list(answers)
        self.rekeying = Rekeying(self, clock.later, INTERVAL_S)
        self.rekeying.keyed(("first",))

    def propose(self, kind: Kind, finished: Finished, *, update: bool = False) -> None:
        assert kind is Kind.REKEY
        self.proposed.append(self._clock.now)
        answer = self._answers.pop(0)
        if answer is None:
            self.rekeying.keyed((f"after {self._clock.now}",))
        finished(answer)

    def expired(self) -> None:
        self.expired_at = self._clock.now
        self.over = True


REFUSED = AgentError(Reason.GLARE, "refused", side="remote")


def test_the_caller_rekeys_before_the_interval_is_over_again_and_again() -> None:
    clock = Clock()
    call = Call(clock, calls=True, may=True, answers=(None, None, None))
    clock.run(250.0)
    assert call.proposed == [80.0, 160.0, 240.0]
    assert call.expired_at is None


def test_the_callee_leaves_it_to_the_caller_for_a_while() -> None:
    clock = Clock()
    call = Call(clock, calls=False, may=True, answers=(None,))
    clock.run(80.0)
    assert call.proposed == []
    call.rekeying.keyed(("second",))
    clock.run(169.0)
    assert call.proposed == []
    clock.run(171.0)
    assert call.proposed == [170.0]


def test_a_refused_rekeying_is_tried_again_until_the_keys_are_too_old() -> None:
    clock = Clock()
    call = Call(clock, calls=True, may=True, answers=(REFUSED,) * 10)
    clock.run(200.0)
    assert call.proposed == [80.0, 85.0, 90.0, 95.0]
    assert call.expired_at == INTERVAL_S


@pytest.mark.parametrize("calls", [True, False])
def test_where_this_side_may_not_the_keys_expire(calls: bool) -> None:
    clock = Clock()
    call = Call(clock, calls=calls, may=False, answers=())
    clock.run(200.0)
    assert call.proposed == []
    assert call.expired_at == INTERVAL_S


def test_the_same_keys_again_do_not_start_the_interval_anew() -> None:
    clock = Clock()
    call = Call(clock, calls=True, may=False, answers=())
    clock.run(50.0)
    call.rekeying.keyed(("first",))
    clock.run(200.0)
    assert call.expired_at == INTERVAL_S


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_the_wait_after_glare_is_that_of_rfc_3261(random: int) -> None:
    """Section 14.1: 2.1 to 4 s for the owner of the Call-ID, 0 to 2 s for the other side."""
    assert 2.1 <= glare_wait_s(call_id_owner=True, random=random) <= 4.0
    assert 0.0 <= glare_wait_s(call_id_owner=False, random=random) <= 2.0
