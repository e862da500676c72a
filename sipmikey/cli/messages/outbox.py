"""What leaves messages for an agent: from its microphone, or a file, to the mailbox of the other side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.exit_codes import CommandFailed
from sipmikey.cli.messages.box import failures_named
from sipmikey.phone.edge.box import Facts, MessageFailed
from sipmikey.ticket.identity import canonical


def outbox_of(configuration: Configuration) -> OwnOutbox | None:
    """Return what leaves messages, None where no mailbox is configured."""
    mailbox = configuration.mailbox
    return OwnOutbox(configuration) if mailbox.url or mailbox.domains else None


@dataclass(slots=True)
class _Recording:
    """What is recorded. ``over`` ends it; ``dropped``: it is thrown away then."""

    over: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False


class OwnOutbox:
    """Implements `sipmikey.phone.edge.box.Outbox`.

    Where `media.play` names a WAV, that takes the place of the microphone, as it does in calls.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._recording: _Recording | None = None

    @property
    def recording(self) -> bool:
        """True while a message is recorded."""
        return self._recording is not None

    async def leave(
        self, uri: str, *, file: Path | None, device: str, tell: Callable[[Facts], None]
    ) -> Facts:
        """Record or read the message, protect it, and leave it."""
        # Loaded late: what protects messages takes SRTP in Python.
        from sipmikey.cli.messages.leave import deliver
        from sipmikey.cli.messages.setup import mailbox_of
        from sipmikey.cli.messages.speech import speech_of

        to, longest = canonical(uri), self._configuration.mailbox.longest
        with failures_named():
            mailbox = mailbox_of(self._configuration, to)
            if file is not None:
                frames: Sequence[bytes] = speech_of(file, longest_s=longest)
            else:
                self._recording = recording = _Recording()
                try:
                    frames = await self._recorded(recording, device, longest, tell)
                finally:
                    recording.over.set()
                    self._recording = None
                if recording.dropped:
                    return {"sent": False}
            tell({"type": "message.sending"})
            return {"sent": True, **await deliver(self._configuration, mailbox, to, frames)}

    async def _recorded(
        self, recording: _Recording, device: str, longest: float, tell: Callable[[Facts], None]
    ) -> Sequence[bytes]:
        from sipmikey.cli.messages.speech import speech_of, speech_of_microphone

        media, begun = self._configuration.media, {"type": "message.recording", "longest_s": longest}
        if media.play is not None:
            frames = speech_of(media.play, longest_s=longest)
            tell(begun)
            await asyncio.to_thread(recording.over.wait, longest)
            return frames
        if media.device == "null":
            raise MessageFailed(
                "there is no microphone (media.device = null)", reason="no-sound-device", side="local"
            )
        tell(begun)
        try:
            return await asyncio.to_thread(
                speech_of_microphone, device or media.input, longest_s=longest, stop=recording.over
            )
        except CommandFailed:
            if recording.dropped:  # it may have been too short for any sound
                return ()
            raise

    def send(self) -> bool:
        """End the recording; it is left then."""
        return self._end(dropped=False)

    def drop(self) -> bool:
        """End the recording and throw it away."""
        return self._end(dropped=True)

    def _end(self, *, dropped: bool) -> bool:
        recording = self._recording
        if recording is None or recording.over.is_set():
            return False
        recording.dropped = dropped
        recording.over.set()
        return True
