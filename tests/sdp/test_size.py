"""The sizes in docs/rfc/message-size.md are those of the messages."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from tests.sdp.parties import BOB, Parties, grant

PAGE = Path(__file__).parents[2] / "docs" / "rfc" / "message-size.md"
OTHER = "sip:eve@example.com"
SUITES = {SUITE_256: ("AES_256_CM_HMAC_SHA1_80",), SUITE_128: ("AES_CM_128_HMAC_SHA1_80",)}


def _description(streams: int) -> str:
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    return head + "".join(f"m=audio {4000 + 2 * index} RTP/AVP 8\r\n" for index in range(streams))


def _sizes(
    streams: int = 1,
    suite: Suite = SUITE_256,
    called: str = BOB,
    more: tuple[str, ...] = (),
    trr: int | None = None,
) -> tuple[int, int]:
    """Octets of TRANSFER_INIT and TRANSFER_RESP."""
    parties = Parties()
    ticket = grant(
        parties.world, parties.kms, suite=suite, responders=(called, *more), rekeying_interval_s=trr
    )
    offerer = parties.offerer(ticket, called=called, suites=SUITES[suite])
    answerer = parties.answerer(called)
    parties.take(answerer, offerer.make_offer(_description(streams)), called)
    text, _ = answerer.make_answer(_description(streams))
    return len(offerer.transfer_init), len(_message(text))


def _message(sdp: str) -> bytes:
    (text,) = re.findall(r"^a=key-mgmt:mikey (\S+)", sdp, re.MULTILINE)
    return base64.b64decode(text)


def test_the_table_of_streams() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 5
    for streams, *said in rows:
        init_256, resp_256 = _sizes(int(streams), SUITE_256)
        init_128, resp_128 = _sizes(int(streams), SUITE_128)
        assert [int(size) for size in said] == [init_256, init_128, resp_256, resp_128]


def test_what_more_costs() -> None:
    page = PAGE.read_text()
    plain, _ = _sizes()
    longer = BOB.replace("bob", "bobby")
    costs = {
        "one stream more": _sizes(streams=2)[0] - plain,
        "one character more in the called identity": (_sizes(called=longer)[0] - plain) // 2,
        "one more responder": _sizes(more=(OTHER,))[0] - plain,
        "a rekeying interval": _sizes(trr=60)[0] - plain,
    }
    for what, octets in costs.items():
        (said,) = re.findall(rf"^\| {what}[^|]*\| (\d+) \|$", page, re.MULTILINE)
        assert int(said) == octets, what
