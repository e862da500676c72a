"""The IP version of an agent and its media: that of the address the agent is bound to."""

from __future__ import annotations

import re

from sipmikey.sdp.errors import OtherIpVersion

_CONNECTION = re.compile(r"^c=IN IP([46]) (\S+)", re.MULTILINE | re.IGNORECASE)
_REJECTED = re.compile(r"m=\S+ 0[ /]")


def check_ip_version(sdp: str, *, ipv6: bool) -> None:
    """Raise ``OtherIpVersion`` where a stream in use is at an address of the IP version the agent lacks.

    Such a stream can be neither sent to nor received from (RFC 4566 section 5.7). The stack itself finds out
    late, and ends the call without a reason.
    """
    session, *streams = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)
    common = _CONNECTION.search(session)
    for stream in streams:
        found = _CONNECTION.search(stream) or common
        if found is None or _REJECTED.match(stream) or (found.group(1) == "6") == ipv6:
            continue
        raise OtherIpVersion(
            f"the media is at {found.group(2)}, and this agent is on IPv{6 if ipv6 else 4}: "
            "a relay has to join the two",
        )
