"""Our box, for an agent: its messages are listed, played on the phone's speaker, and deleted."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.messages.setup import failures_told, own_box, own_mailbox
from sipmikey.cli.messages.shown import facts_of
from sipmikey.phone.edge.box import Facts, MessageFailed


def box_of(configuration: Configuration) -> OwnBox | None:
    """Return our box, None where no mailbox of ours is configured."""
    mailbox = configuration.mailbox
    if not mailbox.url or (mailbox.token_file is None and mailbox.certificate_file is None):
        return None
    return OwnBox(configuration)


@dataclass(slots=True)
class _Playing:
    """A message that plays. ``over`` ends it; ``stopped``: its user did."""

    over: threading.Event = field(default_factory=threading.Event)
    stopped: bool = False


class OwnBox:
    """Implements `sipmikey.phone.edge.box.Box`; one message is played at a time."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._box = own_box(configuration)
        self._mailbox = own_mailbox(configuration)
        self._playing = _Playing()

    async def listed(self) -> list[Facts]:
        """Return what the mailbox tells of each message."""
        now = time.time()
        return [facts_of(message, now) for message in await self._mailbox.messages(self._box)]

    async def play(self, name: str, *, output: str, begins: Callable[[Facts], None]) -> Facts:
        """Open the message *name* with the KMS's help and play it; what played before is stopped."""
        # Loaded late: what opens messages takes SRTP in Python, which a list does without.
        from sipmikey.cli.messages.hearing import open_kept, vouched
        from sipmikey.cli.messages.speech import play_message

        media = self._configuration.media
        if media.device == "null":
            raise MessageFailed(
                "there is no speaker (media.device = null)", reason="no-sound-device", side="local"
            )
        self.stop()
        playing = self._playing = _Playing()
        with failures_named():
            octets = await self._mailbox.fetch(self._box, name)
            message, facts = await open_kept(self._configuration, self._box, name, octets)
            told = vouched(message, facts)
            if playing.stopped:
                return {**told, "stopped": True}
            begins(told)
            speaker = replace(media, output=output or media.output)
            await asyncio.to_thread(play_message, message, speaker, stop=playing.over)
            await self._mailbox.mark_heard(self._box, name)
        return {**told, "stopped": playing.stopped}

    def stop(self) -> None:
        """Stop what plays."""
        self._playing.stopped = True
        self._playing.over.set()

    async def delete(self, name: str) -> None:
        """Delete the message *name* at the mailbox."""
        with failures_named():
            await self._mailbox.delete(self._box, name)


@contextmanager
def failures_named() -> Iterator[None]:
    """Turn what goes wrong with mailbox, KMS or sound into ``MessageFailed``."""
    try:
        with failures_told():
            yield
    except CommandFailed as error:
        side = "kms" if error.code is ExitCode.KMS else "local"
        raise MessageFailed(str(error), reason=error.reason, side=side) from None
