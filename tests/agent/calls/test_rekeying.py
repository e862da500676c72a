"""When keys are replaced by themselves, and how long a change waits after it met one of the peer's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.call.keying.agreement import Agreement, StreamKeys
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import StartTimer, StopTimer, Timer
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.within.rekeying import Rekeying
from sipmikey.call.within.renegotiation import glare_wait_s

INTERVAL_S = 100


def keys(name: str) -> Agreement:
    stream = StreamKeys(index=0, suite="suite", send_key=name, receive_key=f"{name} back")
    return Agreement(streams=(stream,), rekey_interval_s=INTERVAL_S)


class Call:
    """A call with a clock, whose peer answers a rekeying with the next of *answers* (None: it agrees)."""

    def __init__(self, *, calls: bool, may: bool, answers: tuple[BaseException | None, ...]) -> None:
        self.now = 0.0
        self.proposed: list[float] = []
        self.expired_at: float | None = None
        self._may = may
        self._answers = list(answers)
        self._due: dict[Timer, float] = {}
        self._out = Outbox("1")
        self.rekeying = Rekeying(self._out, calls=calls)
        self.keyed("first")

    def keyed(self, name: str) -> None:
        self.rekeying.keyed(keys(name))
        self._set()

    def _set(self) -> None:
        for output in self._out.drain():
            if isinstance(output, StartTimer):
                self._due[output.timer] = self.now + output.after_s
            elif isinstance(output, StopTimer):
                del self._due[output.timer]

    def run(self, until: float) -> None:
        while due := sorted((at, timer) for timer, at in self._due.items() if at <= until):
            self.now, timer = due[0]
            del self._due[timer]
            self._out.timers.discard(timer)
            self._ring(timer)
            self._set()
        self.now = until

    def _ring(self, timer: Timer) -> None:
        if timer is Timer.EXPIRE:
            self.expired_at = self.now
            self.rekeying.stop()
        elif self._may:
            self.proposed.append(self.now)
            if self._answers.pop(0) is None:
                self.rekeying.keyed(keys(f"after {self.now}"))
            else:
                self.rekeying.again()


REFUSED = AgentError(Reason.GLARE, "refused", side="remote")


def test_the_caller_rekeys_before_the_interval_is_over_again_and_again() -> None:
    call = Call(calls=True, may=True, answers=(None, None, None))
    call.run(250.0)
    assert call.proposed == [80.0, 160.0, 240.0]
    assert call.expired_at is None


def test_the_callee_leaves_it_to_the_caller_for_a_while() -> None:
    call = Call(calls=False, may=True, answers=(None,))
    call.run(80.0)
    assert call.proposed == []
    call.keyed("second")
    call.run(169.0)
    assert call.proposed == []
    call.run(171.0)
    assert call.proposed == [170.0]


def test_a_refused_rekeying_is_tried_again_until_the_keys_are_too_old() -> None:
    call = Call(calls=True, may=True, answers=(REFUSED,) * 10)
    call.run(200.0)
    assert call.proposed == [80.0, 85.0, 90.0, 95.0]
    assert call.expired_at == INTERVAL_S


@pytest.mark.parametrize("calls", [True, False])
def test_where_this_side_may_not_the_keys_expire(calls: bool) -> None:
    call = Call(calls=calls, may=False, answers=())
    call.run(200.0)
    assert call.proposed == []
    assert call.expired_at == INTERVAL_S


def test_the_same_keys_again_do_not_start_the_interval_anew() -> None:
    call = Call(calls=True, may=False, answers=())
    call.run(50.0)
    call.keyed("first")
    call.run(200.0)
    assert call.expired_at == INTERVAL_S


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_the_wait_after_glare_is_that_of_rfc_3261(random: int) -> None:
    """Section 14.1: 2.1 to 4 s for the owner of the Call-ID, 0 to 2 s for the other side."""
    assert 2.1 <= glare_wait_s(call_id_owner=True, random=random) <= 4.0
    assert 0.0 <= glare_wait_s(call_id_owner=False, random=random) <= 2.0
