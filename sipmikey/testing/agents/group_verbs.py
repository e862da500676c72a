"""Talking in a group: its session, who is in it, and what is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sipmikey.media.similarity import Likeness, compare_files
from sipmikey.testing.agent_driver import WAIT_S, CallRefused, Fields, TestFailure
from sipmikey.testing.agents.driven import Driven
from sipmikey.testing.external import OwnKms
from sipmikey.testing.kms import TestKms


@dataclass(kw_only=True)
class TestGroup:
    """A group of the KMS. ``media``: the multicast address of its session, ``HOST:PORT``.

    ``chair``: the agent that opened the session; ``via``: where it is reached, empty for by the proxy.
    """

    __test__ = False

    identity: str
    media: str
    kms: TestKms | OwnKms
    chair: Driven | None = field(default=None, repr=False)
    via: str = ""
    members: set[str] = field(default_factory=set)

    def add(self, *members: Driven | str) -> None:
        """Have the KMS take members in."""
        names = tuple(map(_identity, members))
        self.kms.add_to_group(self.identity, *names)
        self.members.update(names)

    def remove(self, *members: Driven | str) -> None:
        """Have the KMS put members out: they do not get the next key of a session."""
        names = tuple(map(_identity, members))
        self.kms.remove_from_group(self.identity, *names)
        self.members.difference_update(names)

    def empty(self) -> None:
        """Have the KMS put every member out."""
        if self.members:
            self.remove(*self.members)


class GroupVerbs(Driven):
    """Verbs within the session of a group, one at a time; each raises `CallRefused` where that fails."""

    _listened = 0

    def open_group(self, group: TestGroup, *, announces: bool = False, floor_s: float | None = None) -> None:
        """Open the session of *group* as its chair.

        *announces*: only the chair talks. *floor_s*: how long a member may talk at a time.
        """
        self._group(
            "open", group=group.identity, media=group.media, announces=announces, floor_s=floor_s,
            interface=self.settings.bind,
        )  # fmt: skip
        group.chair = self

    def join_group(self, group: TestGroup, *, timeout_s: float = WAIT_S) -> None:
        """Join the session that the chair of *group* opened; return when its key is in use."""
        if group.chair is None:
            raise TestFailure(f"no agent has opened the session of {group.identity}: open_group()")
        self._group(
            "join", group=group.identity, chair=group.chair.identity, via=group.via,
            interface=self.settings.bind, timeout_s=timeout_s,
        )  # fmt: skip

    def expect_not_let_in(
        self, group: TestGroup, *, reason: str = "kms-refused", timeout_s: float = WAIT_S
    ) -> CallRefused:
        """Try to join, and check that we are kept out for that *reason*."""
        try:
            self.join_group(group, timeout_s=timeout_s)
        except CallRefused as refused:
            if refused.reason != reason:
                raise TestFailure(f"expected {reason}, but {refused}") from None
            return refused
        raise TestFailure(f"{self.name} was let into {group.identity}; expected {reason}")

    def expect_joined(self, member: Driven, *, timeout_s: float = WAIT_S) -> Fields:
        """Wait, as the chair, until *member* has the key."""
        return self.wait_for("kit.group_joined", member=member.identity, timeout_s=timeout_s)

    def talk(self, wav: Path | str, *, timeout_s: float = WAIT_S) -> None:
        """Ask for the floor, say *wav* when we have it, and give the floor back."""
        told: Fields = self._group("talk", wav=str(wav), timeout_s=timeout_s)
        if not told["whole"]:
            raise TestFailure(f"{self.name} lost the floor after {told['said_s']:.2f} s")

    def expect_speech(self, wav: Path | str, *, timeout_s: float = WAIT_S) -> Likeness:
        """Wait until another party has talked and given the floor back, and check that it said *wav*."""
        process = self.process

        def over() -> Fields | None:
            """Return the event with which another party gave the floor back."""
            began = False
            for event in process.seen[self._listened :]:
                if event["type"] == "kit.group_floor":
                    if began and not event["member"]:
                        return event
                    began = began or event["member"] not in ("", "us", self.identity)
            return None

        end = process.wait("end of what another party says", over, timeout_s=timeout_s)
        self._listened = process.seen.index(end) + 1
        heard = self.folder / f"group-{self._listened}.wav"
        frames = self._group("heard", wav=str(heard))
        likeness = compare_files(Path(wav), heard) if frames else None
        if likeness is None or not likeness.same:
            what = f"correlation {likeness.score}" if likeness else "nothing was heard"
            raise TestFailure(f"{self.name} did not hear {Path(wav).name} in the group: {what}")
        return likeness

    def take_floor_away(self) -> None:
        """Take the floor, as the chair, from the member that talks."""
        self._group("take_floor_away")

    def rekey_group(self, *, timeout_s: float = WAIT_S) -> None:
        """Give, as the chair, all members that are still in the group a new key."""
        self._group("rekey", timeout_s=timeout_s)

    def expect_out(self, *, reason: str = "kms-refused", timeout_s: float = WAIT_S) -> Fields:
        """Wait until the session is over for us, and check why."""
        ended = self.wait_for("kit.group_ended", timeout_s=timeout_s)
        if ended["reason"] != reason:
            raise TestFailure(f"{self.name} is out for {ended['reason']} ({ended['detail']}), not {reason}")
        return ended

    def leave_group(self) -> None:
        """Leave the session; it is over where we are the chair."""
        self._group("leave")

    def _group(self, what: str, *, timeout_s: float = WAIT_S, **given: object) -> Any:
        return self.do("group", what=what, timeout_s=timeout_s, **given)


def _identity(party: Driven | str) -> str:
    return party if isinstance(party, str) else party.identity
