"""A phone on sippy (BSD, its own event loop): signalling by sippy, keys by sipmikey's call machine.

    python examples/stacks/sippy_phone.py --kms URL --psk-id alice --psk-file alice.psk --play hello.wav \\
        --port 5080 sip:bob@example.com --via sip:127.0.0.1:5070
    python examples/stacks/sippy_phone.py --identity sip:bob@example.com ...    # waits for one call

sippy's `UA` holds one dialog, and the last device that answers has it. So that a forked call works, this
phone stands on sippy's transactions, and `Transactions` shows it the answers that come after the first. Exit
status: 0 when the media of the call was proven, 1 otherwise.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from account import Account, account, parser
from secured_call import CalleeCall, CallerCall, Cancellable, summary
from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipAddress import SipAddress
from sippy.SipCallId import SipCallId
from sippy.SipContact import SipContact
from sippy.SipFrom import SipFrom
from sippy.SipHeader import SipHeader
from sippy.SipRequest import SipRequest
from sippy.SipResponse import SipResponse
from sippy.SipTo import SipTo
from sippy.SipTransactionManager import SipTransactionManager
from sippy.SipURL import SipURL
from sippy.Time.Timeout import Timeout
from voice import Voice

from sipmikey.call import events, inputs
from sipmikey.call.outputs import Headers
from sipmikey.media.endpoint import MediaLoop
from sipmikey.media.g711 import PCMA
from sipmikey.media.wav import FrameSource, WavRecorder, read_frames
from sipmikey.mikey.errors import PeerError

PHRASES = {180: "Ringing", 200: "OK", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here"}


class Silent:
    """A log that keeps nothing: sippy's own has whole messages."""

    def write(self, *_: object, **__: object) -> None:
        """Keep nothing."""


class Transactions(SipTransactionManager):  # type: ignore[misc]
    """sippy's transactions, which drop a 2xx that follows another: ``late`` gets it."""

    late: Callable[[Any], None]

    def handleIncoming(self, data_in: bytes, ra: Any, server: Any, rtime: Any) -> None:  # noqa: N802
        if data_in.startswith(b"SIP/2.0 2"):
            response = SipResponse(data_in.decode(errors="replace"))
            if response.getTId(True, True) not in self.tclient:
                self.late(response)
                return
        super().handleIncoming(data_in, ra, server, rtime)


class OnSippy:
    """The requests of one call, and sippy's event loop for its timers and its KMS."""

    phone: Phone
    call_id: str
    reinvited: Callable[[int, str, str], None]
    legs: dict[str, tuple[Any, Any, Any, list[Any]]]
    """Dialogs by To-tag: From, To, where requests go, and by which proxies."""

    def later(self, seconds: float, then: Callable[[], None]) -> Cancellable:
        timer: Cancellable = Timeout(then, seconds)
        return timer

    def in_background(self, work: Callable[[], bytes], then: Callable[[bytes | Exception], None]) -> None:
        def ask() -> None:
            try:
                said: bytes | Exception = work()
            except PeerError as error:
                said = error
            ED2.callFromThread(then, said)

        threading.Thread(target=ask, daemon=True).start()

    def request(self, method: str, leg: tuple[Any, Any, Any, list[Any]], sdp: str = "") -> Any:
        """Return a new request to one device."""
        us, peer, target, routes = leg
        self.phone.number += 1
        contact = SipContact(address=SipAddress(url=SipURL(host=self.phone.host, port=self.phone.port)))
        return SipRequest(
            method=method,
            ruri=target.getCopy(),
            fr0m=us.getCopy(),
            to=peer.getCopy(),
            cseq=self.phone.number,
            callid=SipCallId(self.call_id),
            contact=contact,
            routes=[route.getCopy() for route in routes],
            body=MsgBody(sdp) if sdp else None,
        )

    def send_bye(self, to_tag: str, headers: Headers) -> None:
        leg = self.legs.get(to_tag) or next(iter(self.legs.values()))
        bye = self.request("BYE", leg)
        bye.appendHeaders([SipHeader(f"{name}: {value}") for name, value in headers])
        self.phone.transactions.newTransaction(bye)

    def send_reinvite(self, sdp: str) -> None:
        def respond(response: Any) -> None:
            if response.getSCode()[0] >= 200:
                tag = response.getHFBody("to").getTag() or ""
                Timeout(partial(self.reinvited, response.getSCode()[0], tag, body(response)), 0)

        invite = self.request("INVITE", next(iter(self.legs.values())), sdp)
        self.phone.transactions.newTransaction(invite, respond)

    def on_event(self, event: events.Event) -> None:
        super().on_event(event)  # type: ignore[misc]
        if isinstance(event, events.CallEnded):
            Timeout(ED2.breakLoop, 0.2)  # the BYE and its 200 are exchanged first


