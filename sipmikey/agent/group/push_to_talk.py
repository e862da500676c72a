"""Push to talk: the microphone is open while its user presses the key and has the floor. No I/O."""

from __future__ import annotations

from typing import Protocol


class Party(Protocol):
    """A `Chair` or a `Member`."""

    @property
    def may_talk(self) -> bool:
        """True where we have the floor."""
        ...

    @property
    def another_talks(self) -> bool:
        """True where another party has it."""
        ...

    def ask_floor(self) -> object:
        """Ask for it."""
        ...

    def free_floor(self) -> None:
        """Give it back."""
        ...


class PushToTalk:
    """The switch of a microphone. ``pressed``: its user wants to talk.

    Call ``follow`` at each notice of the floor. A floor that comes too late is given back, and a user who
    lost the floor must press again.
    """

    def __init__(self, party: Party) -> None:
        self._party = party
        self.pressed = False
        self._had = False

    @property
    def may_talk(self) -> bool:
        """True where the microphone's sound may be sent now."""
        return self.pressed and self._party.may_talk

    def press(self) -> bool:
        """Ask for the floor; return False where another party has it."""
        if self._party.another_talks:
            return False
        self.pressed = True
        self._party.ask_floor()
        return True

    def release(self) -> None:
        """Give the floor back, or withdraw the request for it."""
        self.pressed = self._had = False
        self._party.free_floor()

    def follow(self) -> None:
        """The floor changed hands."""
        had, self._had = self._had, self.pressed and self._party.may_talk
        if self.pressed and (self._party.another_talks or (had and not self._had)):
            self.pressed = False
        elif not self.pressed and self._party.may_talk:
            self._party.free_floor()
