"""The branches of an outgoing call, by the To-tags of their answers."""

from __future__ import annotations

from enum import StrEnum

from sipmikey.call.keying.agreement import Agreement


class Branch(StrEnum):
    """State of a branch: ``RINGING`` no keys, ``CANDIDATE`` keys, ``COMMITTED`` it has the call, ``GONE``."""

    RINGING = "ringing"
    CANDIDATE = "candidate"
    COMMITTED = "committed"
    GONE = "gone"


class Branches:
    """Which branches there are, what each agreed on or why it was refused, and which one has the call.

    The first description of a branch is its answer (RFC 3261 section 13.2.1). What it agreed on may change
    by an offer of its own (UPDATE) before its 200, once the answer came in a reliable provisional response.
    """

    def __init__(self) -> None:
        self._states: dict[str, Branch] = {}
        self._agreed: dict[str, Agreement] = {}
        self._refused: dict[str, BaseException] = {}
        self._settled: set[str] = set()
        self._last: BaseException | None = None

    def state(self, to_tag: str) -> Branch | None:
        """Return the state of a branch, None for an unknown branch."""
        return self._states.get(to_tag)

    def others(self, to_tag: str) -> bool:
        """Return whether a branch with another tag was heard of."""
        return any(tag != to_tag for tag in self._states)

    def agreement(self, to_tag: str) -> Agreement | None:
        """Return what a branch that is a candidate agreed on."""
        return self._agreed.get(to_tag)

    def refusal(self, to_tag: str) -> BaseException | None:
        """Return why the answer of a branch was refused, None where it was not."""
        return self._refused.get(to_tag)

    def settled(self, to_tag: str) -> bool:
        """Return True when a branch has answered our offer finally, so that it may offer in turn."""
        return to_tag in self._settled

    def rings(self, to_tag: str) -> None:
        """A provisional response without keys came."""
        self._states.setdefault(to_tag, Branch.RINGING)

    def answers(self, to_tag: str, agreement: Agreement) -> None:
        """A valid answer came, or an offer of the branch was answered: what it agreed on last counts."""
        self._states[to_tag] = Branch.CANDIDATE
        self._agreed[to_tag] = agreement

    def settles(self, to_tag: str) -> None:
        """Its answer came in a reliable provisional response (RFC 3262 section 5)."""
        self._settled.add(to_tag)

    def fails(self, to_tag: str, error: BaseException) -> None:
        """The branch's answer was refused: it never gets the call."""
        self._states[to_tag] = Branch.GONE
        self._agreed.pop(to_tag, None)
        self._settled.discard(to_tag)
        # The traceback would keep alive every object of the frames that it names.
        self._last = self._refused[to_tag] = error.with_traceback(None)

    def commit(self, to_tag: str) -> tuple[str, ...]:
        """Give the call to a branch; return the other candidates, which are gone now."""
        losers = tuple(
            tag for tag, state in self._states.items() if tag != to_tag and state is Branch.CANDIDATE
        )
        self._states[to_tag] = Branch.COMMITTED
        self.close()
        return losers

    def close(self) -> None:
        """Forget what is known of branches that can no longer get the call."""
        self._states = {tag: state for tag, state in self._states.items() if state is Branch.COMMITTED}
        self._agreed.clear()
        self._refused.clear()
        self._settled.clear()
        self._last = None

    @property
    def committed(self) -> str | None:
        """The To-tag that has the call, None while none has."""
        return next((tag for tag, state in self._states.items() if state is Branch.COMMITTED), None)

    @property
    def last_refusal(self) -> BaseException | None:
        """Why the answer that was refused last was refused."""
        return self._last

    @property
    def any(self) -> bool:
        """True when a branch gave a sign of life."""
        return bool(self._states)

    @property
    def open(self) -> bool:
        """True while a branch may still give a good answer."""
        return any(state in (Branch.RINGING, Branch.CANDIDATE) for state in self._states.values())
