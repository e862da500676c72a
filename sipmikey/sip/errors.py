"""What can be wrong with a SIP message."""

from __future__ import annotations

from sipmikey.mikey.errors import PeerError


class SipMalformed(PeerError):
    """A message or header field does not follow the grammar of RFC 3261 section 25.1."""

    reason = "sip-malformed"
    error_no = None
    sip_status = 400
