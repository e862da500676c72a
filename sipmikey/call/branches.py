"""The branches of an outgoing call, by the To-tags of their answers."""

from __future__ import annotations

from enum import StrEnum


class Branch(StrEnum):
    """State of a branch: ``RINGING`` no keys, ``CANDIDATE`` keys, ``COMMITTED`` it has the call, ``GONE``."""

    RINGING = "ringing"
    CANDIDATE = "candidate"
    COMMITTED = "committed"
    GONE = "gone"


class Branches:
    """Which branches there are and which one has the call. The keys themselves are the ``Offerer``'s."""

    def __init__(self) -> None:
        self._states: dict[str, Branch] = {}

    def state(self, to_tag: str) -> Branch | None:
        """Return the state of a branch, None for one never heard of."""
        return self._states.get(to_tag)

    def rings(self, to_tag: str) -> None:
        """A provisional response without keys came."""
        self._states.setdefault(to_tag, Branch.RINGING)

    def answers(self, to_tag: str) -> bool:
        """A valid TRANSFER_RESP came; return True when it is the branch's first."""
        first = self._states.get(to_tag) in (None, Branch.RINGING)
        if first:
            self._states[to_tag] = Branch.CANDIDATE
        return first

    def fails(self, to_tag: str) -> None:
        """The branch's answer was refused: it never gets the call."""
        self._states[to_tag] = Branch.GONE

    def commit(self, to_tag: str) -> tuple[str, ...]:
        """Give the call to a branch; return the other candidates, which are gone now."""
        losers = tuple(
            tag for tag, state in self._states.items() if tag != to_tag and state is Branch.CANDIDATE
        )
        for tag in self._states:
            self._states[tag] = Branch.GONE
        self._states[to_tag] = Branch.COMMITTED
        return losers

    @property
    def committed(self) -> str | None:
        """The To-tag that has the call, None while none has."""
        return next((tag for tag, state in self._states.items() if state is Branch.COMMITTED), None)

    def __len__(self) -> int:
        return len(self._states)
