"""Keys in descriptions (RFC 4568), where policy lets them go there: this side's a=crypto lines."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from sipmikey.call.keying.lanes import SrtpKeys
from sipmikey.call.keying.sdes_exchange import agreed_crypto, usable_lines
from sipmikey.media.profile import profile_by_name
from sipmikey.mikey.secret import Secret

_LINE = re.compile(r"m=(\S+) (\d+) RTP/S?AVP ")
_SECTION = re.compile(r"^(?=m=)", re.MULTILINE)


class DescribedKeys:
    """The keys this side offers: one for each m-line and suite, for as long as the call lasts.

    *suites*: names of crypto suites, best first. *random* returns that many octets.
    """

    def __init__(self, suites: tuple[str, ...], random: Callable[[int], bytes]) -> None:
        self._suites = suites
        self._random = random
        self._keys: dict[tuple[int, str], Secret] = {}

    def offer(self, sdp: str) -> str:
        """Return the offer *sdp* with an a=crypto line for each suite in every live m-line."""
        every = tuple(enumerate(self._suites, start=1))
        return self._keyed(sdp, lambda index: every)

    def answer(self, sdp: str, theirs: str) -> str:
        """Return the answer *sdp* with the first usable a=crypto line of *theirs*. Raises ``PeerError``."""
        offered = usable_lines(theirs, self._suites)
        return self._keyed(
            sdp, lambda index: tuple((line.tag, line.suite) for line in offered[index].values())[:1]
        )

    def agreed(self, ours: str, theirs: str, *, ours_offered: bool) -> dict[int, SrtpKeys]:
        """Return what offer and answer agree on, by m-line. Raises ``PeerError``."""
        first, second = (ours, theirs) if ours_offered else (theirs, ours)
        return {
            one.index: SrtpKeys(suite=one.suite, send=one.send, receive=one.receive)
            for one in agreed_crypto(first, second, self._suites, ours_offered=ours_offered)
        }

    def _keyed(self, sdp: str, lines: Callable[[int], tuple[tuple[int, str], ...]]) -> str:
        head, *sections = _SECTION.split(sdp)
        described = [head]
        for index, section in enumerate(sections):
            found = _LINE.match(section)
            if found is None or found[2] == "0":
                described.append(section)
                continue
            secured = _LINE.sub(r"m=\1 \2 RTP/SAVP ", section, count=1)
            crypto = (
                f"a=crypto:{tag} {suite} {self._inline(index, suite)}\r\n" for tag, suite in lines(index)
            )
            described += [secured, *crypto]
        return "".join(described)

    def _inline(self, index: int, suite: str) -> str:
        key = self._keys.get((index, suite))
        if key is None:
            key = self._keys[index, suite] = Secret(self._random(profile_by_name(suite).keying_length))
        return f"inline:{base64.b64encode(key.reveal()).decode()}"
