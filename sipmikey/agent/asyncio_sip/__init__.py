"""The second SIP stack: SIP in Python on asyncio, with media by `sipmikey.media`."""
