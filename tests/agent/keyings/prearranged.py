"""A keying of somebody else's, in one file: keys that both sides agreed on beforehand. For tests only.

The offer and its answers name it with an attribute, which carries a nonce each.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from sipmikey.call import (
    AgentError,
    Agreement,
    Incoming,
    KeyingKind,
    Lane,
    Means,
    Outgoing,
    Reason,
    SrtpKeys,
    StreamKeys,
    WithoutKms,
    Words,
)
from sipmikey.media.keying import StreamKey
from sipmikey.media.profile import SrtpProfile, profile_by_name
from sipmikey.mikey.secret import Secret
from sipmikey.sdp.errors import AnswerMissing, KeyMgmtMissing, SentSdpAltered

SHARED = Secret(b"agreed on when alice and bob met")
SUITE = "AES_CM_128_HMAC_SHA1_80"

_ATTRIBUTE = "x-prearranged"
_NONCE = re.compile(rf"^a={_ATTRIBUTE}:([0-9a-f]{{32}})\r?$", re.MULTILINE)
_AUDIO = re.compile(r"^m=audio (\d+) RTP/S?AVP", re.MULTILINE)
_SSRC = re.compile(r"^a=ssrc:(\d+) ", re.MULTILINE)


def _key(nonces: str, direction: str, index: int, ssrc: int) -> StreamKey:
    profile: SrtpProfile = profile_by_name(SUITE)
    text = f"{nonces} {direction} {index}".encode()
    octets = hmac.digest(SHARED.reveal(), text, hashlib.sha512)[: profile.keying_length]
    key, salt = Secret(octets[: profile.key_length]), Secret(octets[profile.key_length :])
    return StreamKey(profile=profile, key=key, salt=salt, ssrc=ssrc)


def _nonce(sdp: str) -> str:
    found = _NONCE.search(sdp)
    if found is None:
        raise KeyMgmtMissing(f"the description of the peer has no a={_ATTRIBUTE}", field=_ATTRIBUTE)
    return found[1]


def _named(sdp: str) -> tuple[list[str], list[str]]:
    return _NONCE.findall(sdp), re.findall(r"^m=\S+ \S+ \S+", sdp, re.MULTILINE)


def _ssrcs(sdp: str) -> list[int]:
    """Return the SSRC of each m-line, 0 where none is told."""
    found = (_SSRC.search(section) for section in re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)[1:])
    return [0 if one is None else int(one[1]) for one in found]


class PrearrangedKeying(WithoutKms):
    """Implements ``Keying`` for a call with *peer*. *calls*: this side made it. *nonce*: ours."""

    def __init__(self, peer: str, nonce: str, *, calls: bool) -> None:
        self._peer = peer
        self._ours = nonce
        self._calls = calls
        self._made = self._heard = ""
        self._theirs: dict[str, str] = {}
        self._chosen: str | None = None if calls else ""

    @property
    def kind(self) -> KeyingKind:
        return PREARRANGED

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        secured = _AUDIO.sub(r"m=audio \1 RTP/SAVP", sdp)
        first = secured.index("m=audio")
        self._made = f"{secured[:first]}a={_ATTRIBUTE}:{self._ours}\r\n{secured[first:]}"
        return self._made

    def check_sent(self, sdp: str, transport: str) -> None:
        if _named(sdp) != _named(self._made):
            raise SentSdpAltered("the SDP sent is not what was made", field=_ATTRIBUTE)

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        if sdp is None:
            raise AnswerMissing("the response carries no SDP", field="SDP")
        branch = to_tag if self._chosen is None else self._chosen
        self._theirs[branch] = _nonce(sdp)
        return self._agreement(branch, sdp)

    def discard(self, to_tag: str) -> None:
        self._theirs.pop(to_tag, None)

    def choose(self, to_tag: str) -> None:
        self._theirs = {to_tag: self._theirs[to_tag]}
        self._chosen = to_tag

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        if sdp is None or self._chosen is None:
            raise AgentError(Reason.OFFER_MISSING, "the peer has to offer, and only once it has the call")
        self._theirs[self._chosen], self._heard = _nonce(sdp), sdp
        return Agreement(called=self._peer)

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        assert self._chosen is not None
        return self.make_offer(sdp), self._agreement(self._chosen, self._heard)

    def close(self) -> None:
        self._theirs.clear()

    def _agreement(self, branch: str, theirs: str) -> Agreement:
        both = (self._ours, self._theirs[branch])
        nonces = " ".join(both if self._calls else reversed(both))
        streams = []
        for index, (ours, other) in enumerate(zip(_ssrcs(self._made), _ssrcs(theirs), strict=True)):
            way = ("caller", "callee") if self._calls else ("callee", "caller")
            send, receive = _key(nonces, way[0], index, ours), _key(nonces, way[1], index, other)
            keys = SrtpKeys(
                suite=SUITE, send=send.keying(), receive=receive.keying(), directions=(send, receive)
            )
            streams.append(
                StreamKeys(
                    index=index, suite=SUITE, send_key=send.key.fingerprint(),
                    receive_key=receive.key.fingerprint(), keys=keys,
                )
            )  # fmt: skip
        return Agreement(streams=tuple(streams), peer=self._peer, suite=SUITE)


def _calling(means: Means, outgoing: Outgoing) -> PrearrangedKeying:
    return PrearrangedKeying(outgoing.called, means.env.random(16).hex(), calls=True)


def _called(means: Means, incoming: Incoming) -> PrearrangedKeying:
    return PrearrangedKeying(incoming.caller, means.env.random(16).hex(), calls=False)


PREARRANGED = KeyingKind(
    name="prearranged",
    lane=Lane.SECURED,
    place=-10,
    words=Words(
        short="keys agreed on beforehand",
        label="keys that both sides agreed on beforehand",
        offered=f"the offer has a={_ATTRIBUTE}",
    ),
    recognises=lambda offer: offer is not None and _NONCE.search(offer) is not None,
    calling=_calling,
    called=_called,
    alternatives={"prearranged": ()},
    vouches=True,
    end_to_end=True,
)
