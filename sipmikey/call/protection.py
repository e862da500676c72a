"""The keys that a call's media runs on, and the security facts that the user is shown."""

from __future__ import annotations

from dataclasses import replace

from sipmikey.call import events as e
from sipmikey.call.attempt import Attempt
from sipmikey.call.events import Security
from sipmikey.call.inputs import StreamCount
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.keying import Keying
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import OpenAudio
from sipmikey.call.settings import Patience
from sipmikey.call.streams import Streams
from sipmikey.call.within.rekeying import Rekeying


class Protection:
    """The keys of the streams and their age. ``security``: how the call is protected now.

    *calls*: this side is the caller.
    """

    def __init__(self, out: Outbox, patience: Patience, security: Security, *, calls: bool) -> None:
        self.security = security
        self.streams = Streams(out, patience)
        self.rekeying = Rekeying(out, calls=calls)
        self._out = out
        self._patience = patience
        self._calls = calls
        self._hold = "talking"

    def bind(self, attempt: Attempt, agreement: Agreement, to_tag: str) -> None:
        """Run the streams on the keys of branch *to_tag*; streams that do not exist yet get them later."""
        attempt.agreement, attempt.to_tag = agreement, to_tag
        self.show(
            peer=agreement.peer,
            kms=agreement.kms or self.security.kms,
            suite=agreement.suite,
            ticket=agreement.ticket or self.security.ticket,
            keying=attempt.keying.kind.name,
        )
        self.streams.key(agreement, to_tag, rekeyed=self.streams.answered)
        if self.streams.running or self.streams.spent:
            self._show_media(attempt.keying)
        if self.streams.running:
            self.rekeying.keyed(agreement)
            if attempt.keying.kind.gives_keys:
                self._out.put(OpenAudio())
        if self.streams.answered and agreement.streams and agreement.hold != self._hold:
            self._hold = agreement.hold
            self._out.tell(e.CallState, state=self._hold, security=self.security)

    def unbind(self, attempt: Attempt) -> None:
        """Take all keys off the streams: nothing is sent or played."""
        attempt.agreement = None
        self.streams.unkey()
        self._show_media(attempt.keying)

    def created(self, attempt: Attempt, index: int, *, answered: bool) -> None:
        """The stack made a stream; *answered*: our answer to an offer is why it made it."""
        early = not attempt.confirmed and attempt.keying.kind.gives_keys
        # Made again for an offer of its own branch, it keeps its keys.
        self.streams.created(index, without_keys=early and not answered)

    def counted(self, attempt: Attempt, counts: tuple[StreamCount, ...]) -> None:
        """Take the packet counts of the streams, which may prove the keys."""
        self.streams.counted(counts)
        if self.streams.running:
            self._show_media(attempt.keying)

    def established(self) -> None:
        """The call is answered."""
        self.streams.established()

    def forget(self) -> None:
        """The INVITE is over: no stream has keys now."""
        self.streams.forget()
        self.rekeying.stop()

    def start_over(self, keying: Keying) -> None:
        """Begin with the streams of another INVITE, keyed by *keying*."""
        self.streams = Streams(self._out, self._patience)
        self.rekeying = Rekeying(self._out, calls=self._calls)
        known = self.security.peer is not None
        self.show(
            state="held" if known else None,
            media=keying.kind.unkeyed,
            peer=None,
            kms=None,
            suite=None,
            ticket=None,
            keying=None,
        )

    def show(self, *, state: str | None = None, **facts: object) -> None:
        """Change *facts* of ``security``; told as *state* where that is given and something changes."""
        changed = replace(self.security, **facts)  # type: ignore[arg-type]
        if changed == self.security:
            return
        self.security = changed
        if state is not None:
            self._out.tell(e.CallState, state=state, security=changed)

    def _show_media(self, keying: Keying) -> None:
        media = self.streams.protection if self.streams.running else keying.kind.unkeyed
        self.show(state=media.value, media=media)
