"""No keys: media in clear, where policy explicitly allows it."""

from __future__ import annotations

from sipmikey.call.keying.keying import Agreement, KeyingKind, Words
from sipmikey.call.keying.lanes import Lane
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


def _recognises(offer: str | None) -> bool:
    return offer is None or "/SAVP" not in offer


def _calling(means: Means, outgoing: Outgoing) -> ClearKeying:
    return ClearKeying()


def _called(means: Means, incoming: Incoming) -> ClearKeying:
    return ClearKeying()


CLEAR = KeyingKind(
    name=None,
    lane=Lane.CLEAR,
    place=100,
    words=Words(short="nothing", label="none", exposed="everybody on the way can listen"),
    recognises=_recognises,
    calling=_calling,
    called=_called,
    may_transfer=True,
)
