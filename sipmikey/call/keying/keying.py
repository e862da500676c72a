"""What every keying of a call can do. To add one, add a file beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sipmikey.call.events import Keying as KeyingName
from sipmikey.call.events import MediaProtection
from sipmikey.call.keying.lanes import Lane as Lane
from sipmikey.call.keying.lanes import SrtpKeys as SrtpKeys
from sipmikey.call.reasons import AgentError, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKeys:
    """What keys the m-line ``index`` (from 0). ``send_key``, ``receive_key``: fingerprints, 8 digits.

    ``keys``: what to give the stack; None where the stack made the keys itself. ``sends``, ``receives``:
    what this side does on the stream.
    """

    index: int
    suite: str
    send_key: str
    receive_key: str
    keys: SrtpKeys | None = None
    sends: bool = True
    receives: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What an offer and its answer agreed on. ``peer``: as ``kms`` vouches for it, None where no KMS does.

    ``ticket``: 8 digits that name it. ``rekey_interval_s``: how often the ticket demands new keys.
    """

    streams: tuple[StreamKeys, ...] = ()
    peer: str | None = None
    called: str | None = None
    kms: str | None = None
    suite: str | None = None
    ticket: str | None = None
    rekey_interval_s: int | None = None

    @property
    def hold(self) -> str:
        """``talking``, ``holding`` (we do not listen), ``held`` (the peer does not), or ``silent``."""
        sends = any(stream.sends for stream in self.streams)
        receives = any(stream.receives for stream in self.streams)
        if sends:
            return "talking" if receives else "holding"
        return "held" if receives else "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsQuestion:
    """A message for a KMS. ``kms``: the identity of the KMS to ask; None for the configured one.

    ``asked``: the identity of either.
    """

    message: bytes
    kms: str | None
    asked: str


class Keying(Protocol):
    """Keys one INVITE, from its first description to its last re-INVITE. Caller and callee use the same.

    Methods raise a ``PeerError`` for a description on which no media may run, and ``AgentError`` for what
    this side cannot or may not do.

    ``name``: for ``Security.keying``. ``lane``: the stack's account for it. ``gives_keys``: True where this
    side gives the stack its keys, so that each branch has keys of its own and early media is heard; False
    where the stack's own description is final, and sound waits until the call is answered. ``unkeyed``: the
    protection of media that has no keys yet. ``vouches``: True where a third party names the peer.
    ``may_transfer``: True where a call of this keying may be transferred by its peer. ``shares_keys``: True
    where a ticket gives every device of the callee the same keys.
    """

    @property
    def name(self) -> KeyingName | None: ...

    @property
    def lane(self) -> Lane: ...

    @property
    def gives_keys(self) -> bool: ...

    @property
    def unkeyed(self) -> MediaProtection: ...

    @property
    def vouches(self) -> bool: ...

    @property
    def may_transfer(self) -> bool: ...

    @property
    def shares_keys(self) -> bool: ...

    @property
    def may_rekey(self) -> bool:
        """True when this side may give new keys now."""

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


class NoKeying:
    """The keying while there is no INVITE: between two INVITEs, or in a refused call."""

    name: KeyingName | None = None
    lane = Lane.REFUSED
    gives_keys = False
    unkeyed = MediaProtection.HELD
    vouches = False
    may_transfer = False
    shares_keys = False
    may_rekey = False

    def _none(self) -> AgentError:
        return AgentError(
            Reason.POLICY, "no keys are available, and the policy forbids unprotected media", side="local"
        )

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        raise self._none()

    def check_sent(self, sdp: str, transport: str) -> None:
        """A refusal has no description that matters."""

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        raise self._none()

    def discard(self, to_tag: str) -> None:
        """There are no keys."""

    def choose(self, to_tag: str) -> None:
        raise self._none()

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        raise self._none()

    def question(self) -> KmsQuestion | None:
        return None

    def receive_kms(self, response: bytes) -> str | None:
        raise self._none()

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        return sdp, Agreement()

    def abandon(self) -> None:
        """There is no offer."""

    def close(self) -> None:
        """There are no keys."""
