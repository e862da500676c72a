"""Reading SIP messages from a TCP connection, as the switchboard does."""

from __future__ import annotations

import asyncio

from sipmikey.sip import SipMalformed, SipMessage

MAX_OCTETS = 65_536


async def read_message(reader: asyncio.StreamReader) -> SipMessage | None:
    """Return the next message of a TCP connection, None at its end. Keep-alives are skipped."""
    while True:
        try:
            line = await reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return None
        if line != b"\r\n":
            break
    try:
        head = line + await reader.readuntil(b"\r\n\r\n")
        message = SipMessage.parse(head)
        length = int(message.first("content-length") or 0)
        if not 0 <= length <= MAX_OCTETS:
            return None
        return message.with_content(await reader.readexactly(length))
    except (
        asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, SipMalformed, ValueError,
    ):  # fmt: skip
        return None