class Calling(OnSippy, CallerCall):
    """A call from here."""

    def __init__(self, phone: Phone, callee: str, via: str, voice: Voice) -> None:
        self.phone, self.call_id, self.legs = phone, str(SipCallId()), {}
        self._via = SipURL(via or callee)
        self._answered: set[str] = set()
        super().__init__(phone.account, callee, phone.account.get_ticket(callee), voice)

    def send_invite(self, uri: str, sdp: str, headers: Headers) -> None:
        us = SipFrom(address=SipAddress(url=SipURL(self.account.identity)))
        us.setTag(secrets.token_hex(8))
        self._invite = self.request(
            "INVITE", (us, SipTo(address=SipAddress(url=SipURL(uri))), self._via, []), sdp
        )
        self._invite.appendHeaders([SipHeader(f"{name}: {value}") for name, value in headers])
        self._transaction = self.phone.transactions.newTransaction(self._invite, self._soon)

    def _soon(self, response: Any) -> None:
        """Take a response when sippy has acknowledged it, which it does after this."""
        Timeout(partial(self._take, response), 0)

    def _take(self, response: Any) -> None:
        status, tag = response.getSCode()[0], response.getHFBody("to").getTag() or ""
        if status == 100:
            return
        if 200 <= status < 300:
            routes = [route.getCopy() for route in response.getHFBodys("record-route")][::-1]
            target = response.getHFBody("contact").getUrl()
            self.legs[tag] = (self._invite.getHFBody("from"), response.getHFBody("to"), target, routes)
            self._answered.add(tag)
        headers = {
            name: str(response.getHFBody(name)) for name in ("warning", "reason") if response.countHFs(name)
        }
        self.respond(status, tag, body(response) if status < 300 else "", headers)

    def late(self, response: Any) -> None:
        """Take a 2xx that follows another: of another device, or the same again since our ACK was lost."""
        ack = self._invite.genACK(response.getHFBody("to").getCopy())
        ack.getHFBody("via").genBranch()
        target = response.getHFBody("contact").getUrl()
        ack.setRURI(target.getCopy())
        routes = [route.getCopy() for route in response.getHFBodys("record-route")][::-1]
        ack.appendHeaders([SipHeader(name="route", body=route) for route in routes])
        address = (routes[0].getUrl() if routes else target).getAddr()
        transactions = self.phone.transactions
        transactions.transmitMsg(transactions.l4r.getServer(address), ack, address, None)
        if (response.getHFBody("to").getTag() or "") not in self._answered:
            self._take(response)

    def send_ack(self, to_tag: str) -> None:
        """sippy has acknowledged the first 2xx, and `late` the others."""

    def send_cancel(self) -> None:
        self.phone.transactions.cancelTransaction(self._transaction)


