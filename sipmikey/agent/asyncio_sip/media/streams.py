"""The streams of one session: what SDP says of them, and the media that runs them."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sipmikey.agent.asyncio_sip.media.all_calls import Media
from sipmikey.agent.asyncio_sip.media.described_keys import DescribedKeys
from sipmikey.agent.asyncio_sip.media.description import agreed, answer, offer, plain_profile, read
from sipmikey.agent.python_media.engine import CallMedia
from sipmikey.agent.stack import Lane, Seat, SrtpKeys, StackError, StreamCount
from sipmikey.nat.path import MediaPath

_PROFILE = "RTP/AVP"


class SessionStreams:
    """The streams by m-line. *codecs* are asked for at each description; *lines*: m-lines of a first offer.

    *lane*: what protects them. *on_digit* is told keys that the peer presses. The media is opened when the
    first description is made.
    """

    def __init__(
        self,
        media: Media,
        lane: Lane,
        codecs: Callable[[], tuple[str, ...]],
        lines: int,
        on_digit: Callable[[str], None],
    ) -> None:
        self._engine = media
        self._codecs = codecs
        self._on_digit = on_digit
        self._lane = lane
        keys = media.stack_keys if lane is Lane.BY_STACK else None
        self._crypto = None if keys is None else DescribedKeys(keys.suites, secrets.token_bytes)
        self._media: CallMedia | None = None
        self._session_id = secrets.randbelow(1 << 62)
        self._default_lines = [_PROFILE] * lines
        self._lines: list[str] = []
        self.on_path: Callable[[int, MediaPath], None] = lambda index, path: None
        """Called with the path that ICE chose for the stream of an m-line, in a thread of ICE."""
        self.existing: frozenset[int] = frozenset()

    def prepare(self, then: Callable[[], None], *, theirs: str = "", again: bool = False) -> bool:
        """Have ICE look for our addresses, and call *then* in another thread when it knows them.

        Returns False, without a call of *then*, where they are known already. *theirs*: the offer that is to
        be answered. *again*: look for all of them again. Raises ``SdpMalformed``.
        """
        wanted: set[int] = set()
        if theirs:
            for index, stream in enumerate(read(theirs)):
                if stream.port and stream.media == "audio":
                    wanted.add(index)
                    again = again or self._opened().another_peer(index, stream.ice)
        else:
            wanted |= {index for index, profile in enumerate(self._lines or self._default_lines) if profile}
        return self._opened().gather(sorted(wanted), then, again=again)

    def own_offer(self, *, held: bool) -> str:
        """Return an offer of ours, without keys but those this stack makes."""
        lines = self._lines or self._default_lines
        text = offer(
            self._engine.address,
            self._session_id,
            lines,
            self._codecs(),
            held=held,
            shared=self._engine.shares_port,
        )
        sdp = self._opened().describe(text)
        return sdp if self._crypto is None else self._crypto.offer(sdp)

    def own_answer(self, theirs: str, *, held: bool) -> str:
        """Return our answer to *theirs*, without keys but those this stack makes. Raises ``PeerError``."""
        text = answer(
            read(theirs),
            self._engine.address,
            self._session_id,
            self._codecs(),
            held=held,
            shared=self._engine.shares_port,
        )
        sdp = self._opened().describe(text)
        return sdp if self._crypto is None else self._crypto.answer(sdp, theirs)

    def connect(self, ours: str, theirs: str, *, ours_offered: bool) -> frozenset[int]:
        """Connect the streams as the two descriptions say, end all others, and return their m-lines.

        Raises ``PeerError`` for keys in them that cannot be used.
        """
        media = self._opened()
        crypto = {} if self._crypto is None else self._crypto.agreed(ours, theirs, ours_offered=ours_offered)
        streams = agreed(ours, theirs, ours_offered=ours_offered)
        self._lines = [plain_profile(stream.protocol) if stream.port else "" for stream in read(ours)]
        for index, stream in streams.items():
            if self._lane is Lane.CLEAR:
                media.run_in_clear(index)
            media.connect(index, stream)
        for index, keys in crypto.items():
            if index in streams:
                media.key_from_description(index, keys)
        for index in self.existing.difference(streams):
            media.disconnect(index)
        self.existing = frozenset(streams)
        return self.existing

    def key(self, index: int, keys: SrtpKeys, *, confirmed: bool) -> None:
        """Run the stream of m-line *index* on *keys*. Raises ``StackError`` where there is no such stream."""
        if index not in self.existing or self._media is None:
            raise StackError(f"no stream at m-line {index}")
        self._media.key(index, keys, confirmed=confirmed)

    def unkey(self) -> None:
        """Take the keys of all streams away."""
        if self._media is not None:
            self._media.unkey()

    def counts(self) -> tuple[StreamCount, ...]:
        """Packets of every stream so far."""
        return () if self._media is None else self._media.counts()

    def choose(self) -> None:
        """The call is confirmed: media of other branches no longer matters."""
        if self._media is not None:
            self._media.choose()

    def speak(self) -> None:
        """Let sound flow between the streams and the user."""
        if self._media is not None:
            self._media.speak()

    def seat(self, seat: Seat) -> None:
        """Have the streams hear, and be heard by, those of their room only."""
        if self._media is not None:
            self._media.seat(seat)

    def dtmf(self, digits: str) -> None:
        """Send telephone events. Raises ``StackError`` while there is no media."""
        if self._media is None:
            raise StackError("the call has no media")
        self._media.dtmf(digits)

    def close(self) -> None:
        """End the streams."""
        if self._media is not None:
            self._media.close()
            self._media = None

    def _opened(self) -> CallMedia:
        if self._media is None:
            self._media = self._engine.call(self._on_digit)
            self._media.on_path = self.on_path
        return self._media
