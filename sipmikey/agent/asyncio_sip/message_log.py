"""The SIP messages of an agent, in a file that its owner alone can read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sipmikey.agent.asyncio_sip.wire.target import Endpoint, shown
from sipmikey.agent.config import AgentConfig, Transport
from sipmikey.agent.stack import StackError
from sipmikey.guard import create_private

_MESSAGES_FROM: Final = 4
"""The level from which on pjsip logs messages, too."""


class MessageLog:
    """Writes to *path*. *whole*: messages with their bodies, else their first lines.

    Raises ``StackError`` where the file cannot be written.
    """

    def __init__(self, path: Path, *, whole: bool) -> None:
        self._whole = whole
        try:
            create_private(path)
            self._file = path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise StackError(f"log to {path}: {error.strerror or error}") from None

    def note(self, octets: bytes, transport: Transport, remote: Endpoint, *, sent: bool) -> None:
        """Write down a message."""
        text = octets.decode(errors="backslashreplace").replace("\r\n", "\n")
        way = "to" if sent else "from"
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._file.write(f"{time} {way} {transport} {shown(remote)}, {len(octets)} octets\n")
        self._file.write((text if self._whole else text.partition("\n")[0]).rstrip("\n") + "\n\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def message_log(config: AgentConfig, *, private: bool) -> MessageLog | None:
    """Return the log that *config* names, None without one.

    *private*: keys may be in descriptions, which are left out.
    """
    if config.log_file is None:
        return None
    log = MessageLog(config.log_file, whole=not private)
    if config.log_level < _MESSAGES_FROM:
        log.close()
        return None
    return log
