"""The worlds that are explored, and how states are compared."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from typing import Any

from sipmikey.call.keying.known import known
from sipmikey.call.keying.lanes import Lane
from sipmikey.call.policy import CallPolicy, Fallback, Retarget, SecurityMode
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState
from sipmikey.ticket.environment import Environment
from tests.agent.keyings.prearranged import PREARRANGED
from tests.call.called import CalleeWorld
from tests.call.calling import CallerWorld
from tests.call.calling import known as known_of
from tests.call.explore import Report, explore
from tests.call.fakes import CAROL, FakeKeyings
from tests.call.pair import Pair
from tests.call.talking import ReturnedCaller, TalkingCallee, TalkingCaller
from tests.call.values import Comparer
from tests.call.worlds import World

PREFERRED = CallPolicy(
    security=SecurityMode.PREFERRED, fallback=Fallback.BOTH, alternative="sdes-without-tls"
)

FIRST = CallPolicy(security=SecurityMode.PREFERRED, fallback=Fallback.BOTH, alternative="prearranged")

TRIES = 2
"""Of a change that meets glare: the third try differs from the second in nothing but its number."""

REFUSAL = AgentError(Reason.TOO_MANY_CALLS, "too many calls in a short time", side="local")

SCENARIOS: dict[str, Callable[[], World | Pair]] = {
    "caller, three branches": CallerWorld,
    "caller, an answer copied to another branch": lambda: CallerWorld(tags="ac", answers=("good", "copied")),
    "caller, a stack with one dialog": lambda: CallerWorld(tags="ac", many_dialogs=False),
    "caller, two parties, consent": lambda: CallerWorld(
        tags="ab", answers=("good", "bad"), policy=CallPolicy(retarget=Retarget.ASK)
    ),
    "caller, an UPDATE before the 200": lambda: CallerWorld(
        tags="ac", answers=("good",), many_dialogs=False, updates=("offer", "rekey", "bad")
    ),
    "caller, an UPDATE before the 200, consent": lambda: CallerWorld(
        tags="b", answers=("good",), policy=CallPolicy(retarget=Retarget.ASK), updates=("offer", "rekey")
    ),
    "caller, redirected to another, consent": lambda: CallerWorld(
        tags="a",
        answers=("good",),
        policy=CallPolicy(retarget=Retarget.ASK),
        failures=(302,),
        contacts=(CAROL,),
        redirects=1,
    ),
    "caller, redirected": lambda: CallerWorld(
        tags="a", answers=("good", "bad"), failures=(486, 302), contacts=("sip:bob@192.0.2.1", CAROL)
    ),
    "caller, preferred": lambda: CallerWorld(
        tags="ac", answers=("good", "none"), policy=PREFERRED, failures=(488, 486)
    ),
    "caller, a keying before the ticket": lambda: CallerWorld(
        tags="ac", answers=("good", "none"), policy=FIRST, kind=PREARRANGED, failures=(488, 486)
    ),
    "caller, in clear": lambda: CallerWorld(tags="ac", answers=("good",), clear=True),
    "callee": CalleeWorld,
    "callee, two tickets": lambda: CalleeWorld(tickets=2),
    "callee, a bad offer": lambda: CalleeWorld(offer="bad"),
    "callee, no offer": lambda: CalleeWorld(offer=None),
    "callee, SDES": lambda: CalleeWorld(lane=Lane.BY_STACK),
    "callee, in clear": lambda: CalleeWorld(lane=Lane.CLEAR),
    "callee, refused": lambda: CalleeWorld(lane=Lane.REFUSED, refusal=REFUSAL),
    "callee, replacing": lambda: CalleeWorld(replacing=True),
    "within a call, the caller": TalkingCaller,
    "within a call, the callee": TalkingCallee,
    "within a call, all but changes": lambda: TalkingCaller(changes=False),
    "within a call, a change that waits": lambda: TalkingCaller(wishes=True),
    "within a call, keys that age": lambda: TalkingCaller(rekey=True),
    "within a call, a branch that came back": ReturnedCaller,
    "within a call, both sides": Pair,
}


DEEP_SCENARIOS: dict[str, Callable[[], World | Pair]] = {
    "caller, four branches": lambda: CallerWorld(tags="acde", answers=("good", "bad", "none")),
    "caller, three branches, consent": lambda: CallerWorld(
        tags="abc", answers=("good", "bad", "none"), policy=CallPolicy(retarget=Retarget.ASK)
    ),
    "within a call, both sides, twice each": lambda: Pair(changes=2),
}
"""What takes minutes: explored with ``python -m tests.call --deep`` only."""


def is_over(world: World | Pair) -> bool:
    if isinstance(world, Pair):
        return world.over
    return world.machine.state is CallState.OVER


_CONSTANT = (CallSettings, Environment, FakeKeyings, CallPolicy)


def comparer(world: World | Pair) -> Callable[[Any], Hashable]:
    """Return what makes a value of a state.

    Branches are alike where nobody is asked who they are, since the machine knows a To-tag only by comparing
    it with another: they are renamed in an order that depends on nothing but what is known of each.
    """
    if not isinstance(world, CallerWorld) or world.consents:
        plain = Comparer({}, _CONSTANT)
        return lambda world: plain.value(world.parts())
    names = sorted(world.tags)
    comparers = {
        naming: Comparer(dict(zip(naming, names, strict=True)), _CONSTANT)
        for naming in itertools.permutations(names)
    }

    def key(world: CallerWorld) -> Hashable:
        order = tuple(sorted(names, key=lambda tag: known_of(world, tag)))
        return comparers[order].value(world.parts())

    return key


def run(name: str) -> Report:
    """Explore the scenario of that name. Raises ``Violation``."""
    with known(PREARRANGED):
        world = (SCENARIOS | DEEP_SCENARIOS)[name]()
        return explore(world, comparer(world), is_over=is_over)
