"""Linphone refused each description of the stack in Python: one line of it had lost its CR."""

from __future__ import annotations

import re

from sipmikey.agent.asyncio_sip.media.all_calls import Media
from sipmikey.agent.asyncio_sip.media.description import offer
from sipmikey.agent.config import AgentConfig, Sip


def test_each_line_of_a_description_ends_with_crlf() -> None:
    media = Media(AgentConfig(identity="sip:a@example.com", sip=Sip(bind="127.0.0.1", stack="python")), "::1")
    call = media.call(lambda digit: None)
    try:
        sdp = call.describe(offer("192.0.2.1", 1, ["RTP/AVP"], ("PCMA",), held=False, shared=False))
    finally:
        call.close()
        media.close()
    assert "\r\nc=IN IP6 ::1\r\n" in sdp
    assert re.search(r"(?<!\r)\n|\r(?!\n)", sdp) is None
