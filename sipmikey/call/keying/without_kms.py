"""What keyings that ask no KMS have in common."""

from __future__ import annotations

from sipmikey.call.keying.agreement import KmsQuestion
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import PeerError


class WithoutKms:
    """What a keying does in its simplest form: it asks no KMS, keeps nothing by branch, renews no keys."""

    shares_keys = False
    may_rekey = False

    def judge(self, sdp: str | None) -> PeerError | AgentError | None:
        return None

    def check_sent(self, sdp: str, transport: str) -> None:
        """Accept anything."""

    def discard(self, to_tag: str) -> None:
        """There are no keys of a branch."""

    def choose(self, to_tag: str) -> None:
        """There are no keys of a branch."""

    def question(self) -> KmsQuestion | None:
        return None

    def receive_kms(self, response: bytes) -> str | None:
        raise AgentError(Reason.UNEXPECTED_MESSAGE, "nothing was asked of a KMS", side="local")

    def abandon(self) -> None:
        """An offer leaves nothing behind; the next one replaces it."""

    def close(self) -> None:
        """There are no keys."""
