"""The SIP stack on pjsua2. The only module that imports it; everything here runs in the engine's thread."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pjsua2 as pj

from sipmikey.agent.config import MAX_CALLS, AgentConfig, Transport
from sipmikey.agent.handles import HANDLES_PER_STREAM, HandleBudget
from sipmikey.agent.message import SipMessage
from sipmikey.agent.native_srtp import NativeSrtp
from sipmikey.agent.python_media import PythonMedia
from sipmikey.agent.stack import (
    CallObserver,
    Headers,
    Lane,
    Phase,
    SrtpKeys,
    StackError,
    StackObserver,
    StreamCount,
)
from sipmikey.mikey.errors import SipmikeyError

__all__ = ["PjsuaStack"]

_log = logging.getLogger("sipmikey.agent.pjsua")

_NO_KEYING_METHOD = 7
"""No keying method of pjmedia has this number: SRTP is created, left out of SDP, and drops all packets."""

_ACTIVE = pj.PJSUA_CALL_MEDIA_ACTIVE
_REMOTE_HOLD = pj.PJSUA_CALL_MEDIA_REMOTE_HOLD
_REWRITE_ALWAYS = 2
"""Correct the Contact by the rport of the response also where only the port differs."""

_ABRUPT = 3
"""Flags of libDestroy: send nothing and wait for nothing; calls and registration have ended before."""

_PHASES = {
    pj.PJSIP_INV_STATE_CALLING: Phase.CALLING,
    pj.PJSIP_INV_STATE_INCOMING: Phase.INCOMING,
    pj.PJSIP_INV_STATE_EARLY: Phase.EARLY,
    pj.PJSIP_INV_STATE_CONNECTING: Phase.CONNECTING,
    pj.PJSIP_INV_STATE_CONFIRMED: Phase.CONFIRMED,
    pj.PJSIP_INV_STATE_DISCONNECTED: Phase.DISCONNECTED,
}
_TRANSPORTS = {
    Transport.UDP: (pj.PJSIP_TRANSPORT_UDP, pj.PJSIP_TRANSPORT_UDP6),
    Transport.TCP: (pj.PJSIP_TRANSPORT_TCP, pj.PJSIP_TRANSPORT_TCP6),
    Transport.TLS: (pj.PJSIP_TRANSPORT_TLS, pj.PJSIP_TRANSPORT_TLS6),
}
_SRTP_USE = {
    Lane.SECURED: pj.PJMEDIA_SRTP_MANDATORY,
    Lane.CLEAR: pj.PJMEDIA_SRTP_DISABLED,
    Lane.REFUSED: pj.PJMEDIA_SRTP_OPTIONAL,
}
_ANY_ADDRESS = ("0.0.0.0", "::", "")


@contextlib.contextmanager
def _typed(doing: str) -> Iterator[None]:
    """Turn pjsua2's own exception into a ``StackError`` that says what was being done."""
    try:
        yield
    except pj.Error as error:
        raise StackError(f"{doing}: {error.reason}", int(error.status)) from None


def _fill(headers: Any, values: Headers) -> None:
    for name, value in values:
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        headers.append(header)


