"""No keying: between two INVITEs of a call, and in a call that is refused."""

from __future__ import annotations

from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.keying import Keying, KeyingKind, Words
from sipmikey.call.keying.lanes import Lane
from sipmikey.call.keying.means import Incoming, Means, Outgoing
from sipmikey.call.keying.without_kms import WithoutKms
from sipmikey.call.reasons import AgentError, Reason


def _no_keying() -> AgentError:
    detail = "no keys are available, and the policy forbids unprotected media"
    return AgentError(Reason.POLICY, detail, side="local")


class NoKeying(WithoutKms):
    """The keying while there is no INVITE: between two INVITEs, or in a refused call."""

    @property
    def kind(self) -> KeyingKind:
        return REFUSED

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        raise _no_keying()

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        raise _no_keying()

    def choose(self, to_tag: str) -> None:
        raise _no_keying()

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        raise _no_keying()

    def receive_kms(self, response: bytes) -> str | None:
        raise _no_keying()

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        return sdp, Agreement()


def _refused_to(means: Means, outgoing: Outgoing) -> Keying:
    return NoKeying()


def _refused_from(means: Means, incoming: Incoming) -> Keying:
    return NoKeying()


REFUSED = KeyingKind(
    name=None,
    lane=Lane.REFUSED,
    place=1000,
    words=Words(short="nothing", label="none"),
    recognises=lambda offer: False,
    calling=_refused_to,
    called=_refused_from,
)
"""Of `NoKeying`; nothing comes after it."""
