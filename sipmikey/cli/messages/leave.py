"""Leaving a message: for somebody who did not answer, or without calling at all."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.messages.setup import failures_told, mailbox_of, own_box
from sipmikey.cli.messages.speech import FRAMES_PER_S, speech_at_terminal, speech_of
from sipmikey.cli.output import Output, timestamp
from sipmikey.mailbox.client import MailboxClient
from sipmikey.mailbox.delivery import Delivery
from sipmikey.media.g711 import PCMA
from sipmikey.settings import ConfigurationError
from sipmikey.system import environment
from sipmikey.ticket.identity import canonical

DAY_S = 86_400


class LeavingMessage:
    """A message for *uri*. What it says is looked at first, so that no call is made in vain.

    Raises ``ConfigurationError`` for a file, a mailbox or a microphone that cannot be used.
    """

    def __init__(self, args: argparse.Namespace, loaded: LoadedConfiguration) -> None:
        configuration = loaded.configuration
        self._configuration = configuration
        self._to = canonical(args.uri)
        self._mailbox = mailbox_of(configuration, self._to)
        file = args.message or configuration.media.play
        self._frames: tuple[bytes, ...] = ()
        if file is not None:
            self._frames = speech_of(file, longest_s=configuration.mailbox.longest)
        elif configuration.media.device == "null":
            raise ConfigurationError("--null-audio has no microphone: say what the message is with --message")

    async def leave(self, out: Output, *, quiet: bool) -> None:
        """Say it, protect it, leave it, and print that. Raises ``CommandFailed``."""
        configuration = self._configuration
        frames = self._frames or speech_at_terminal(
            configuration.media, longest_s=configuration.mailbox.longest
        )
        sent = await deliver(configuration, self._mailbox, self._to, frames)
        out.document({"ts": timestamp(time.time()), "type": "message.sent", "call": "", **sent})
        valid_until = sent["valid_until"]
        until = time.strftime("%Y-%m-%d %H:%M", time.localtime(valid_until))
        when = f"; it can be heard until {until}" if valid_until else ""
        why = ", as the KMS allows" if sent["shortened"] else ""
        if not quiet:
            out.text(f"A message of {sent['duration_s']:.0f} s was left for {self._to}{when}{why}.")


async def deliver(
    configuration: Configuration, mailbox: MailboxClient, to: str, frames: Sequence[bytes]
) -> dict[str, Any]:
    """Protect *frames* with a ticket for *to*, leave them at *mailbox*, and return what became of them.

    Raises ``CommandFailed``.
    """
    keys = agent_config(configuration).keys
    client = kms_client(configuration)
    valid_s = configuration.mailbox.valid_days * DAY_S
    with failures_told():
        try:
            delivery = Delivery(environment(), keys, client, own_box(configuration))
            sealed = await delivery.seal(to, frames, PCMA, valid_s=valid_s)
            kept = await mailbox.leave(to, sealed.deposit.encode())
        finally:
            if client is not None:
                await client.close()
    return {
        "to": to,
        "message": kept.name,
        "duration_s": len(frames) / FRAMES_PER_S,
        "octets": kept.size,
        "valid_until": sealed.valid_until or None,
        "shortened": sealed.shortened,
        "kept_until": kept.expires,
    }
