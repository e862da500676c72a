"""No keys: media in clear, where policy explicitly allows it."""

from __future__ import annotations

from sipmikey.call.events import Keying as KeyingName
from sipmikey.call.events import MediaProtection
from sipmikey.call.keying.keying import Agreement, KmsQuestion, Lane
from sipmikey.call.reasons import AgentError, Reason


class ClearKeying:
    """Implements ``Keying``: the stack's descriptions go out as they are, and anything is an answer."""

    name: KeyingName | None = None
    lane = Lane.CLEAR
    gives_keys = False
    unkeyed = MediaProtection.OFF
    vouches = False
    may_transfer = True
    shares_keys = False
    may_rekey = False

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        return sdp

    def check_sent(self, sdp: str, transport: str) -> None:
        """Accept anything: an offer in clear promises nothing."""

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        return Agreement()

    def discard(self, to_tag: str) -> None:
        """There are no keys."""

    def choose(self, to_tag: str) -> None:
        """There are no keys."""

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        return Agreement()

    def question(self) -> KmsQuestion | None:
        return None

    def receive_kms(self, response: bytes) -> str | None:
        raise AgentError(Reason.UNEXPECTED_MESSAGE, "nothing was asked of a KMS", side="local")

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        return sdp, Agreement()

    def abandon(self) -> None:
        """An offer in clear leaves nothing behind."""

    def close(self) -> None:
        """There are no keys."""
