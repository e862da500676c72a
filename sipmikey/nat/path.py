"""The way the media of a call goes, as ICE chose it. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sipmikey.nat.servers import Address


class Candidate(StrEnum):
    """Kinds of ICE candidates (RFC 8445 section 5.1.1)."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"


class Way(StrEnum):
    """``DIRECT``: between the two hosts. ``REFLEXIVE``: through a NAT. ``RELAYED``: by a TURN server."""

    DIRECT = "direct"
    REFLEXIVE = "reflexive"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPath:
    """The pair of candidates that ICE chose for RTP of one stream."""

    local: Address
    local_kind: Candidate
    remote: Address
    remote_kind: Candidate

    @property
    def way(self) -> Way:
        """How the media goes, in one word."""
        kinds = {self.local_kind, self.remote_kind}
        if Candidate.RELAYED in kinds:
            return Way.RELAYED
        return Way.DIRECT if kinds == {Candidate.HOST} else Way.REFLEXIVE


_PAIR = re.compile(r"\[0\]: L:(\S+) \(([hspr])\) --> R:(\S+) \(([hspr])\)")
_KINDS = {
    "h": Candidate.HOST,
    "s": Candidate.SERVER_REFLEXIVE,
    "p": Candidate.PEER_REFLEXIVE,
    "r": Candidate.RELAYED,
}


def paths_in_dump(text: str) -> tuple[MediaPath, ...]:
    """Return the way of each stream, in order, from pjsua's dump of a call; nothing where ICE is not done.

    pjsua hands out the pairs nowhere else.
    """
    return tuple(
        MediaPath(
            local=_address(local),
            local_kind=_KINDS[ours],
            remote=_address(remote),
            remote_kind=_KINDS[theirs],
        )
        for local, ours, remote, theirs in _PAIR.findall(text)
    )


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
