"""pjsua2's callbacks of one call, passed to the owner of the call. In the engine's thread."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

from sipmikey.agent.pjsua.account import PjsuaAccount
from sipmikey.agent.pjsua.library import pj, read_message
from sipmikey.agent.pjsua.media.sdp_version import VersionCounter
from sipmikey.agent.stack import CallObserver, Lane, OfferVerdict
from sipmikey.media.voice.telephone_event import DigitRate
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.sip import SipMessage

_log = logging.getLogger("sipmikey.agent.pjsua.stack")


class CallOwner(Protocol):
    """The owner of a call, as pjsua2 tells and asks it. ``stream_count``: of a call that is offered."""

    @property
    def lane(self) -> Lane: ...

    @property
    def stream_count(self) -> int: ...

    def guarded(self) -> AbstractContextManager[CallObserver | None]:
        """Yield the observer of the call; an exception raised in the block ends the call."""

    def introduce(self) -> None:
        """The stack makes a description: show the call to the agent, if that has not been done yet."""

    def print_sdp(self, session: int) -> str:
        """Return a description that pjsua2 gave no text of. *session*: address of pjmedia's."""

    def described(self, sdp: str) -> str:
        """Return the description the stack made with the addresses of the engine that runs the media."""

    def explain(self, verdict: OfferVerdict) -> None:
        """Give the refusal that the stack is about to send the status and header fields of *verdict*."""

    def on_phase(self, info: Any) -> None: ...

    def on_stream(self, index: int, stream: int) -> None: ...

    def on_stream_gone(self, index: int, stream: int) -> None: ...

    def on_media(self, info: Any) -> None: ...

    def has_room_for(self, streams: int) -> bool:
        """True when another call of *streams* can be made beside this one."""

    def successor(self, observer: CallObserver, streams: int) -> CallbackCall:
        """Make the call that a REFER or an INVITE with Replaces asks for, for the stack to place."""


