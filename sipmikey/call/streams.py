"""The streams of a call: which exist, which have keys, and whether packets of the peer prove those."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.call.events import (
    MediaExpired,
    MediaFailed,
    MediaKeyed,
    MediaProtection,
    MediaProven,
    MediaRekeyed,
    MediaResumed,
    MediaStalled,
    MediaSwitched,
    StreamStats,
)
from sipmikey.call.inputs import StreamCount
from sipmikey.call.keying.agreement import Agreement, StreamKeys
from sipmikey.call.outbox import Outbox
from sipmikey.call.outputs import Count, Key, Timer, Unkey
from sipmikey.call.reasons import Reason
from sipmikey.call.settings import Patience

SETTLED = 10
"""After this many packets under new keys, no packet under the old ones is still under way."""

_LOOK_S = 0.02
_WATCH_S = 1.0
_SWITCH_LOOKS = 100
"""A change of keys is looked at for two seconds at most."""


@dataclass(slots=True, kw_only=True)
class _Proof:
    """What shows that the peer sends on a stream.

    ``received``: packets counted so far; None: not counted yet. ``late``: none came in the time for the first
    one. ``silent``: looks since the last one. ``told``: an event told that; ``explained``: an event told why
    packets fail. ``source``: SSRC of the last one, 0: not known.
    """

    received: int | None
    proven: bool = False
    late: bool = False
    silent: int = 0
    told: bool = False
    explained: bool = False
    source: int = 0


@dataclass(slots=True, kw_only=True)
class _Switch:
    """A change of keys: the counts ``before`` it, and how many ``looks`` at the counts are left."""

    before: StreamCount
    looks: int = _SWITCH_LOOKS


class Streams:
    """The streams of one INVITE."""

    def __init__(self, out: Outbox, patience: Patience) -> None:
        self._out = out
        self._patience = patience
        self._existing: set[int] = set()
        self._running: dict[int, StreamKeys] = {}
        self._proofs: dict[int, _Proof] = {}
        self._switches: dict[int, _Switch] = {}
        self._given: set[str] = set()
        self._spent: set[int] = set()
        self.answered = False

    @property
    def spent(self) -> bool:
        """True when a stream waits for new keys: those agreed on were taken away from it before.

        The stack would start them from packet index 0 again, and use key stream twice (RFC 3711
        section 9.1).
        """
        return bool(self._spent)

    def ran_on(self, agreement: Agreement) -> bool:
        """Return whether a stream was given keys of *agreement* before."""
        return any(self._ran(stream) for stream in agreement.streams)

    def _ran(self, stream: StreamKeys) -> bool:
        """Return whether a key of *stream* was given to the stack, and does not run on it now."""
        running = self._running.get(stream.index)
        changed = running is None or _names(running) != _names(stream)
        return changed and stream.keys is not None and not self._given.isdisjoint(_names(stream))

    @property
    def running(self) -> bool:
        """True when a stream has keys."""
        return bool(self._running)

    @property
    def protection(self) -> MediaProtection:
        """What the keys are worth by now."""
        if not self._running:
            return MediaProtection.HELD
        proven = all(proof.proven and not proof.told for proof in self._proofs.values())
        return MediaProtection.PROVEN if proven else MediaProtection.KEYED

    def created(self, index: int, *, without_keys: bool) -> None:
        """A stream exists; *without_keys* when the stack took away what keys its transport had."""
        self._existing.add(index)
        if (known := self._proofs.get(index)) is not None:
            known.source = 0
        if without_keys:
            self._running.pop(index, None)
            self._proofs.pop(index, None)

    def key(self, agreement: Agreement, to_tag: str, *, rekeyed: bool) -> None:
        """Run the streams that exist on the keys of branch *to_tag*."""
        if self._running and any(self._ran(stream) for stream in agreement.streams):
            # They run on the keys of another branch, which must no longer be heard.
            self.unkey()
        for stream in agreement.streams:
            before = self._running.get(stream.index)
            if stream.keys is not None and stream.index not in self._existing:
                continue
            changed = before is None or _names(before) != _names(stream)
            if self._ran(stream):
                self._spent.add(stream.index)
                continue
            self._spent.discard(stream.index)
            self._running[stream.index] = stream
            if changed:
                self._key(stream, to_tag, rekeyed=rekeyed and before is not None)
        self._look()

    def _key(self, stream: StreamKeys, to_tag: str, *, rekeyed: bool) -> None:
        if stream.keys is not None:
            self._given |= _names(stream)
            self._out.put(Key(index=stream.index, keys=stream.keys))
        facts = {
            "index": stream.index,
            "suite": stream.suite,
            "send_key": stream.send_key,
            "receive_key": stream.receive_key,
        }
        if rekeyed:
            self._out.tell(MediaRekeyed, **facts)
            return
        # Packets of another branch, which were counted before, prove nothing of these keys.
        self._proofs[stream.index] = _Proof(received=None if stream.keys is not None else 0)
        self._out.tell(MediaKeyed, to_tag=to_tag, **facts)
        self._expect_proof()

    def keyed(self, index: int, before: StreamCount | None) -> None:
        """The stream runs on the keys it was given; *before*: its counts then."""
        proof = self._proofs.get(index)
        if index not in self._running or proof is None:
            return
        proof.source = 0
        if proof.received is None:
            proof.received = 0 if before is None else before.received
        elif before is not None:
            self._switches[index] = _Switch(before=before)
        self._look()

    def unkey(self) -> None:
        """Take all keys away: nothing is sent or played."""
        self.forget()
        self._out.put(Unkey())

    def forget(self) -> None:
        """The INVITE is over, or its keys are no longer used."""
        self._running.clear()
        self._spent.clear()
        self._proofs.clear()
        self._switches.clear()
        self._out.stop(Timer.LOOK, Timer.PROOF)

    def expire(self, detail: str) -> None:
        """Tell that the keys must no longer be used, and take them away."""
        for index in sorted(self._running):
            self._out.tell(MediaExpired, index=index, reason=Reason.KEY_EXPIRED, side="local", detail=detail)
        self.unkey()

    def established(self) -> None:
        """The call is answered: from now on a proof is expected within the time that policy names."""
        self.answered = True
        self._expect_proof()
        self._look()

    def _expect_proof(self) -> None:
        if self.answered and not all(proof.proven for proof in self._proofs.values()):
            self._out.start(Timer.PROOF, self._patience.media)

    def unproven(self) -> None:
        """The time for the proof is over: tell which streams have none."""
        for index, proof in sorted(self._proofs.items()):
            if not proof.proven:
                proof.late = True
                detail = f"no packet of the peer verified within {self._patience.media:g} s"
                self._out.tell(
                    MediaFailed, index=index, reason=Reason.MEDIA_UNPROVEN, side="remote", detail=detail
                )

    def look(self) -> None:
        """The time has come to look at the counts."""
        self._out.put(Count())

    def counted(self, counts: tuple[StreamCount, ...]) -> None:
        """Compare the counts with the last ones."""
        now = {count.index: count for count in counts}
        for index, proof in sorted(self._proofs.items()):
            if index in now and proof.received is not None:
                self._compare(index, proof, now[index])
        for index, switch in sorted(self._switches.items()):
            self._settle(index, switch, now.get(index))
        self._look()

    def _compare(self, index: int, proof: _Proof, now: StreamCount) -> None:
        if now.received < (proof.received or 0):
            # The packets of another SSRC are counted from 0.
            proof.received = 0
        if now.received > (proof.received or 0):
            if not proof.proven:
                proof.proven = True
                self._out.tell(MediaProven, index=index)
                if all(other.proven for other in self._proofs.values()):
                    self._out.stop(Timer.PROOF)
            elif proof.told:
                self._out.tell(MediaResumed, index=index, silent_s=proof.silent * _WATCH_S)
            proof.received, proof.silent, proof.told, proof.explained = now.received, 0, False, False
            self._judge_source(index, proof, now.source)
        elif self._watching and self._running[index].receives:
            proof.silent += 1
            if proof.proven:
                self._judge_silence(index, proof, now.trouble)
        elif not self._running[index].receives:
            proof.silent = 0

    def _judge_source(self, index: int, proof: _Proof, source: int) -> None:
        """Tell that packets come from a new source, though under the right key.

        It is told once: whatever verifies next is proven as that other source.
        """
        before, proof.source = proof.source, source or proof.source
        if before and source and before != source:
            proof.told = True
            self._out.tell(
                MediaFailed, index=index, reason=Reason.MEDIA_FAILED, side="remote",
                detail=f"packets verify under another SSRC than before: {source:08x}, not {before:08x}",
            )  # fmt: skip

    def _judge_silence(self, index: int, proof: _Proof, trouble: str) -> None:
        silent_s = proof.silent * _WATCH_S
        if silent_s < self._patience.silence or proof.explained or (proof.told and not trouble):
            return
        proof.told = True
        if trouble:
            # It may take until after the silence was told to find out.
            proof.explained = True
            self._out.tell(
                MediaFailed, index=index, reason=Reason.MEDIA_FAILED, side="remote",
                detail=f"no packet of the peer verified for {silent_s:g} s: {trouble}",
            )  # fmt: skip
            return
        self._out.tell(
            MediaStalled, index=index, reason=Reason.MEDIA_STALLED, side="network",
            detail=f"nothing of the peer arrived for {silent_s:g} s", silent_s=silent_s,
        )  # fmt: skip

    @property
    def gone(self) -> bool:
        """True when the peer has been silent for so long, on every stream, that the call is to end."""
        longest = self._patience.gone
        silent = [
            (proof.told or proof.late) and proof.silent * _WATCH_S >= longest
            for index, proof in self._proofs.items()
            if self._running[index].receives
        ]
        return longest > 0 and bool(silent) and all(silent)

    def _settle(self, index: int, switch: _Switch, now: StreamCount | None) -> None:
        """Tell how many packets were lost at a change of keys, as soon as that can be known."""
        lost = 0 if now is None else now.lost - switch.before.lost
        received = 0 if now is None else now.received - switch.before.received
        if now is not None and received < 0:
            lost, received = now.lost, now.received
        switch.looks -= 1
        if received >= SETTLED or switch.looks <= 0:
            del self._switches[index]
            self._out.tell(MediaSwitched, index=index, lost=lost, received=received)

    @property
    def _watching(self) -> bool:
        """True while the only question left is whether the peer goes silent."""
        return not self._switches and all(proof.proven or proof.late for proof in self._proofs.values())

    def _look(self) -> None:
        if not self._running:
            return
        if not self._watching:
            self._out.start(Timer.LOOK, _LOOK_S)
        elif self.answered and self._proofs and Timer.LOOK not in self._out.timers:
            self._out.start(Timer.LOOK, _WATCH_S)


def _names(stream: StreamKeys) -> frozenset[str]:
    """Return what names the keys of *stream*, each with its direction."""
    return frozenset((f"send {stream.send_key}", f"receive {stream.receive_key}"))


def stream_stats(counts: tuple[StreamCount, ...]) -> tuple[StreamStats, ...]:
    """Return packet counts as events show them."""
    return tuple(
        StreamStats(
            index=count.index,
            codec=count.codec,
            sent=count.sent,
            decrypted=count.received,
            lost=count.lost,
        )
        for count in counts
    )
