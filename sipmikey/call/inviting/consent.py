"""With whom the user agrees to talk instead of the party dialled (``security.retarget``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from sipmikey.call.policy import Retarget
from sipmikey.ticket.identity import same_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to the user: talk to *peer* (canonical) instead of ``called``, the party dialled?

    ``call``: the number of the call. ``kms``: who vouches that it is *peer*; None where a redirection names
    *peer*, who is not called yet.
    """

    call: str
    peer: str
    called: str
    kms: str | None = None


Decide = Callable[[Question], Awaitable[bool]]
"""Answers a question in the event loop. Cancelled when the call ends first."""


class Consent:
    """What is accepted for one call to *dialled* (canonical).

    *groups*: identities of groups, for which a member answers (``security.groups``). *answers_for*, in what
    is asked, is whom the ticket is for: where that is a group, the KMS vouches for members only.
    """

    def __init__(self, retarget: Retarget, dialled: str, groups: Collection[str] = ()) -> None:
        self._retarget = retarget
        self._known = {dialled}
        self._groups = groups

    def refuses(self, peer: str, *, answers_for: str = "") -> bool:
        """True when policy refuses *peer* without a question."""
        return self._retarget is Retarget.REFUSE and not self._knows(peer, answers_for)

    def lacks(self, peer: str, *, answers_for: str = "") -> bool:
        """True when the user has to be asked about *peer* first."""
        return self._retarget is Retarget.ASK and not self._knows(peer, answers_for)

    def give(self, peer: str) -> None:
        """The user accepts *peer*."""
        self._known.add(peer)

    def _knows(self, peer: str, answers_for: str) -> bool:
        if any(same_identity(answers_for, group) for group in self._groups):
            return True
        return any(same_identity(peer, known) for known in self._known)
