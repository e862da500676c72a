"""What a description says of ICE for one stream (RFC 8839). No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from sipmikey.nat.servers import Address

_MOST_CANDIDATES = 32
_SHORTEST_UFRAG, _SHORTEST_PWD, _LONGEST = 4, 22, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIce:
    """The peer's part: ``ufrag`` and ``pwd`` (4 to 256 and 22 to 256 characters), ``candidates`` as the
    values of its a=candidate lines. ``lite``: it answers checks and makes none (RFC 8445 section 2.5)."""

    ufrag: str
    pwd: str
    candidates: tuple[str, ...]
    lite: bool = False


def peer_ice(attributes: Iterable[tuple[str, str]], default: Address) -> PeerIce | None:
    """Return what *attributes*, of the session first, then of the m-line, say; None for a stream without ICE.

    *default*: address and port of the m-line. Where no candidate has it, somebody on the way has changed the
    description without knowing of ICE, which is then left alone (RFC 8839 section 4.2.5).
    """
    found = {"ice-ufrag": "", "ice-pwd": ""}
    candidates: list[str] = []
    lite = False
    for name, value in attributes:
        if name in found:
            found[name] = value.strip()
        elif name == "candidate" and len(candidates) < _MOST_CANDIDATES and _usable(value):
            candidates.append(value.strip())
        elif name == "ice-lite":
            lite = True
        elif name == "ice-mismatch":
            return None
    ufrag, pwd = found["ice-ufrag"], found["ice-pwd"]
    if not (_SHORTEST_UFRAG <= len(ufrag) <= _LONGEST and _SHORTEST_PWD <= len(pwd) <= _LONGEST):
        return None
    if default not in {_address(value) for value in candidates}:
        return None
    return PeerIce(ufrag=ufrag, pwd=pwd, candidates=tuple(candidates), lite=lite)


def _usable(value: str) -> bool:
    """Return whether a candidate is one of UDP, with numbers where they belong and an IP address."""
    words = value.split()
    if len(words) < 8 or words[2].lower() != "udp" or words[6].lower() != "typ":
        return False
    numbers = (words[1], words[3], words[5])
    if not all(word.isascii() and word.isdecimal() and len(word) < 11 for word in numbers):
        return False
    rest = words[8:]
    ports = [rest[at + 1] for at in range(0, len(rest) - 1, 2) if rest[at] in ("rport", "generation")]
    if not all(word.isascii() and word.isdecimal() and len(word) < 11 for word in ports):
        return False
    try:
        ip_address(words[4])
    except ValueError:
        return False
    return words[1] in ("1", "2") and 0 < int(words[5]) < 65536


def _address(value: str) -> Address:
    words = value.split()
    return words[4], int(words[5])
