"""Caller and callee of one established call, joined by a wire: both may want a change at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.state import CallState
from tests.call.fakes import FakeTicket
from tests.call.talking import (
    TalkingCallee,
    TalkingCaller,
    answered,
    answers,
    not_sent,
    offers,
    peer_offers,
    propose,
)
from tests.call.worlds import ring

NAMES = ("caller", "callee")


class Pair:
    """Two machines. ``wires``: what is under way to each. ``left``: changes that the users still want.

    A message is an offer (``offer``, ``rekey``) or the status of a response, 200 with its answer.
    """

    def __init__(self, *, changes: int = 1) -> None:
        self.sides: tuple[Any, Any] = (TalkingCaller(), TalkingCallee())
        self.wires: tuple[list[str], list[str]] = ([], [])
        self.left = [changes, changes]

    def parts(self) -> object:
        return [*(side.parts() for side in self.sides), self.wires, self.left]

    @property
    def quiet(self) -> bool:
        """True when nothing is under way."""
        busy = any(side.wanted or side.ours or side.theirs or side.proposed for side in self.sides)
        return not busy and not any(self.wires)

    @property
    def over(self) -> bool:
        return self.quiet and not any(self.left)

    def moves(self) -> Iterator[tuple[str, Callable[[Any], None]]]:
        for number, side in enumerate(self.sides):
            name = NAMES[number]
            if self.left[number] and not side.proposed:
                for kind in (i.Kind.HOLD, i.Kind.REKEY):
                    yield f"{name}: {kind}", functools.partial(_propose, number=number, kind=kind)
            if side.wanted:
                if side.theirs:
                    # No stack offers while an offer waits for its answer (RFC 3264 section 4).
                    yield f"{name}: nothing is sent", functools.partial(_not_sent, number=number)
                else:
                    yield f"{name}: the offer is sent", functools.partial(_offer, number=number)
            if side.theirs:
                yield f"{name}: the answer is sent", functools.partial(_answer, number=number)
            if o.Timer.GLARE in side.timers:
                yield f"{name}: tries again", functools.partial(_try_again, number=number)
            if self.wires[number]:
                yield f"{name}: {self.wires[number][0]} arrives", functools.partial(_arrive, number=number)

    def check(self) -> None:
        for side in self.sides:
            side.check()
            assert side.machine.state is CallState.TALKING, "two that want a change at once lose the call"
        if self.quiet:
            caller, callee = (side.keying for side in self.sides)
            assert isinstance(caller, FakeTicket)
            assert isinstance(callee, FakeTicket)
            assert caller.generation == callee.generation, "the two sides run on different keys"


def _propose(pair: Pair, number: int, kind: i.Kind) -> None:
    pair.left[number] -= 1
    propose(pair.sides[number], kind)


def _offer(pair: Pair, number: int) -> None:
    offers(pair.sides[number])
    pair.wires[1 - number].append(pair.sides[number].keying.made)


def _not_sent(pair: Pair, number: int) -> None:
    not_sent(pair.sides[number])


def _answer(pair: Pair, number: int) -> None:
    answers(pair.sides[number])
    pair.wires[1 - number].append("200")


def _try_again(pair: Pair, number: int) -> None:
    ring(pair.sides[number], o.Timer.GLARE)


def _arrive(pair: Pair, number: int) -> None:
    message, side = pair.wires[number].pop(0), pair.sides[number]
    if message.isdecimal():
        answered(side, status=int(message), sdp="good" if message == "200" else None)
        return
    peer_offers(side, sdp=message)
    if not side.theirs:
        pair.wires[1 - number].append("491")
