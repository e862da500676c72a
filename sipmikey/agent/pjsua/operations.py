"""What is asked of pjsua2 for one call, with the parameters of each operation. All raise ``StackError``."""

from __future__ import annotations

from typing import Any

from sipmikey.agent.pjsua.library import fill, pj, typed
from sipmikey.agent.stack import Headers


def _audio_only(streams: int) -> Any:
    """Return pjsua2's parameters of an operation on a call of that many streams."""
    parameters = pj.CallOpParam(True)
    parameters.opt.audioCount = streams
    parameters.opt.videoCount = 0
    return parameters


def invite(call: pj.Call, uri: str, headers: Headers, target: str, streams: int) -> None:
    """Send the INVITE: To is *uri*, and the Request-URI *target* unless that is empty."""
    parameters = _audio_only(streams)
    parameters.txOption.targetUri = target
    fill(parameters.txOption.headers, headers)
    with typed(f"INVITE to {uri}"):
        call.makeCall(uri, parameters)


def answer(call: pj.Call, status: int, sdp: str | None, headers: Headers, offered: int) -> None:
    """Answer with *status*; *sdp* replaces the answer the stack made to an offer of *offered* streams."""
    # On 180 pjsua already closes the streams above this number.
    parameters = _audio_only(max(1, offered if sdp is None else sdp.count("m=audio")))
    parameters.statusCode = status
    if sdp is not None:
        parameters.sdp.wholeSdp = sdp
    fill(parameters.txOption.headers, headers)
    with typed(f"answer {status}"):
        call.answer(parameters)


def hangup(call: pj.Call, status: int, sdp: str | None, headers: Headers) -> None:
    """CANCEL, BYE, or refuse with *status*; *sdp*, sent along, tells why."""
    parameters = pj.CallOpParam()
    parameters.statusCode = status
    fill(parameters.txOption.headers, headers)
    if sdp is not None:
        parameters.txOption.contentType, parameters.txOption.msgBody = "application/sdp", sdp
    with typed("hang-up"):
        call.hangup(parameters)


def reinvite(call: pj.Call, streams: int, *, hold: bool, unhold: bool, moved: bool, restart: bool) -> None:
    """Offer again by re-INVITE. *restart* makes new media transports."""
    parameters = _audio_only(streams)
    with typed("re-INVITE"):
        if hold:
            call.setHold(parameters)
            return
        if unhold:
            parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        if moved:
            parameters.opt.flag = pj.PJSUA_CALL_UPDATE_CONTACT | pj.PJSUA_CALL_UPDATE_VIA
        if restart:
            parameters.opt.flag |= pj.PJSUA_CALL_REINIT_MEDIA
        call.reinvite(parameters)


def update(call: pj.Call, streams: int) -> None:
    """Offer again by UPDATE (RFC 3311)."""
    parameters = _audio_only(streams)
    with typed("UPDATE"):
        call.update(parameters)


def send_dtmf(call: pj.Call, digits: str) -> None:
    """Send telephone events (RFC 4733)."""
    parameters = pj.CallSendDtmfParam()
    parameters.method = pj.PJSUA_DTMF_METHOD_RFC2833
    parameters.digits = digits
    with typed("DTMF"):
        call.sendDtmf(parameters)


def refer(call: pj.Call, target: str, replacing: pj.Call | None) -> None:
    """Send REFER to *target*, or to the peer of *replacing*, whose place the new call is to take."""
    parameters = pj.CallOpParam(True)
    with typed("REFER"):
        if replacing is not None:
            call.xferReplaces(replacing, parameters)
        else:
            call.xfer(target, parameters)
