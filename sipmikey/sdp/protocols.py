"""The list of key management protocols that a TRANSFER_INIT authenticates (RFC 4567 section 4.1.4)."""

from __future__ import annotations

from collections.abc import Sequence

from sipmikey.mikey.errors import MalformedMessage
from sipmikey.mikey.registry import ExtensionType
from sipmikey.mikey.verification import EXT, sdp_ids
from sipmikey.sdp.errors import BiddingDown


def check_protocols(extensions: Sequence[EXT], protocols: tuple[str, ...]) -> None:
    """Raise `BiddingDown` when SDP does not list the protocols that TRANSFER_INIT lists.

    A TRANSFER_INIT without the list is accepted: RFC 6043 does not name the payload among its own. With key
    management required there is nothing to be bid down to.
    """
    lists = [ext for ext in extensions if ext.ext_type == ExtensionType.SDP_IDS]
    if len(lists) > 1:
        raise MalformedMessage("is given twice", field="EXT SDP IDs")
    if lists and tuple(dict.fromkeys(sdp_ids(lists[0]))) != protocols:
        raise BiddingDown(
            f"SDP lists {';'.join(protocols)}, the offerer listed {';'.join(sdp_ids(lists[0]))}",
            field="EXT SDP IDs",
            section="RFC 4567 section 4.1.4",
        )
