"""Reading SIP messages from a TCP connection, as the switchboard does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sipmikey.sip import SipMalformed, SipMessage
from sipmikey.sip.framing import FramingError, StreamFramer

_PIECE = 65_536


async def read_messages(reader: asyncio.StreamReader) -> AsyncIterator[SipMessage]:
    """Yield the messages of a TCP connection until it ends, or cannot be read. Keep-alives are skipped."""
    framer = StreamFramer()
    while True:
        try:
            octets = await reader.read(_PIECE)
            if not octets:
                return
            for message in framer.messages(octets):
                yield SipMessage.parse(message)
        except (ConnectionError, FramingError, SipMalformed):
            return
