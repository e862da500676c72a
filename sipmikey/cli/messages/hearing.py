"""Opening a message with the KMS's help, and hearing it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sipmikey.cli.calls.setup import agent_config, kms_client
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.exit_codes import CommandFailed
from sipmikey.cli.messages.opened_file import opened_path, read_opened, write_opened
from sipmikey.cli.messages.setup import failures_told, own_box
from sipmikey.cli.messages.speech import play_message, write_message
from sipmikey.cli.output import Output, timestamp
from sipmikey.deferred.claims import DepositFacts
from sipmikey.deferred.deposit import parse_deposit
from sipmikey.deferred.opening import OpenedMessage
from sipmikey.mailbox.delivery import Delivery
from sipmikey.phone.plain import duration
from sipmikey.settings import ConfigurationError
from sipmikey.system import environment

FOREVER = 32_503_680_000.0
"""The year 3000: until when a message is remembered whose ticket has no end."""


async def open_kept(
    configuration: Configuration, identity: str, name: str, octets: bytes
) -> tuple[OpenedMessage, DepositFacts]:
    """Open the message *name* of our mailbox. Raises ``CommandFailed``, also where it was left twice."""
    path = opened_path(identity)
    read_opened(path)  # a file that cannot be read is told before the KMS is asked
    message, facts = await _opened(configuration, identity, octets)
    with failures_told():
        transfer_init = parse_deposit(octets).transfer_init
        # Read now: while the KMS was asked, another message may have been opened.
        until = facts.valid_until or FOREVER
        known = read_opened(path).add(transfer_init, name, until=until, now=time.time())
    write_opened(path, known)
    return message, facts


async def _opened(
    configuration: Configuration, identity: str, octets: bytes
) -> tuple[OpenedMessage, DepositFacts]:
    client = kms_client(configuration)
    with failures_told():
        try:
            keys = agent_config(configuration).keys
            return await Delivery(environment(), keys, client, identity).open(octets)
        finally:
            if client is not None:
                await client.close()


def vouched(message: OpenedMessage, facts: DepositFacts) -> dict[str, Any]:
    """Return who a message is from, as the KMS says, and what it has, as JSON data."""
    return {
        "from": message.sender,
        "kms": facts.kms,
        "sent_at": facts.sent,
        "duration_s": message.duration_s,
    }


class Hearing:
    """Plays messages on the speaker, or writes them where ``media.record`` says."""

    def __init__(self, loaded: LoadedConfiguration, out: Output) -> None:
        self._configuration = loaded.configuration
        self._out = out
        self._identity = own_box(loaded.configuration)

    def check_place(self, count: int) -> None:
        """Raise ``ConfigurationError`` where *count* messages could not be heard."""
        media = self._configuration.media
        if count and media.record is None and media.device == "null":
            raise ConfigurationError("--null-audio has no speaker: say where to write messages with --record")

    async def of_file(self, path: Path) -> None:
        """Play a message that was fetched. Raises ``CommandFailed``."""
        self.check_place(1)
        try:
            octets = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from None
        message, facts = await _opened(self._configuration, self._identity, octets)
        self._hear("", message, facts, several=False)

    async def of_message(self, name: str, octets: bytes, *, several: bool) -> None:
        """Play the message *name* of the mailbox. Raises ``CommandFailed``, also where it was left twice."""
        message, facts = await open_kept(self._configuration, self._identity, name, octets)
        self._hear(name, message, facts, several=several)

    def _hear(self, name: str, message: OpenedMessage, facts: DepositFacts, *, several: bool) -> None:
        media = self._configuration.media
        path = media.record
        if path is not None and several:
            path = path.with_stem(f"{path.stem}-{name}")
        told = f"from {message.sender}, as {facts.kms} says, {duration(message.duration_s)}"
        self._out.text(f"{name or 'message'}: {told}" + (f", in {path}" if path is not None else ""))
        if path is not None:
            write_message(message, path)
        else:
            play_message(message, media)
        self._out.document(
            {
                "ts": timestamp(time.time()),
                "type": "message.played",
                "message": name,
                **vouched(message, facts),
                "file": path,
            }
        )

    def tell_failure(self, name: str, error: CommandFailed) -> None:
        """Tell that the message *name* was not heard, and why."""
        self._out.document(
            {
                "ts": timestamp(time.time()),
                "type": "message.refused",
                "message": name,
                "reason": error.reason,
                "detail": str(error),
            }
        )
        self._out.text(f"{name}: not opened: {error}")
