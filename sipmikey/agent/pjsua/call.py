"""One call on pjsua2. Everything here runs in the engine's thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.pjsua import operations
from sipmikey.agent.pjsua.account import PjsuaAccount
from sipmikey.agent.pjsua.call_table import CallTable
from sipmikey.agent.pjsua.callbacks import CallbackCall, Guard
from sipmikey.agent.pjsua.library import logged, pj
from sipmikey.agent.pjsua.media.agreed_stream import agreed_on
from sipmikey.agent.pjsua.media.path_watch import PathWatch
from sipmikey.agent.pjsua.media.probation import end_probation
from sipmikey.agent.pjsua.media.stream_counts import StreamCounts
from sipmikey.agent.pjsua.moves import Moves
from sipmikey.agent.pjsua.native.refusals import Refusals
from sipmikey.agent.pjsua.native.sdp import SdpPrinter
from sipmikey.agent.pjsua.native.source import PeerSource
from sipmikey.agent.pjsua.native.srtp import NativeSrtp
from sipmikey.agent.pjsua.native.trouble import Trouble
from sipmikey.agent.pjsua.sound.sound import Line, Sound
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    Lane,
    OfferVerdict,
    Phase,
    Seat,
    SrtpKeys,
    StackCall,
    StackError,
    StackObserver,
    StreamCount,
)
from sipmikey.nat.path import MediaPath
from sipmikey.sip import SipMessage

if TYPE_CHECKING:
    from sipmikey.agent.python_media.engine import PythonMedia

_ACTIVE = pj.PJSUA_CALL_MEDIA_ACTIVE
_REMOTE_HOLD = pj.PJSUA_CALL_MEDIA_REMOTE_HOLD

_PHASES = {
    pj.PJSIP_INV_STATE_CALLING: Phase.CALLING,
    pj.PJSIP_INV_STATE_INCOMING: Phase.INCOMING,
    pj.PJSIP_INV_STATE_EARLY: Phase.EARLY,
    pj.PJSIP_INV_STATE_CONNECTING: Phase.CONNECTING,
    pj.PJSIP_INV_STATE_CONFIRMED: Phase.CONFIRMED,
    pj.PJSIP_INV_STATE_DISCONNECTED: Phase.DISCONNECTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedParts:
    """What the calls of one stack have in common. ``media``: the endpoint in Python, None for pjmedia.

    ``later`` runs a callable in the engine's thread after a delay in seconds.
    """

    config: AgentConfig
    observer: StackObserver
    later: Callable[[float, Callable[[], None]], None]
    srtp: NativeSrtp
    trouble: Trouble
    source: PeerSource
    sdp: SdpPrinter
    sound: Sound
    media: PythonMedia | None
    moves: Moves
    refusals: Refusals
    calls: CallTable[PjsuaCall]


class PjsuaCall:
    """One INVITE session; implements ``StackCall``. *streams*: those offered, 0 for a call that is refused.

    *number*: pjsua's number of an incoming call.
    """

    def __init__(
        self,
        shared: SharedParts,
        account: PjsuaAccount,
        observer: CallObserver | None,
        streams: int,
        number: int | None = None,
    ) -> None:
        self._offered = streams
        self._shared = shared
        self._observer = observer
        self._account = account
        self._secured = account.lane is Lane.SECURED
        self._media = shared.media.call(self._digit) if shared.media is not None and self._secured else None
        self._pj: CallbackCall | None = CallbackCall(self, account, *(() if number is None else (number,)))
        self._streams: dict[int, int] = {}
        self._keyed: set[int] = set()
        self._counts = StreamCounts(lambda: self._live, self._trouble, self._source)
        self._confirmed = False
        self._over = False
        self._audible: set[int] = set()
        self._active: set[int] = set()
        self._restarting: set[int] = set()
        self._keys_to_come: dict[int, SrtpKeys] = {}
        self._speaking = False
        self._introduce: Callable[[], None] | None = None
        self.sip_call_id = "" if number is None else str(self._live.getInfo().callIdString)

    def introduce_later(self, introduce: Callable[[], None]) -> None:
        """Have the call shown to the agent when the stack has made its description."""
        self._introduce = introduce

    def introduce(self) -> None:
        """Show the call to the agent, if that has not been done yet."""
        introduce, self._introduce = self._introduce, None
        if introduce is not None:
            with logged("an incoming call"):
                introduce()

    def observe(self, observer: CallObserver) -> None:
        self._observer = observer

    def invite(self, uri: str, headers: Headers, target: str) -> None:
        """Send the INVITE: To is *uri*, and the Request-URI *target* unless that is empty."""
        operations.invite(self._live, uri, headers, target, self._shared.config.audio.streams)

    def answer(self, status: int, *, sdp: str | None = None, headers: Headers = ()) -> None:
        """Answer with *status*; *sdp* replaces the answer the stack made."""
        operations.answer(self._live, status, sdp, headers, self._offered)

    def hangup(self, status: int = 0, *, headers: Headers = (), sdp: str | None = None) -> None:
        """CANCEL, BYE, or refuse with *status*, whichever the state of the call calls for.

        *sdp*, sent along, tells why.
        """
        if not self._over:
            operations.hangup(self._live, status, sdp, headers)

    def end_branch(self, to_tag: str, *, headers: Headers = ()) -> None:
        """Nothing: pjsip ends the branches that do not have the call."""

    def key(self, index: int, keys: SrtpKeys) -> StreamCount | None:
        """Give the stream at *index* its keys; return its packets before that.

        A stream that does not exist yet is an error.
        """
        if index not in self._streams:
            if index not in self._restarting:
                raise StackError(f"no stream at m-line {index}")
            self._keys_to_come[index] = keys
            return None
        self._restarting.discard(index)
        before = next((count for count in self.counts() if count.index == index), None)
        if self._media is not None:
            self._media.key(index, keys, confirmed=self._confirmed)
        else:
            self._shared.srtp.start(self._streams[index], keys)
        self._keyed.add(index)
        return before

    def unkey(self) -> None:
        """Take the keys of all streams away."""
        self._keyed.clear()
        if self._media is not None:
            self._media.unkey()
            return
        for stream in self._streams.values():
            self._shared.srtp.stop(stream)

    @property
    def streams(self) -> tuple[int, ...]:
        """m-line indices of the streams that exist."""
        return tuple(sorted(self._streams))

    def counts(self) -> tuple[StreamCount, ...]:
        """Packets of every stream so far, those of streams that were replaced included."""
        if self._media is not None:
            return self._media.counts()
        return self._counts.all(self._streams)

    def connect_audio(self) -> None:
        """Let sound flow between the streams, now or once they are ready, and the configured audio."""
        first, self._speaking = not self._speaking, True
        if self._media is not None:
            self._media.speak()
            return
        if first and self.lane is Lane.BY_STACK:
            for index, stream in self._streams.items():
                if self._live.getStreamInfo(index).dir & pj.PJMEDIA_DIR_ENCODING:
                    self._shared.srtp.speak(stream)
        lines = tuple(
            Line(self._live.getAudioMedia(index), mixes=index in self._active)
            for index in sorted(self._audible & self._streams.keys())
        )
        self._shared.sound.connect(id(self), lines)

    def seat(self, seat: Seat) -> None:
        """Have the call hear, and be heard by, those of its room only."""
        if self._over:
            # A seat of a call that is over would be found by the next one with this id.
            return
        if self._media is not None:
            self._media.seat(seat)
        else:
            self._shared.sound.seat(id(self), seat)

    def mixes_with(self, other: StackCall) -> bool:
        """True where one engine runs the media of both: all calls of a process are on its bridge."""
        return isinstance(other, PjsuaCall) and (self._media is None) == (other._media is None)

    def reinvite(
        self, *, hold: bool = False, unhold: bool = False, moved: bool = False, restart: bool = False
    ) -> None:
        """Offer again. *restart* makes new media transports, which get keys once the peer has answered."""
        if restart and not hold:
            self._restarting = set(self._streams)
        operations.reinvite(
            self._live, max(1, len(self._streams)), hold=hold, unhold=unhold, moved=moved, restart=restart
        )

    def update(self) -> None:
        operations.update(self._live, max(1, len(self._streams)))

    def dtmf(self, digits: str) -> None:
        if self._media is not None:
            self._media.dtmf(digits)
            return
        operations.send_dtmf(self._live, digits)

    def transfer(self, target: str, replacing: StackCall | None = None) -> None:
        """Send REFER to *target*, or to the peer of *replacing*, whose place the new call is to take."""
        operations.refer(self._live, target, replacing._live if isinstance(replacing, PjsuaCall) else None)

    def has_room_for(self, streams: int) -> bool:
        """True when another call of *streams* can be made beside this one."""
        return self._shared.calls.ready_in(streams) == 0.0

    def successor(self, observer: CallObserver, streams: int) -> CallbackCall:
        """Make the call that a REFER or an INVITE with Replaces asks for, for the stack to place."""
        shared = self._shared
        call = PjsuaCall(shared, self._account, observer, streams)
        shared.calls.add(call, streams)
        observer.on_attached(call)
        shared.later(0.0, call._check_placed)
        return call._live

    def _check_placed(self) -> None:
        """The stack tells nothing of a successor that it could not place: end it here."""
        if self._over or self._pj is None or self._pj.isActive():
            return
        self._over = True
        if self._observer is not None:
            self._observer.on_failed(StackError("the SIP stack could not place the call"))
            self._observer.on_phase(Phase.DISCONNECTED, 0, "")
        self._shared.calls.remove(self)

    def discard(self) -> None:
        """Let go of pjsua2's object."""
        self._over = True
        self._shared.sound.release(id(self))
        if self._media is not None:
            self._media.close()
            self._media = None
        self._observer = None
        for index in self._streams:
            self._shared.trouble.forget((id(self), index))
        self._streams.clear()
        if self._pj is not None:
            self._pj.release()
            self._pj = None

    def guarded(self) -> AbstractContextManager[CallObserver | None]:
        """Run an observer's method; an exception in it ends the call, and never reaches pjsua2."""
        return Guard(self._observer, self._shared.later)

    def on_phase(self, info: Any) -> None:
        phase = _PHASES.get(info.state)
        if phase is None:
            return
        self.sip_call_id = str(info.callIdString)
        self._confirmed = self._confirmed or phase is Phase.CONFIRMED
        if self._media is not None and phase is Phase.CONFIRMED:
            self._media.choose()
        if phase is Phase.CONFIRMED and self._shared.config.nat.uses_ice:
            PathWatch(self._shared.later, self._dump, self._tell_path).start()
        if phase is Phase.DISCONNECTED:
            self._over = True
        with self.guarded() as observer:
            if observer is not None:
                observer.on_phase(phase, int(info.lastStatusCode), str(info.lastReason))
        if phase is Phase.DISCONNECTED:
            self._shared.calls.remove(self)

    def _dump(self) -> str | None:
        return None if self._over or self._pj is None else str(self._live.dump(True, ""))

    def _tell_path(self, index: int, path: MediaPath) -> None:
        self._shared.observer.on_media_path(self.sip_call_id, index, path)

    def on_stream(self, index: int, stream: int) -> None:
        self._streams[index] = stream
        self._audible.discard(index)
        if self._media is not None:
            self._connect(index)
        elif self._secured and not self._keeps_keys(index):
            # The SRTP transport outlives the stream: it may still hold the keys of another branch.
            self._keyed.discard(index)
            self._shared.srtp.stop(stream)
            with contextlib.suppress(pj.Error):
                name = str(self._live.getMedTransportInfo(index).localRtpName)
                end_probation(name, self._shared.config.sip.bind)
        elif not self._speaking and self.lane is Lane.BY_STACK:
            # pjmedia has keys before the answer that brought them was judged.
            self._shared.srtp.hush(stream)
        if (keys := self._keys_to_come.pop(index, None)) is not None:
            self.key(index, keys)
        with self.guarded() as observer:
            if observer is not None:
                observer.on_stream_created(index)

    @property
    def _answers_offer(self) -> bool:
        return self._pj is not None and self._pj.answers_offer

    def _keeps_keys(self, index: int) -> bool:
        """True where a stream made again is of the same party: within the call, or for its offer."""
        return self._confirmed or (index in self._keyed and self._answers_offer)

    def _connect(self, index: int) -> None:
        """Tell the media in Python what pjsua2 agreed on with the peer."""
        assert self._media is not None
        if not (self._confirmed or self._answers_offer):
            self._media.unkey()
        self._media.connect(index, agreed_on(self._live.getStreamInfo(index)))

    def _digit(self, digit: str) -> None:
        """The peer pressed a key, as the media in Python heard."""
        with self.guarded() as observer:
            if observer is not None:
                observer.on_dtmf(digit)

    @property
    def awaits_ack(self) -> bool:
        """True while an ACK has to carry the answer to our offer."""
        return self._pj is not None and not self._over and self._pj.awaits_ack

    def on_ack(self, message: SipMessage) -> None:
        """Take an ACK of this call."""
        if self._pj is not None and not self._over:
            self._pj.on_ack(message)

    def explain(self, verdict: OfferVerdict) -> None:
        """Give the refusal that the stack is about to send the status and header fields of *verdict*."""
        self._shared.refusals.explain(self.sip_call_id, verdict.status, verdict.headers)

    def print_sdp(self, session: int) -> str:
        """Return a description that pjsua2 gave no text of. *session*: address of pjmedia's."""
        return self._shared.sdp.text(session)

    def described(self, sdp: str) -> str:
        """Return the description the stack made with the addresses of the engine that runs the media."""
        sdp = self._shared.moves.describe(sdp)
        if self._media is not None:
            return self._media.describe(sdp)
        return sdp if self._shared.media is None else self._shared.media.plain(sdp)

    def on_stream_gone(self, index: int, stream: int) -> None:
        if self._streams.get(index) != stream:
            return
        if self._media is not None:
            self._media.disconnect(index)
            del self._streams[index]
            return
        self._counts.keep(index, stream)
        if not self._over and self._secured and not self._keeps_keys(index):
            self._keyed.discard(index)
            self._shared.srtp.stop(stream)
        self._shared.trouble.forget((id(self), index))
        del self._streams[index]

    def on_media(self, info: Any) -> None:
        media = info.media
        self._audible = {
            int(one.index)
            for one in media
            if one.type == pj.PJMEDIA_TYPE_AUDIO and one.status in (_ACTIVE, _REMOTE_HOLD)
        }
        self._active = {int(one.index) for one in media if one.status == _ACTIVE} & self._audible
        if self._speaking:
            self.connect_audio()

    @property
    def _live(self) -> CallbackCall:
        if self._pj is None:
            raise StackError("the call is over")
        return self._pj

    @property
    def lane(self) -> Lane:
        """The account this call is on."""
        return self._account.lane

    @property
    def stream_count(self) -> int:
        """Audio streams a call offers."""
        return self._shared.config.audio.streams

    @property
    def slot(self) -> int:
        """Number of pjsua's call slot this call has, or had."""
        return -1 if self._pj is None else int(self._pj.getId())

    def _trouble(self, index: int, received: int) -> str:
        """Return what pjmedia finds wrong with the packets of a stream, if it is silent."""
        if not self._secured or not self._confirmed or self._over:
            return ""
        return self._shared.trouble.about((id(self), index), received, time.monotonic())

    def _source(self, stream: int) -> int:
        return self._shared.source.of(stream) if self._secured else 0