class Guard:
    """A context manager that yields *observer*. An exception in the block ends the call, and goes no further.

    *later* runs a callable in the engine's thread after a delay in seconds.
    """

    __slots__ = ("_later", "_observer")

    def __init__(
        self, observer: CallObserver | None, later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self._observer = observer
        self._later = later

    def __enter__(self) -> CallObserver | None:
        return self._observer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return True
        if not isinstance(error, SipmikeyError):
            _log.error("a callback failed", exc_info=error)
        # The traceback would keep pjsua2's object alive beyond the call.
        observer, cause = self._observer, error.with_traceback(None)
        if observer is not None:
            self._later(0.0, lambda: observer.on_failed(cause))
        return True


class CallbackCall(pj.Call):  # type: ignore[misc]
    """Takes pjsua2's callbacks to the *owner* of the call. *number*: pjsua's, of an incoming call.

    ``answers_offer``: an offer of the peer was permitted, and its answer has not gone out.
    """

    def __init__(self, owner: CallOwner, account: PjsuaAccount, *number: int) -> None:
        super().__init__(account, *number)
        self._owner: CallOwner | None = owner
        self._offer = ""
        self._version = VersionCounter()
        self._offered_in_200_to = ""
        self._keys = DigitRate()
        self.answers_offer = False

    def release(self) -> None:
        self._owner = None

    def _guarded(self) -> AbstractContextManager[CallObserver | None]:
        return contextlib.nullcontext() if self._owner is None else self._owner.guarded()

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - pjsua2's names, here and below
        with self._guarded():
            if self._owner is not None:
                info, event = self.getInfo(), prm.e
                if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
                    self._last_message(event)
                self._owner.on_phase(info)

    def _last_message(self, event: Any) -> None:
        """Deliver the response that ends a call: pjsua2 no longer reports its transaction."""
        state = event.body.tsxState
        if event.type == pj.PJSIP_EVENT_TSX_STATE and state.type == pj.PJSIP_EVENT_RX_MSG:
            message = read_message(state.src.rdata.wholeMsg)
            with self._guarded() as observer:
                if observer is not None and message.status >= 200:
                    observer.on_message("received", message)

    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            state = prm.e.body.tsxState
            self.answers_offer = False
            if observer is None:
                return
            if state.type == pj.PJSIP_EVENT_RX_MSG:
                message = read_message(state.src.rdata.wholeMsg)
                if message.method == "INVITE" and not message.status:
                    self._offered_in_200_to = "" if message.has_sdp else _cseq(message)
                if message.has_sdp and not message.status:
                    # pjsua2 hands descriptions of over 1 kB to the callbacks as empty texts.
                    self._offer = message.sdp
                observer.on_message("received", message)
            elif state.type == pj.PJSIP_EVENT_TX_MSG:
                observer.on_message("sent", read_message(state.src.tdata.wholeMsg))

    @property
    def awaits_ack(self) -> bool:
        """True while an ACK has to carry the answer to the offer in our 200."""
        return bool(self._offered_in_200_to)

    def on_ack(self, message: SipMessage) -> None:
        """Pass on the ACK that has to carry the answer to the offer in our 200."""
        if self._offered_in_200_to and _cseq(message) == self._offered_in_200_to:
            self._offered_in_200_to = ""
            with self._guarded() as observer:
                if observer is not None:
                    observer.on_message("received", message)

    def onCallSdpCreated(self, prm: Any) -> None:  # noqa: N802
        if self._owner is not None:
            self._owner.introduce()
        with self._guarded() as observer:
            if observer is not None:
                assert self._owner is not None
                made = prm.sdp.wholeSdp or self._owner.print_sdp(int(prm.sdp.pjSdpSession))
                # If the observer fails, the description sent has no usable stream.
                prm.sdp.wholeSdp = _without_media(made)
                keyed = observer.on_local_sdp(self._owner.described(made), prm.remSdp.wholeSdp)
                prm.sdp.wholeSdp = self._version.marked(keyed)

    def onCallRxOffer(self, prm: Any) -> None:  # noqa: N802
        prm.statusCode = pj.PJSIP_SC_NOT_ACCEPTABLE_HERE
        with self._guarded() as observer:
            if observer is not None:
                verdict = observer.on_remote_offer(self._offer)
                prm.statusCode = verdict.status
                self.answers_offer = verdict.status == pj.PJSIP_SC_OK
                if verdict.status != pj.PJSIP_SC_OK and self._owner is not None:
                    self._owner.explain(verdict)

    def onStreamCreated(self, prm: Any) -> None:  # noqa: N802
        with self._guarded():
            if self._owner is not None:
                self._owner.on_stream(int(prm.streamIdx), int(prm.stream))

    def onStreamDestroyed(self, prm: Any) -> None:  # noqa: N802
        with self._guarded():
            if self._owner is not None:
                self._owner.on_stream_gone(int(prm.streamIdx), int(prm.stream))

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        with self._guarded():
            self._version.agreed()
            if self._owner is not None:
                self._owner.on_media(self.getInfo())

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            if observer is not None and self._keys.passes(time.monotonic()):
                observer.on_dtmf(str(prm.digit))

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        prm.statusCode = pj.PJSIP_SC_DECLINE
        with self._guarded() as observer:
            if observer is None or self._owner is None:
                return
            if not self._owner.has_room_for(self._owner.stream_count):
                prm.statusCode = pj.PJSIP_SC_BUSY_HERE
                return
            outcome = observer.on_transfer_requested(str(prm.dstUri))
            prm.statusCode = outcome if isinstance(outcome, int) else pj.PJSIP_SC_ACCEPTED
            if not isinstance(outcome, int):
                self._succeed(prm, outcome, self._owner.stream_count)

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        # Once accepted, pjsua answers the new call by itself, within the callback that brought the INVITE.
        prm.statusCode = pj.PJSIP_SC_INTERNAL_SERVER_ERROR
        with self._guarded() as observer:
            if observer is None or self._owner is None:
                return
            invite = read_message(prm.rdata.wholeMsg)
            streams = offered_streams(invite)
            if not self._owner.has_room_for(streams):
                prm.statusCode = pj.PJSIP_SC_BUSY_HERE
                return
            outcome = observer.on_replacement_asked(invite, str(prm.rdata.srcAddress), self._owner.lane)
            prm.statusCode = outcome if isinstance(outcome, int) else pj.PJSIP_SC_OK
            if not isinstance(outcome, int):
                self._succeed(prm, outcome, streams)

    def onCallReplaced(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            if observer is not None:
                observer.on_replaced()

    def _succeed(self, prm: Any, observer: CallObserver, streams: int) -> None:
        assert self._owner is not None
        prm.newCall = self._owner.successor(observer, streams)
        prm.opt.audioCount = streams
        prm.opt.videoCount = 0

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            if observer is not None:
                observer.on_transfer_progress(int(prm.statusCode), bool(prm.finalNotify))

    def onCallRedirected(self, prm: Any) -> int:  # noqa: N802
        # The stack would send the same offer again. With no target left the call ends with the 3xx itself;
        # PJSIP_REDIRECT_STOP, which is the default, would make that a 487.
        return int(pj.PJSIP_REDIRECT_REJECT)


def _cseq(message: SipMessage) -> str:
    return (message.first("cseq") or "").partition(" ")[0]


def offered_streams(invite: SipMessage) -> int:
    """Return how many streams an INVITE asks for: 1 where it has no description."""
    return max(1, invite.sdp.count("\nm="))


def _without_media(sdp: str) -> str:
    """Return *sdp* with every m-line's port 0, which rejects the stream (RFC 3264 section 5.1)."""
    return re.sub(r"^(m=\w+ )\d+", r"\g<1>0", sdp, flags=re.MULTILINE)
