"""What every keying of a call can do, and its declaration, which is all that the rest of the program asks.

Faces and the reader of the configuration ask it too, so it loads no keys, tickets or events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sipmikey.call.keying.lane import Lane

if TYPE_CHECKING:
    from sipmikey.call.events import MediaProtection
    from sipmikey.call.keying.agreement import Agreement, KmsQuestion
    from sipmikey.call.keying.means import Incoming, Means, Outgoing
    from sipmikey.call.reasons import AgentError
    from sipmikey.mikey.errors import PeerError


class Keying(Protocol):
    """Keys one INVITE, from its first description to its last re-INVITE. Caller and callee use the same.

    Methods raise a ``PeerError`` for a description on which no media may run, and ``AgentError`` for what
    this side cannot or may not do.

    ``kind``: its declaration. ``shares_keys``: True where a ticket gives every device of the callee the same
    keys.
    """

    @property
    def kind(self) -> KeyingKind: ...

    @property
    def shares_keys(self) -> bool: ...

    @property
    def may_rekey(self) -> bool:
        """True when this side may give new keys now."""

    def judge(self, sdp: str | None) -> PeerError | AgentError | None:
        """Return what is wrong with an offer of the peer, before the stack opens anything for it.

        ``receive_offer`` tells the same then.
        """

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        """Return the stack's description as the offer to send."""

    def check_sent(self, sdp: str, transport: str) -> None:
        """Raise ``SentSdpAltered`` unless *sdp*, which went out over *transport*, is what was made."""

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        """Take the answer to our last offer; before ``choose`` it is that of branch *to_tag*."""

    def discard(self, to_tag: str) -> None:
        """Erase the keys of a branch."""

    def choose(self, to_tag: str) -> None:
        """Bind the call to a branch; the keys of the others are erased."""

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        """Take an offer of the peer; what is returned names the parties and has no streams yet.

        Before ``choose`` it is that of branch *to_tag*, whose answer was taken; so is the answer to it.
        """

    def question(self) -> KmsQuestion | None:
        """Return what a KMS must be asked before the offer can be answered; None when nothing."""

    def receive_kms(self, response: bytes) -> str | None:
        """Take the KMS's answer to ``question``; return the name of the party it vouches for.

        Raises ``AgentError`` of side ``kms`` for an answer that cannot be used.
        """

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        """Return the stack's description as the answer to send, and what is agreed by it."""

    def abandon(self) -> None:
        """Drop the offer under way, in either direction."""

    def close(self) -> None:
        """Erase every key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a face says of a keying, in English, which its catalogue may have translated.

    ``short``: its name within a sentence. ``label``: in full. ``exposed``: who else learns the keys, as a
    phrase after ``short``, and ``warning`` as a sentence of its own for somebody who knows no SIP; both are
    said of a keying that is not ``end_to_end``. ``offered``: how an offer of an alternative is known.
    """

    short: str
    label: str
    exposed: str = "others may know the keys"
    warning: str = "Others may know the keys of this call."
    offered: str = ""


def _refuses_nothing(offer: str, means: Means) -> PeerError | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyingKind:
    """A keying, declared once, in its own file. `known` finds it.

    ``name``: for ``Security.keying``; None where media has no keys. ``lane``: who gives the keys, which is
    all that the SIP stack knows of it. ``place``: in the order of attempts, the lowest first.
    ``alternatives``: the values of ``security.alternative`` that allow it, strictest first, each with the SIP
    transports that its descriptions may go over (empty: any); without one it needs no leave of that setting.
    When policy permits a keying is decided in `permission`, not here.

    ``needs_ticket``: a call is made with a ticket of the KMS. ``vouches``: a KMS, or a key shared with the
    peer, names who answers. ``end_to_end``: nobody but the parties and their KMS can know the keys;
    what does not say so is never shown as good.
    ``renews``: new keys may be asked for within a call. ``may_transfer``: the peer of such a call may
    transfer it: the stack makes the new call on the same lane.

    ``recognises``: whether an offer (None: no SDP) is of this keying, and of no other before it; ``unfit``:
    why one that is cannot be answered. ``calling``, ``called`` make the keying of one call.
    """

    name: str | None
    lane: Lane
    place: int
    words: Words
    recognises: Callable[[str | None], bool]
    calling: Callable[[Means, Outgoing], Keying]
    called: Callable[[Means, Incoming], Keying]
    unfit: Callable[[str, Means], PeerError | None] = _refuses_nothing
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs_ticket: bool = False
    vouches: bool = False
    end_to_end: bool = False
    renews: bool = False
    may_transfer: bool = False

    @property
    def gives_keys(self) -> bool:
        """True where this side gives the stack its keys.

        Each branch has keys of its own then, and early media is heard. Otherwise the stack's own description
        is final, and sound waits until the call is answered.
        """
        return self.lane is Lane.SECURED

    @property
    def in_clear(self) -> bool:
        """True where media runs without keys."""
        return self.lane is Lane.CLEAR

    @property
    def unkeyed(self) -> MediaProtection:
        """The protection of media that has no keys yet."""
        from sipmikey.call.events import MediaProtection

        return MediaProtection.OFF if self.in_clear else MediaProtection.HELD
