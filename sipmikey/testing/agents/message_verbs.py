"""Leaving messages for other agents, and hearing those that were left."""

from __future__ import annotations

from pathlib import Path

from sipmikey.media.similarity import compare_files
from sipmikey.testing.agent_driver import WAIT_S, Fields, TestFailure
from sipmikey.testing.agents.driven import Driven
from sipmikey.testing.external import PhoneUnderTest
from sipmikey.testing.mailbox import TestMailbox

DAY_S = 86_400.0


class MessageVerbs(Driven):
    """Verbs about messages. Each raises `CallRefused` where the KMS or the mailbox refuses."""

    mailbox: TestMailbox | None

    def leave_message(
        self,
        to: Driven | PhoneUnderTest | str,
        wav: Path | str,
        *,
        valid_s: float = DAY_S,
        timeout_s: float = WAIT_S,
    ) -> Fields:
        """Leave the speech of *wav* for *to*, who can hear it for *valid_s* seconds.

        Returns ``message``, its name, and ``valid_until``, Unix seconds.
        """
        mailbox, box = self._mailbox(), _identity(to)
        mailbox.token(box)
        left: Fields = self.do(
            "leave_message", to=box, wav=str(wav), valid_s=valid_s, mailbox=mailbox.url, timeout_s=timeout_s
        )
        return left

    def expect_message(
        self,
        *,
        sender: Driven | PhoneUnderTest | str | None = None,
        audio: Path | str | None = None,
        box: str | None = None,
        timeout_s: float = WAIT_S,
    ) -> Fields:
        """Hear the oldest message that was not heard; check whom the KMS vouches for and what is said.

        *box*: that of a group, by default our own. Returns ``message``, ``sender``, ``kms``, ``duration_s``
        and ``file``, a WAV file.
        """
        mailbox, place = self._mailbox(), box or self.identity
        wav = self.folder / f"message-{sum(1 for _ in self.folder.glob('message-*.wav')) + 1}.wav"
        heard: Fields | None = self.do(
            "hear_message", box=place, mailbox=mailbox.url, token=mailbox.token(place), wav=str(wav),
            timeout_s=timeout_s,
        )  # fmt: skip
        if heard is None:
            raise TestFailure(f"{self.name}: there is no message for {place} that was not heard")
        if sender is not None and heard["sender"] != _identity(sender):
            raise TestFailure(f"{self.name}: the message is from {heard['sender']}, not {_identity(sender)}")
        if audio is not None and not (likeness := compare_files(Path(audio), wav)).same:
            raise TestFailure(
                f"{self.name}: the message is not {Path(audio).name}: correlation {likeness.score},"
                f" {likeness.matched} of {likeness.sections} sections found"
            )
        return heard

    def _mailbox(self) -> TestMailbox:
        if self.mailbox is None:
            raise TestFailure(f"{self.name} was made without a mailbox")
        return self.mailbox


def _identity(party: Driven | PhoneUnderTest | str) -> str:
    if isinstance(party, PhoneUnderTest):
        return party.uri
    return party if isinstance(party, str) else party.identity
