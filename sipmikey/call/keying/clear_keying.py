"""Media in clear."""

from __future__ import annotations

from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.clear import CLEAR
from sipmikey.call.keying.keying import KeyingKind
from sipmikey.call.keying.means import Incoming, Means, Outgoing
from sipmikey.call.keying.without_kms import WithoutKms


class ClearKeying(WithoutKms):
    """Implements ``Keying``: the stack's descriptions go out as they are, and anything is an answer."""

    @property
    def kind(self) -> KeyingKind:
        return CLEAR

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        return sdp

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        return Agreement()

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        return Agreement()

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        return sdp, Agreement()


def recognises(offer: str | None) -> bool:
    """Return whether *offer* has no SRTP: it may be called in clear."""
    return offer is None or "/SAVP" not in offer


def calling(means: Means, outgoing: Outgoing) -> ClearKeying:
    """Make the keying of a call of ours."""
    return ClearKeying()


def called(means: Means, incoming: Incoming) -> ClearKeying:
    """Make the keying of a call to us."""
    return ClearKeying()
