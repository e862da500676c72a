"""What an offer and its answer agreed on, and what a KMS is asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.call.keying.lanes import SrtpKeys


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
