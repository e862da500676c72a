"""Messages that an agent under test leaves and hears (docs/deferred.md)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sipmikey.agent import Agent
from sipmikey.mailbox.client import MailboxClient
from sipmikey.mailbox.delivery import Delivery, KmsClient
from sipmikey.media.codecs.codec import frame_ticks
from sipmikey.media.g711 import PCMA
from sipmikey.media.wav import WavRecorder, read_frames
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.testing.agent_process.lines import Fields, say


class Messages:
    """The messages of *agent*. *kms* carries what is asked of the KMS."""

    def __init__(self, agent: Agent, kms: KmsClient | None) -> None:
        self._agent = agent
        self._kms = kms

    async def leave(self, *, to: str, wav: str, valid_s: float, mailbox: str) -> Fields:
        """Leave the speech of *wav* for *to*; return the name of the message and until when it can be heard.

        *mailbox*: its URL. Raises ``AgentError`` where the KMS gives no ticket, and what
        `MailboxClient` raises.
        """
        sealed = await self._delivery().seal(to, read_frames(Path(wav), PCMA), PCMA, valid_s=valid_s)
        kept = await MailboxClient(mailbox).leave(to, sealed.deposit.encode())
        return {"message": kept.name, "valid_until": sealed.valid_until}

    async def hear(self, *, box: str, mailbox: str, token: str, wav: str) -> Fields | None:
        """Open the oldest message of *box* that was not heard, and write it to *wav*; None if there is none.

        A message that cannot be opened stays. Raises ``AgentError`` where the KMS does not resolve the
        ticket, the `PeerError` that says what is wrong with the message, and what `MailboxClient` raises.
        """
        client = MailboxClient(mailbox, token=Secret(token.encode()))
        kept = next((one for one in await client.messages(box) if not one.heard), None)
        if kept is None:
            return None
        message, facts = await self._delivery().open(await client.fetch(box, kept.name))
        recorder = WavRecorder(Path(wav), message.codec)
        for number, frame in enumerate(message.frames):
            recorder.put(number * frame_ticks(message.codec), frame)
        recorder.close()
        await client.mark_heard(box, kept.name)
        told: dict[str, Any] = {
            "message": kept.name,
            "sender": message.sender,
            "kms": facts.kms,
            "duration_s": message.duration_s,
            "file": wav,
        }
        say({"type": "kit.message_heard", "at": time.time(), **told})
        return told

    def _delivery(self) -> Delivery:
        config = self._agent.config
        return Delivery(environment(), config.keys, self._kms, config.identity)
