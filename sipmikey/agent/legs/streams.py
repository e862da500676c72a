"""The streams of a call and the keys they run on, until packets prove them. In the engine's thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from sipmikey.agent.legs.rekeying import SETTLED, Switch
from sipmikey.agent.stack import SrtpKeys, StackCall, StreamCount
from sipmikey.call.events import (
    Event,
    MediaExpired,
    MediaFailed,
    MediaKeyed,
    MediaProtection,
    MediaProven,
    MediaRekeyed,
    MediaSwitched,
)
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.media.keying import StreamKey
from sipmikey.sdp import MediaKeys, SessionKeys

_LOOK_S = 0.02
_SWITCH_S = 2.0


class Streams:
    """Which streams exist, which have keys, and which of those a packet of the peer has proven.

    *live* gives the stack's call, *later* runs something after a delay in seconds, *proven* is called when
    the last stream without proof has got it.
    """

    def __init__(
        self,
        number: str,
        *,
        live: Callable[[], StackCall],
        emit: Callable[[Event], None],
        later: Callable[[float, Callable[[], None]], None],
        proven: Callable[[], None],
    ) -> None:
        self._number = number
        self._live = live
        self._emit = emit
        self._later = later
        self._proven = proven
        self._existing: set[int] = set()
        self._running: dict[int, MediaKeys] = {}
        self._unproven: dict[int, int] = {}
        self._watching = False
        self._deadline = math.inf
        self._wait_s = 0.0
        self._over = False

    @property
    def running(self) -> bool:
        """True when a stream has keys."""
        return bool(self._running)

    @property
    def protection(self) -> MediaProtection:
        """What the keys are worth by now."""
        if not self._running:
            return MediaProtection.HELD
        return MediaProtection.KEYED if self._unproven else MediaProtection.PROVEN

    def created(self, index: int, *, without_keys: bool) -> None:
        """A stream exists; *without_keys* when the stack took away what keys its transport had."""
        self._existing.add(index)
        if without_keys:
            self._running.pop(index, None)

    def key(self, keyed: SessionKeys, to_tag: str, *, rekeyed: bool) -> None:
        """Run the streams that exist on the keys of branch *to_tag*. Raises ``SipmikeyError``."""
        for media in keyed.media:
            running = self._running.get(media.index)
            if media.index in self._existing and not (running and _same_keys(running, media)):
                self._key(media, to_tag, rekeyed=rekeyed and running is not None)
        self._watch()

    def _key(self, media: MediaKeys, to_tag: str, *, rekeyed: bool) -> None:
        send, receive = StreamKey.of(media.send), StreamKey.of(media.receive)
        name = send.profile.pjmedia_name
        if name is None or send.profile is not receive.profile:
            detail = f"pjmedia cannot run {send.profile.name}"
            raise AgentError(Reason.SUITE_UNAVAILABLE, detail, side="local")
        before = self._counts()
        keys = SrtpKeys(suite=name, send=send.keying(), receive=receive.keying(), directions=(send, receive))
        self._live().key(media.index, keys)
        self._running[media.index] = media
        send_key, receive_key = send.key.fingerprint(), receive.key.fingerprint()
        if rekeyed:
            self._emit(
                MediaRekeyed(
                    at=time.time(), call=self._number, index=media.index, suite=name,
                    send_key=send_key, receive_key=receive_key,
                )
            )  # fmt: skip
            self._watch_switch(media.index, before)
            return
        # Packets of another branch, which were counted before, prove nothing of these keys.
        so_far = before.get(media.index)
        self._unproven[media.index] = 0 if so_far is None else so_far.received
        self._emit(
            MediaKeyed(
                at=time.time(), call=self._number, index=media.index, to_tag=to_tag, suite=name,
                send_key=send_key, receive_key=receive_key,
            )
        )  # fmt: skip

    def unkey(self) -> None:
        """Take all keys away: nothing is sent or played."""
        self._running.clear()
        self._unproven.clear()
        self._live().unkey()

    def forget(self) -> None:
        """The call is over."""
        self._over = True
        self._running.clear()
        self._unproven.clear()

    def expire(self, detail: str) -> None:
        """Tell that the keys may not be used any more, and take them away."""
        for index in sorted(self._running):
            self._emit(
                MediaExpired(
                    at=time.time(), call=self._number, index=index, reason=Reason.KEY_EXPIRED, side="local",
                    detail=detail,
                )
            )  # fmt: skip
        self.unkey()

    def expect_proof(self, within_s: float) -> None:
        """The call is established: tell when no proof comes in that time."""
        self._wait_s = within_s
        self._deadline = time.monotonic() + within_s

    def _counts(self) -> Mapping[int, StreamCount]:
        return {count.index: count for count in self._live().counts()}

    def _watch(self) -> None:
        if not self._watching and self._unproven:
            self._watching = True
            self._later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._watching = False
        if self._over or not self._unproven:
            return
        counts = self._counts()
        for index, before in sorted(self._unproven.items()):
            now = counts.get(index)
            if now is not None and now.received > before and index in self._running:
                del self._unproven[index]
                self._emit(MediaProven(at=time.time(), call=self._number, index=index))
        if not self._unproven:
            self._proven()
            return
        if time.monotonic() > self._deadline:
            self._deadline = math.inf
            self._tell_missing()
        self._watch()

    def _tell_missing(self) -> None:
        for index in sorted(self._unproven):
            self._emit(
                MediaFailed(
                    at=time.time(), call=self._number, index=index, reason=Reason.MEDIA_UNPROVEN,
                    side="remote", detail=f"no packet of the peer verified within {self._wait_s:g} s",
                )
            )  # fmt: skip

    def _watch_switch(self, index: int, before: Mapping[int, StreamCount]) -> None:
        """Tell how many packets were lost at the change of keys, as soon as that can be known."""
        switch = Switch(index=index, before=before.get(index), deadline=time.monotonic() + _SWITCH_S)
        self._later(_LOOK_S, lambda: self._look_at_switch(switch))

    def _look_at_switch(self, switch: Switch) -> None:
        if self._over:
            return
        lost, received = switch.difference(self._counts().get(switch.index))
        if received < SETTLED and time.monotonic() < switch.deadline:
            self._later(_LOOK_S, lambda: self._look_at_switch(switch))
            return
        self._emit(
            MediaSwitched(at=time.time(), call=self._number, index=switch.index, lost=lost, received=received)
        )


def _same_keys(one: MediaKeys, other: MediaKeys) -> bool:
    return (one.send.master_key, one.receive.master_key) == (other.send.master_key, other.receive.master_key)
