"""Which calls can be mixed: those of one process."""

from __future__ import annotations

from typing import Any

from sipmikey.agent.isolation import messages as m
from sipmikey.agent.isolation.calls import RemoteCall
from sipmikey.agent.stack import Seat


def test_calls_of_one_process_can_be_mixed_and_no_others() -> None:
    asked: list[m.Question] = []

    def here(question: m.Question) -> Any:
        asked.append(question)

    def elsewhere(question: m.Question) -> Any:
        raise AssertionError(question)

    one, other = (RemoteCall(number, here, python_media=False) for number in (1, 3))
    away = RemoteCall(1, elsewhere, python_media=False)
    assert one.mixes_with(other)
    assert not one.mixes_with(away)
    one.seat(Seat(room="1", present=False))
    assert asked == [m.TakeSeat(call=1, seat=Seat(room="1", present=False))]
