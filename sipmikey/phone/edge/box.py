"""What a phone does with the messages left for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from sipmikey.mikey.errors import LocalError

Facts: TypeAlias = dict[str, Any]


class MessageFailed(LocalError):
    """A message could not be opened, heard or deleted. ``reason``: a word for programs; ``side``: whose."""

    def __init__(self, detail: str, *, reason: str, side: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.side = side


class Box(Protocol):
    """Our box at the mailbox, and the speaker its messages are played on.

    What goes wrong is a ``LocalError``, of the kind ``MessageFailed`` where mailbox or KMS say no.
    """

    async def listed(self) -> list[Facts]:
        """Return what is told of each message before it is opened."""
        ...

    async def play(self, name: str, *, output: str, begins: Callable[[Facts], None]) -> Facts:
        """Have the KMS asked, play the message on the device *output*, and mark it as heard.

        *begins* is told what the KMS vouches for when the sound begins. Returns it, too, with ``stopped``.
        """
        ...

    def stop(self) -> None:
        """Stop what plays."""
        ...

    async def delete(self, name: str) -> None:
        """Delete a message at the mailbox."""
        ...


class Outbox(Protocol):
    """What leaves messages for others: a microphone, the KMS, and mailboxes. One message at a time.

    What goes wrong is a ``LocalError``, of the kind ``MessageFailed`` where mailbox, KMS or sound say no.
    """

    @property
    def recording(self) -> bool:
        """True while a message is recorded."""
        ...

    async def leave(
        self, uri: str, *, file: Path | None, device: str, tell: Callable[[Facts], None]
    ) -> Facts:
        """Leave for *uri* what *file* says, or what is said into the microphone *device*.

        *tell* is given ``message.recording`` and ``message.sending`` as they begin. Returns facts of what
        was left, or ``{"sent": False}`` for what was thrown away.
        """
        ...

    def send(self) -> bool:
        """End the recording and leave it; return False where nothing is recorded."""
        ...

    def drop(self) -> bool:
        """End the recording and throw it away; return False where nothing is recorded."""
        ...
