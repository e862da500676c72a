"""What went out is compared with what was made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipmikey.sdp.attribute import insert
from sipmikey.sdp.document import Document
from sipmikey.sdp.errors import SentSdpAltered
from sipmikey.sdp.mapping import secured
from sipmikey.sdp.sent_check import check_sent
from tests.sdp.descriptions import AUDIO_VIDEO

MAX = 65_535
MADE = str(insert(secured(Document.parse(AUDIO_VIDEO)), None, b"\x01\x0e\x05message"))
ATTRIBUTE = next(line for line in MADE.split("\r\n") if line.startswith("a=key-mgmt"))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda sdp: sdp,
        lambda sdp: sdp.replace("\r\n", "\n"),
        lambda sdp: sdp.replace("192.0.2.1", "198.51.100.7").replace("4000", "6000"),
        lambda sdp: sdp.replace("a=tool:a softphone\r\n", ""),
        lambda sdp: sdp.replace(f"{ATTRIBUTE}\r\n", "").replace(
            "a=tool", f"{ATTRIBUTE.replace('key-mgmt:', 'key-mgmt: ')}\r\na=tool"
        ),
    ],
)
def test_what_does_not_touch_keying_passes(rewrite: Callable[[str], str]) -> None:
    check_sent(MADE, rewrite(MADE), max_bytes=MAX)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda sdp: AUDIO_VIDEO,
        lambda sdp: "",
        lambda sdp: sdp.replace(f"{ATTRIBUTE}\r\n", ""),
        lambda sdp: sdp.replace(f"{ATTRIBUTE}\r\n", f"{ATTRIBUTE}\r\n{ATTRIBUTE}\r\n"),
        lambda sdp: sdp.replace(f"{ATTRIBUTE}\r\n", "").replace("a=mid:01", f"{ATTRIBUTE}\r\na=mid:01"),
        lambda sdp: sdp.replace("AQ4F", "AQ4G"),
        lambda sdp: sdp.replace("mikey ", "MIKEY "),
        lambda sdp: sdp.replace("RTP/SAVP ", "RTP/AVP "),
        lambda sdp: sdp.replace("m=audio 4000", "m=audio 0"),
        lambda sdp: sdp.split("m=video")[0],
        lambda sdp: sdp + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
        lambda sdp: sdp + "a=key-mgmt:keyp1 x\r\n",
    ],
)
def test_what_touches_keying_is_found(rewrite: Callable[[str], str]) -> None:
    with pytest.raises(SentSdpAltered):
        check_sent(MADE, rewrite(MADE), max_bytes=MAX)
