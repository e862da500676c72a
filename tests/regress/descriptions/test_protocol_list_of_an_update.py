"""A CSB update authenticates the list of protocols its offer has (RFC 4567 section 4.1.4)."""

from __future__ import annotations

import pytest

from sipmikey.mikey.limits import Limits
from sipmikey.mikey.message import all_payloads, parse_message
from sipmikey.mikey.registry import ExtensionType
from sipmikey.mikey.verification import EXT, sdp_ids
from sipmikey.sdp import BiddingDown
from sipmikey.sdp.attribute import find
from sipmikey.sdp.document import Document
from tests.regress.descriptions.test_origin_version import AUDIO, established


@pytest.mark.parametrize("caller_offers", [True, False])
def test_every_update_names_the_protocols_that_its_offer_lists(caller_offers: bool) -> None:
    caller, callee, _, _ = established()
    one, other = (caller, callee) if caller_offers else (callee, caller)
    offer = one.make_offer(AUDIO, rekey=True)
    (attribute,) = find(Document.parse(offer), max_bytes=65_535)
    extensions = all_payloads(parse_message(attribute.message, Limits()).payloads, EXT)
    (listed,) = [found for found in extensions if found.ext_type == ExtensionType.SDP_IDS]
    assert sdp_ids(listed) == ("mikey",)
    # A protocol that somebody on the way put in is noticed.
    added = offer.replace("a=key-mgmt:mikey ", "a=key-mgmt:other AAAA\r\na=key-mgmt:mikey ", 1)
    with pytest.raises(BiddingDown):
        other.receive_offer(added)