class Called(OnSippy, CalleeCall):
    """A call to here."""

    def __init__(self, phone: Phone, request: Any, transaction: Any, voice: Voice) -> None:
        self.phone, self.call_id = phone, str(request.getHFBody("call-id"))
        self._invite, self._transaction = request, transaction
        us, peer = request.getHFBody("to").getCopy(), request.getHFBody("from").getCopy()
        us.setTag(secrets.token_hex(8))
        caller = f"sip:{peer.getUrl().username}@{peer.getUrl().host}"
        routes = [route.getCopy() for route in request.getHFBodys("record-route")]
        self._to = us
        leg = SipFrom(address=us.getUri()), SipTo(address=peer.getUri())
        self.legs = {"": (*leg, request.getHFBody("contact").getUrl(), routes)}
        super().__init__(phone.account, caller, body(request), voice)

    def send_answer(self, status: int, sdp: str, headers: Headers) -> None:
        contact = SipContact(address=SipAddress(url=SipURL(host=self.phone.host, port=self.phone.port)))
        response = reply(self._invite, status, sdp, headers)
        response.getHFBody("to").setTag(self._to.getTag())
        response.appendHeader(SipHeader(name="contact", body=contact))
        ack = None if status >= 300 else lambda _: self.acknowledged()
        self.phone.transactions.sendResponse(response, self._transaction, ack_cb=ack)


class Phone:
    """One call on sippy."""

    def __init__(self, account: Account, host: str, port: int, voice: Callable[[], Voice]) -> None:
        self.account, self.host, self.port = account, host, port
        self.number = 0
        self.made: Calling | Called | None = None
        self._voice = voice
        config = {"_sip_address": host, "_sip_port": port, "_sip_logger": Silent()}
        self.transactions = Transactions(config, self._request)
        self.transactions.late = self._late

    def call(self, callee: str, via: str, talk_s: float) -> Calling:
        """Call somebody, talk and hang up."""
        self.made = call = Calling(self, callee, via, self._voice())
        call.talk_s = talk_s
        call.tell(inputs.Start())
        return call

    def _late(self, response: Any) -> None:
        if isinstance(self.made, Calling) and response.getHFBody("cseq").getCSeq()[1] == "INVITE":
            self.made.late(response)

    def _request(self, request: Any, transaction: Any) -> Any:
        """Take a request; return its response, who is told of a CANCEL, and who of a lost ACK."""
        call, method = self.made, request.getMethod()
        if call is None and method == "INVITE":
            self.made = called = Called(self, request, transaction, self._voice())
            Timeout(called.begin, 0)
            return request.genResponse(100, "Trying"), lambda *_: called.cancelled(), None
        if call is None or str(request.getHFBody("call-id")) != call.call_id:
            return (
                reply(request, 486 if method == "INVITE" else 200 if method == "OPTIONS" else 481),
                None,
                None,
            )
        if method == "BYE":
            tag = request.getHFBody("from").getTag()
            if call.over is None and (isinstance(call, Called) or tag in call.legs):
                Timeout(call.receive_bye, 0)
            return reply(request, 200), None, None
        if method == "INVITE":
            status, sdp, headers = call.receive_offer(body(request))
            self.transactions.sendResponse(reply(request, status, sdp, headers), transaction)
            if sdp:
                call.answer_was_sent(request.getHFBody("from").getTag() or "", sdp)
            return None
        return reply(request, 200 if method == "OPTIONS" else 501), None, None


def body(message: Any) -> str:
    """Return the body of a message of sippy's as text."""
    found = message.getBody()
    return "" if found is None else str(found)


def reply(request: Any, status: int, sdp: str = "", headers: Headers = ()) -> Any:
    """Return a response."""
    response = request.genResponse(status, PHRASES.get(status, "Refused"), MsgBody(sdp) if sdp else None)
    response.appendHeaders([SipHeader(f"{name}: {value}") for name, value in headers])
    return response


def main(arguments: list[str] | None = None) -> int:
    options = parser(__doc__ or "").parse_args(arguments)
    if not options.port:
        print("sippy needs a port: --port", file=sys.stderr)
        return 2
    play: Path = options.play
    recorder = None if options.record is None else WavRecorder(options.record, PCMA)
    with MediaLoop() as loop:
        frames = read_frames(play, PCMA)
        phone = Phone(
            account(options),
            options.host,
            options.port,
            lambda: Voice(loop, options.host, source=FrameSource(frames, loop=True), sink=recorder),
        )
        print("ready", options.port, flush=True)
        if options.callee:
            phone.call(options.callee, options.via or "", options.seconds)
        ED2.loop()
        assert phone.made is not None
        status = summary(phone.made)
    if recorder is not None:
        recorder.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