class PjsuaStack:
    """pjsua2 with its transports, accounts and calls.

    *later* runs a callable in the engine's thread after a delay in seconds.
    """

    def __init__(
        self,
        config: AgentConfig,
        observer: StackObserver,
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self.config = config
        self.observer = observer
        self.later = later
        self.srtp = NativeSrtp(pj._pjsua2.__file__)
        self.handles = HandleBudget()
        self.calls: list[PjsuaCall] = []
        self._over: list[PjsuaCall] = []
        self.sound = _Sound(config, observer.played)
        self.media = PythonMedia(config) if config.audio.engine == "python" else None
        self.addresses: dict[Transport, str] = {}
        self.registered = False
        self._lanes: dict[int, Lane] = {}
        self._accounts: dict[Lane, _Account] = {}
        # pjlib prints its first lines before any configuration of ours applies.
        ctypes.CDLL(pj._pjsua2.__file__).pj_log_set_level(0)
        self._endpoint = _Endpoint(self)
        try:
            with _typed("start of pjsua2"):
                self._open()
        except BaseException:
            self.destroy()
            raise

    def _open(self) -> None:
        endpoint = self._endpoint
        if ":" in self.config.sip.bind and not _has_ipv6():
            raise StackError(
                "this build of pjsua2 has no IPv6: bind to an IPv4 address, or build it with IPv6"
            )
        endpoint.libCreate()
        endpoint.libInit(_endpoint_config(self.config))
        for transport in self.config.sip.transports:
            self.addresses[transport] = self._listen_anywhere(transport)
        endpoint.libStart()
        if self.config.audio.device == "null":
            endpoint.audDevManager().setNullDev()
        self.order_codecs(self.config.audio.codecs)
        for lane in Lane:
            account = _Account(self, lane)
            with _typed("account"):
                account.create(_account_config(self.config, lane))
            self._accounts[lane] = account
            self._lanes[account.getId()] = lane

    def _listen_anywhere(self, transport: Transport) -> str:
        """Listen on the port configured, or on any; TCP then tries the port UDP has got.

        A large request to our UDP address comes over TCP (RFC 3261 section 18.1.1), to the same port.
        """
        port = self.config.sip.port
        if port:
            return self._listen(transport, port + 1 if transport is Transport.TLS else port)
        if transport is Transport.TCP and Transport.UDP in self.addresses:
            with contextlib.suppress(StackError):
                return self._listen(transport, int(self.addresses[Transport.UDP].rpartition(":")[2]))
        return self._listen(transport, 0)

    def _listen(self, transport: Transport, port: int) -> str:
        sip = self.config.sip
        settings = pj.TransportConfig()
        settings.boundAddress = "" if sip.bind in _ANY_ADDRESS else sip.bind
        settings.port = port
        if sip.public_address:
            settings.publicAddress = sip.public_address
        if transport is Transport.TLS:
            tls = settings.tlsConfig
            tls.CaListFile = str(sip.tls.ca_file or "")
            tls.certFile = str(sip.tls.certificate_file or "")
            tls.privKeyFile = str(sip.tls.private_key_file or "")
            tls.verifyServer = sip.tls.verify
        with _typed(f"SIP over {transport} on {sip.bind}:{settings.port}"):
            number = self._endpoint.transportCreate(_TRANSPORTS[transport][":" in sip.bind], settings)
            return str(self._endpoint.transportGetInfo(number).localAddress)

    def order_codecs(self, wanted: tuple[str, ...]) -> None:
        """Offer the codecs *wanted*, best first, and no others, from the next offer on; empty: any."""
        if not wanted:
            return
        for codec in self._endpoint.codecEnum2():
            name = codec.codecId.partition("/")[0].upper()
            place = wanted.index(name) if name in wanted else None
            self._endpoint.codecSetPriority(codec.codecId, 0 if place is None else 255 - place)

    @property
    def busy(self) -> bool:
        """True while calls exist or the registrar has not confirmed that we left."""
        return bool(self.calls) or self.registered

    def poll(self, wait_ms: int) -> None:
        """Handle what came in, waiting at most *wait_ms* for something to come."""
        self._endpoint.libHandleEvents(wait_ms)
        if self._over:
            self._bury()
        if self.media is not None and self.media.take_played():
            self.observer.played()

    def _bury(self) -> None:
        """Free the objects of calls that are over.

        The destructor of pjsua2's Call acts on the slot by number, so it must not run in the call's own
        callback, nor while a newer call has the slot.
        """
        taken = {call.slot for call in self.calls}
        waiting = [call for call in self._over if call.slot in taken]
        for call in self._over:
            if call.slot not in taken:
                call.discard()
        self._over = waiting

    def ready_in(self, streams: int) -> float | None:
        """Return seconds until a call of *streams* can be made; None when one must end first."""
        if len(self.calls) >= MAX_CALLS:
            return None
        return self.handles.wait_s(streams * HANDLES_PER_STREAM, time.monotonic())

    def make_call(
        self, uri: str, lane: Lane, observer: CallObserver, headers: Headers, via: str | None
    ) -> PjsuaCall:
        """Send an INVITE for *uri*, to *via* when given. Raises ``StackError``."""
        streams = self.config.audio.streams
        if self.ready_in(streams) != 0.0:
            raise StackError(f"all {MAX_CALLS} calls of this process are taken")
        handles = streams * HANDLES_PER_STREAM
        self.handles.take(handles, time.monotonic())
        call = PjsuaCall(self, self._accounts[lane], observer, handles)
        observer.attached(call)
        self.calls.append(call)
        try:
            call.invite(uri, headers, self._target(uri, via))
        except BaseException:
            self.forget(call)
            raise
        return call

    def _target(self, uri: str, via: str | None) -> str:
        """Return the Request-URI where it is not *uri*: an address given, or a transport preferred."""
        prefer = self.config.sip.prefer
        if prefer is None or self.config.sip.proxy or "transport=" in (via or uri):
            return via or ""
        return f"{via or uri};transport={prefer}"

    def choose_account(self, text: str, source: str) -> int:
        """Return the number of the account for an INVITE, before the stack opens any socket for it."""
        lane = Lane.REFUSED
        try:
            invite = SipMessage.parse(text)
            handles = HANDLES_PER_STREAM * max(1, invite.body.count("\nm="))
            if self.handles.take(handles, time.monotonic()):
                self.handles.give_back(handles, time.monotonic() - 1.0)
                lane = self.observer.choose_lane(invite, source)
        except Exception:  # noqa: BLE001 - an unjudged INVITE is refused
            _log.exception("an INVITE could not be judged")
        return int(self._accounts[lane].getId())

    def accept_incoming(self, account: _Account, number: int, text: str, source: str) -> None:
        invite = SipMessage.parse(text)
        handles = 0
        if account.lane is not Lane.REFUSED:
            handles = HANDLES_PER_STREAM * max(1, invite.body.count("\nm="))
            self.handles.take(handles, time.monotonic())
        call = PjsuaCall(self, account, None, handles, number)
        self.calls.append(call)
        call.observe(self.observer.incoming(call, invite, source, account.lane))

    def forget(self, call: PjsuaCall) -> None:
        """Drop a call that is over. Its handles count until pjlib gives them back."""
        if call in self.calls:
            self.calls.remove(call)
            self.handles.give_back(call.handles, time.monotonic())
            self._over.append(call)

    def set_registration(self, renew: bool) -> None:
        with _typed("registration" if renew else "end of registration"):
            self._accounts[Lane.SECURED].setRegistration(renew)

    def leave(self) -> None:
        """Hang up everything and leave the registrar."""
        for call in list(self.calls):
            with contextlib.suppress(StackError):
                call.hangup()
        if self.registered:
            with contextlib.suppress(StackError):
                self.set_registration(False)

    def destroy(self) -> None:
        """Free everything in the order pjsua2 demands: audio, calls, accounts, library."""
        self.sound.close()
        for call in self.calls + self._over:
            call.discard()
        self.calls.clear()
        self._over.clear()
        if self.media is not None:
            self.media.close()
        for account in self._accounts.values():
            with contextlib.suppress(pj.Error):
                account.shutdown()
        self._accounts.clear()
        # What a reference cycle still holds would be freed after the library, which aborts the process.
        gc.collect()
        with contextlib.suppress(pj.Error):
            self._endpoint.libDestroy(_ABRUPT)


def _has_ipv6() -> bool:
    """Tell whether pjlib was built with IPv6 (the wheels are not): only then is it on by default."""
    return bool(pj.AccountConfig().mediaConfig.ipv6Use != pj.PJSUA_IPV6_DISABLED)


def _endpoint_config(config: AgentConfig) -> Any:
    settings = pj.EpConfig()
    settings.uaConfig.threadCnt = 0
    settings.uaConfig.mainThreadOnly = True
    settings.uaConfig.maxCalls = MAX_CALLS
    settings.uaConfig.natTypeInSdp = 0
    settings.uaConfig.userAgent = "sipmikey"
    settings.logConfig.level = config.log_level
    settings.logConfig.consoleLevel = 0
    settings.logConfig.filename = str(config.log_file or "")
    settings.medConfig.noVad = True
    if config.audio.device == "null":
        settings.medConfig.ecTailLen = 0
    return settings


def _account_config(config: AgentConfig, lane: Lane) -> Any:
    sip = config.sip
    settings = pj.AccountConfig()
    name = f'"{config.display_name}" ' if config.display_name else ""
    settings.idUri = f"{name}<{config.identity}>"
    if sip.registrar and lane is Lane.SECURED:
        settings.regConfig.registrarUri = sip.registrar
        settings.regConfig.timeoutSec = sip.registration_expires_s
    settings.regConfig.registerOnAdd = False
    if sip.credentials is not None:
        given = sip.credentials
        secret = given.password.reveal().decode()
        settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", given.realm, given.username, 0, secret))
    if sip.proxy:
        route = sip.proxy if ";lr" in sip.proxy else f"{sip.proxy};lr"
        settings.sipConfig.proxies.append(route)
    settings.natConfig.udpKaIntervalSec = sip.keepalive_s
    # The port of a TLS connection is often not known before its first response tells it.
    settings.natConfig.contactRewriteUse = _REWRITE_ALWAYS
    # pjsip's own is the same for all programs of a host, and a registrar takes them for one device.
    settings.natConfig.sipOutboundInstanceId = f"<urn:uuid:{uuid.uuid4()}>"
    # The port of our end of one TCP connection is of no use to the peer: it is to call the listening port.
    # Without a certificate nobody can call our TLS port: the proxy must use the connection it has.
    deaf = Transport.TLS in sip.transports and sip.tls.certificate_file is None
    settings.natConfig.contactUseSrcPort = int(deaf)
    settings.callConfig.timerSessExpiresSec = sip.session_expires_s
    _fill_media(settings, config, lane)
    return settings


def _fill_media(settings: Any, config: AgentConfig, lane: Lane) -> None:
    bind = config.sip.bind
    media = settings.mediaConfig
    media.transportConfig.port = config.audio.rtp_port
    media.transportConfig.boundAddress = "" if bind in _ANY_ADDRESS else bind
    if config.sip.public_address:
        media.transportConfig.publicAddress = config.sip.public_address
    if ":" in bind:
        settings.sipConfig.ipv6Use = pj.PJSUA_IPV6_ENABLED_USE_IPV6_ONLY
        media.ipv6Use = pj.PJSUA_IPV6_ENABLED_USE_IPV6_ONLY
    media.srtpSecureSignaling = 0
    media.srtpUse = _SRTP_USE[lane]
    if lane is not Lane.CLEAR:
        methods = pj.IntVector()
        methods.append(_NO_KEYING_METHOD)
        media.srtpOpt.keyings = methods
    in_python = lane is Lane.SECURED and config.audio.engine == "python"
    media.useLoopMedTp = lane is Lane.REFUSED or in_python


class _Endpoint(pj.Endpoint):  # type: ignore[misc]
    def __init__(self, stack: PjsuaStack) -> None:
        super().__init__()
        self._stack = stack

    def onSelectAccount(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        data = prm.rdata
        if data.info.startswith("Request msg INVITE"):
            prm.accountIndex = self._stack.choose_account(data.wholeMsg, data.srcAddress)

    def onRejectedIncomingCall(self, prm: Any) -> None:  # noqa: N802
        with _logged("a call the stack refused"):
            self._stack.observer.turned_away(prm.remoteInfo, int(prm.statusCode), prm.reason)


class _Account(pj.Account):  # type: ignore[misc]
    def __init__(self, stack: PjsuaStack, lane: Lane) -> None:
        super().__init__()
        self._stack = stack
        self.lane = lane

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        with _logged("an incoming call"):
            self._stack.accept_incoming(self, prm.callId, prm.rdata.wholeMsg, prm.rdata.srcAddress)

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        with _logged("a registration"):
            self._stack.registered = prm.code // 100 == 2 and prm.expiration > 0
            self._stack.observer.registration(int(prm.code), prm.reason, int(prm.expiration))


@contextlib.contextmanager
def _logged(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:  # noqa: BLE001 - an exception in a callback would end the process
        _log.exception("%s could not be handled", what)


class PjsuaCall:
    """One INVITE session; implements ``StackCall``."""

    def __init__(
        self,
        stack: PjsuaStack,
        account: _Account,
        observer: CallObserver | None,
        handles: int,
        number: int | None = None,
    ) -> None:
        self.handles = handles
        self._stack = stack
        self._observer = observer
        self._account = account
        self._secured = account.lane is Lane.SECURED
        self._media = stack.media.call() if stack.media is not None and self._secured else None
        self._pj: _Call | None = _Call(self, account, *(() if number is None else (number,)))
        self._streams: dict[int, int] = {}
        self._past: dict[int, StreamCount] = {}
        self._confirmed = False
        self._over = False
        self._audible: set[int] = set()
        self._speaking = False
        self.sip_call_id = "" if number is None else str(self._live.getInfo().callIdString)

    def observe(self, observer: CallObserver) -> None:
        self._observer = observer

    def invite(self, uri: str, headers: Headers, target: str) -> None:
        """Send the INVITE: To is *uri*, and the Request-URI *target* unless that is empty."""
        parameters = pj.CallOpParam(True)
        parameters.opt.audioCount = self._stack.config.audio.streams
        parameters.opt.videoCount = 0
        parameters.txOption.targetUri = target
        _fill(parameters.txOption.headers, headers)
        with _typed(f"INVITE to {uri}"):
            self._live.makeCall(uri, parameters)

    def answer(self, status: int, *, sdp: str | None = None, headers: Headers = ()) -> None:
        """Answer with *status*; *sdp* replaces the answer the stack made."""
        parameters = pj.CallOpParam(True)
        parameters.opt.audioCount = max(1, (sdp or "").count("m=audio"))
        parameters.opt.videoCount = 0
        parameters.statusCode = status
        if sdp is not None:
            parameters.sdp.wholeSdp = sdp
        _fill(parameters.txOption.headers, headers)
        with _typed(f"answer {status}"):
            self._live.answer(parameters)

    def hangup(self, status: int = 0, *, headers: Headers = ()) -> None:
        """CANCEL, BYE, or refuse with *status*, whichever the state of the call calls for."""
        if self._over:
            return
        parameters = pj.CallOpParam()
        parameters.statusCode = status
        _fill(parameters.txOption.headers, headers)
        with _typed("hang-up"):
            self._live.hangup(parameters)

    def key(self, index: int, keys: SrtpKeys) -> None:
        """Give the stream at *index* its keys. A stream that does not exist yet is an error."""
        if index not in self._streams:
            raise StackError(f"no stream at m-line {index}")
        if self._media is not None:
            self._media.key(index, keys, confirmed=self._confirmed)
            return
        self._stack.srtp.start(self._streams[index], keys)

    def unkey(self) -> None:
        """Take the keys of all streams away."""
        if self._media is not None:
            self._media.unkey()
            return
        for stream in self._streams.values():
            self._stack.srtp.stop(stream)

    @property
    def streams(self) -> tuple[int, ...]:
        """m-line indices of the streams that exist."""
        return tuple(sorted(self._streams))

    def counts(self) -> tuple[StreamCount, ...]:
        """Packets of every stream so far, those of streams that were replaced included."""
        if self._media is not None:
            return self._media.counts()
        now = {index: self._count(index) for index in self._streams}
        return tuple(
            _sum(self._past.get(index), now.get(index)) for index in sorted(self._past.keys() | now.keys())
        )

    def connect_audio(self) -> None:
        """Let sound flow between the streams, now or once they are ready, and the configured audio."""
        self._speaking = True
        if self._media is not None:
            self._media.speak()
            return
        for index in self._audible & self._streams.keys():
            self._stack.sound.connect(id(self), self._live.getAudioMedia(index))

    def reinvite(self, *, hold: bool = False, unhold: bool = False) -> None:
        parameters = pj.CallOpParam(True)
        parameters.opt.audioCount = max(1, len(self._streams))
        parameters.opt.videoCount = 0
        with _typed("re-INVITE"):
            if hold:
                self._live.setHold(parameters)
                return
            if unhold:
                parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
            self._live.reinvite(parameters)

    def update(self) -> None:
        parameters = pj.CallOpParam(True)
        parameters.opt.audioCount = max(1, len(self._streams))
        parameters.opt.videoCount = 0
        with _typed("UPDATE"):
            self._live.update(parameters)

    def dtmf(self, digits: str) -> None:
        parameters = pj.CallSendDtmfParam()
        parameters.method = pj.PJSUA_DTMF_METHOD_RFC2833
        parameters.digits = digits
        with _typed("DTMF"):
            self._live.sendDtmf(parameters)

    def transfer(self, target: str) -> None:
        with _typed("REFER"):
            self._live.xfer(target, pj.CallOpParam(True))

    def successor(self, observer: CallObserver) -> _Call | None:
        """Make room for the call that the peer's REFER asks for; None when there is none."""
        stack = self._stack
        streams = stack.config.audio.streams
        if stack.ready_in(streams) != 0.0:
            return None
        handles = streams * HANDLES_PER_STREAM
        stack.handles.take(handles, time.monotonic())
        call = PjsuaCall(stack, self._account, observer, handles)
        stack.calls.append(call)
        observer.attached(call)
        return call._live

    def redirect(self, accept: bool) -> None:
        with _typed("redirection"):
            self._live.processRedirect(
                pj.PJSIP_REDIRECT_ACCEPT_REPLACE if accept else pj.PJSIP_REDIRECT_REJECT
            )

    def discard(self) -> None:
        """Let go of pjsua2's object."""
        self._over = True
        self._stack.sound.release(id(self))
        if self._media is not None:
            self._media.close()
            self._media = None
        self._observer = None
        self._streams.clear()
        if self._pj is not None:
            self._pj.release()
            self._pj = None

    @contextlib.contextmanager
    def guarded(self) -> Iterator[CallObserver | None]:
        """Run an observer's method: what it raises becomes the call's failure, never pjsua2's."""
        try:
            yield self._observer
        except BaseException as error:  # noqa: BLE001 - an exception in a callback would end the process
            if not isinstance(error, SipmikeyError):
                _log.exception("a callback failed")
            # Its traceback would keep pjsua2's object alive beyond the call.
            observer, cause = self._observer, error.with_traceback(None)
            if observer is None:
                return
            self._stack.later(0.0, lambda: observer.failed(cause))

    def on_phase(self, info: Any) -> None:
        phase = _PHASES.get(info.state)
        if phase is None:
            return
        self.sip_call_id = str(info.callIdString)
        self._confirmed = self._confirmed or phase is Phase.CONFIRMED
        if self._media is not None and phase is Phase.CONFIRMED:
            self._media.choose()
        if phase is Phase.DISCONNECTED:
            self._over = True
        with self.guarded() as observer:
            if observer is not None:
                observer.phase(phase, int(info.lastStatusCode), str(info.lastReason))
        if phase is Phase.DISCONNECTED:
            self._stack.forget(self)

    def on_stream(self, index: int, stream: int) -> None:
        self._streams[index] = stream
        self._audible.discard(index)
        if self._media is not None:
            self._connect(index)
        elif not self._confirmed and self._secured:
            # The SRTP transport outlives the stream: it may still hold the keys of another branch.
            self._stack.srtp.stop(stream)
        with self.guarded() as observer:
            if observer is not None:
                observer.stream_created(index)

    def _connect(self, index: int) -> None:
        """Tell the media in Python what pjsua2 agreed on with the peer."""
        assert self._media is not None
        if not self._confirmed:
            self._media.unkey()
        info = self._live.getStreamInfo(index)
        sends = bool(info.dir & pj.PJMEDIA_DIR_ENCODING)
        self._media.connect(
            index,
            str(info.codecName),
            _address(info.remoteRtpAddress) if sends else None,
            _address(info.remoteRtcpAddress) if sends else None,
        )

    def described(self, sdp: str) -> str:
        """Return the description the stack made with the addresses of whatever runs the media."""
        return sdp if self._media is None else self._media.describe(sdp)

    def on_stream_gone(self, index: int, stream: int) -> None:
        if self._streams.get(index) != stream:
            return
        if self._media is not None:
            self._media.disconnect(index)
            del self._streams[index]
            return
        self._past[index] = _sum(self._past.get(index), self._count(index))
        if not self._confirmed and not self._over and self._secured:
            self._stack.srtp.stop(stream)
        del self._streams[index]

    def on_media(self, info: Any) -> None:
        media = info.media
        self._audible = {
            int(one.index)
            for one in media
            if one.type == pj.PJMEDIA_TYPE_AUDIO and one.status in (_ACTIVE, _REMOTE_HOLD)
        }
        if self._speaking:
            self.connect_audio()

    @property
    def _live(self) -> _Call:
        if self._pj is None:
            raise StackError("the call is over")
        return self._pj

    @property
    def stream_count(self) -> int:
        """Audio streams a call offers."""
        return self._stack.config.audio.streams

    @property
    def slot(self) -> int:
        """Number of pjsua's call slot this call has, or had."""
        return -1 if self._pj is None else int(self._pj.getId())

    def _count(self, index: int) -> StreamCount:
        try:
            # The statistics are views into the object they come from: it must stay referenced.
            whole = self._live.getStreamStat(index)
            codec = str(self._live.getStreamInfo(index).codecName)
        except pj.Error:
            return StreamCount(index=index, codec="", sent=0, received=0, lost=0)
        rtcp = whole.rtcp
        return StreamCount(
            index=index,
            codec=codec,
            sent=int(rtcp.txStat.pkt),
            received=int(rtcp.rxStat.pkt),
            lost=int(rtcp.rxStat.loss),
        )


def _address(text: str) -> tuple[str, int] | None:
    """Return (host, port) of pjsua2's ``host:port``, None for a port of 0."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() and int(port) else None


def _sum(past: StreamCount | None, now: StreamCount | None) -> StreamCount:
    if past is None or now is None:
        one = past or now
        assert one is not None
        return one
    return StreamCount(
        index=now.index,
        codec=now.codec or past.codec,
        sent=past.sent + now.sent,
        received=past.received + now.received,
        lost=past.lost + now.lost,
    )


class _Call(pj.Call):  # type: ignore[misc]
    """Takes pjsua2's callbacks to the ``PjsuaCall`` they belong to."""

    def __init__(self, owner: PjsuaCall, account: _Account, *number: int) -> None:
        super().__init__(account, *number)
        self._owner: PjsuaCall | None = owner
        self._offer = ""

    def release(self) -> None:
        self._owner = None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[CallObserver | None]:
        if self._owner is None:
            yield None
            return
        with self._owner.guarded() as observer:
            yield observer

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - pjsua2's names, here and below
        with self._guarded():
            if self._owner is not None:
                info, event = self.getInfo(), prm.e
                if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
                    self._last_message(event)
                self._owner.on_phase(info)

    def _last_message(self, event: Any) -> None:
        """Deliver the response that ends a call: its transaction is not reported any more."""
        state = event.body.tsxState
        if event.type == pj.PJSIP_EVENT_TSX_STATE and state.type == pj.PJSIP_EVENT_RX_MSG:
            message = SipMessage.parse(state.src.rdata.wholeMsg)
            with self._guarded() as observer:
                if observer is not None and message.status >= 200:
                    observer.message("received", message)

    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            state = prm.e.body.tsxState
            if observer is None:
                return
            if state.type == pj.PJSIP_EVENT_RX_MSG:
                message = SipMessage.parse(state.src.rdata.wholeMsg)
                if message.has_sdp and not message.status:
                    # pjsua2 hands descriptions of over 1 kB to the callbacks as empty texts.
                    self._offer = message.body
                observer.message("received", message)
            elif state.type == pj.PJSIP_EVENT_TX_MSG:
                observer.message("sent", SipMessage.parse(state.src.tdata.wholeMsg))

    def onCallSdpCreated(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            if observer is not None:
                made = prm.sdp.wholeSdp
                if not made:
                    raise StackError("the stack's description is over 1 kB: fewer streams or codecs")
                assert self._owner is not None
                # Should the observer fail, nothing that could be talked to goes out.
                prm.sdp.wholeSdp = _without_media(made)
                prm.sdp.wholeSdp = observer.local_sdp(self._owner.described(made), prm.remSdp.wholeSdp)

    def onCallRxOffer(self, prm: Any) -> None:  # noqa: N802
        prm.statusCode = pj.PJSIP_SC_NOT_ACCEPTABLE_HERE
        with self._guarded() as observer:
            if observer is not None:
                prm.statusCode = observer.remote_offer(self._offer)

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
            if self._owner is not None:
                self._owner.on_media(self.getInfo())

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            if observer is not None:
                observer.dtmf(str(prm.digit))

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        prm.statusCode = pj.PJSIP_SC_DECLINE
        with self._guarded() as observer:
            if observer is None or self._owner is None:
                return
            outcome = observer.transfer_requested(str(prm.dstUri))
            if isinstance(outcome, int):
                prm.statusCode = outcome
                return
            prm.newCall = self._owner.successor(outcome)
            prm.statusCode = pj.PJSIP_SC_BUSY_HERE if prm.newCall is None else pj.PJSIP_SC_ACCEPTED
            prm.opt.audioCount = self._owner.stream_count
            prm.opt.videoCount = 0

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        # pjsua would answer the new call by itself, before its ticket is resolved.
        prm.statusCode = pj.PJSIP_SC_NOT_ACCEPTABLE_HERE

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        with self._guarded() as observer:
            if observer is not None:
                observer.transfer_progress(int(prm.statusCode), bool(prm.finalNotify))

    def onCallRedirected(self, prm: Any) -> int:  # noqa: N802
        followed = False
        with self._guarded() as observer:
            followed = observer is not None and observer.redirected(str(prm.targetUri))
        return int(pj.PJSIP_REDIRECT_ACCEPT_REPLACE if followed else pj.PJSIP_REDIRECT_REJECT)


def _without_media(sdp: str) -> str:
    """Return *sdp* with every m-line's port 0, which rejects the stream (RFC 3264 section 5.1)."""
    return re.sub(r"^(m=\w+ )\d+", r"\g<1>0", sdp, flags=re.MULTILINE)


class _Player(pj.AudioMediaPlayer):  # type: ignore[misc]
    def __init__(self, played: Callable[[], None]) -> None:
        super().__init__()
        self._played = played

    def onEof2(self) -> None:  # noqa: N802
        with _logged("the end of a file"):
            self._played()


class _Sound:
    """The audio source and sink of all calls: WAV files, or the sound device.

    A file is played from its beginning, and a recording begun, when a call comes while no other is there;
    recordings after the first get a number in their names.
    """

    def __init__(self, config: AgentConfig, played: Callable[[], None]) -> None:
        self._audio = config.audio
        self._played = played
        self._users: set[int] = set()
        self._player: Any = None
        self._recorder: Any = None
        self._recordings = 0

    def connect(self, user: int, call: Any) -> None:
        """Let *call*, the audio of the call with number *user*, be heard and hear."""
        self._users.add(user)
        with _typed("audio"):
            manager = pj.Endpoint.instance().audDevManager()
            if self._audio.play is not None:
                self._play(self._audio.play, call)
            else:
                # The null device gives silence, which is sent: a peer needs packets to prove its keys.
                manager.getCaptureDevMedia().startTransmit(call)
            if self._audio.record is not None:
                self._record(self._audio.record, call)
            if self._audio.device != "null":
                call.startTransmit(manager.getPlaybackDevMedia())

    def _play(self, path: Path, call: Any) -> None:
        if self._player is None:
            self._player = _Player(self._played)
            self._player.createPlayer(str(path), 0 if self._audio.repeat else pj.PJMEDIA_FILE_NO_LOOP)
        self._player.startTransmit(call)

    def _record(self, path: Path, call: Any) -> None:
        if self._recorder is None:
            self._recordings += 1
            if self._recordings > 1:
                path = path.with_stem(f"{path.stem}-{self._recordings}")
            self._recorder = pj.AudioMediaRecorder()
            self._recorder.createRecorder(str(path))
        call.startTransmit(self._recorder)

    def release(self, user: int) -> None:
        """The call with number *user* is over; after the last one the recording is complete."""
        self._users.discard(user)
        if not self._users:
            self.close()

    def close(self) -> None:
        """Delete player and recorder; pjmedia writes the length of a recording only then."""
        self._player = None
        self._recorder = None
