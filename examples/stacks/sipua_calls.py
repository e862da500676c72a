"""Calls on sipua (BSD, asyncio): its requests and responses, for a phone and for a bridge.

sipua holds one dialog for a Call-ID and hides provisional responses and the answers after the first. So
that a forked call works, `Stack` reads the responses to an INVITE itself, beside sipua's transactions, and
`Calling` makes the requests of each branch.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import sipmessage
from account import Account
from secured_call import CalleeCall, CallerCall, Cancellable, SecuredCall
from sipua import Application, create_ack, create_response
from sipua.utils import create_contact, create_via, random_string
from voice import Voice

from sipmikey.call import events
from sipmikey.call.outputs import Headers
from sipmikey.mikey.errors import PeerError
from sipmikey.ticket import TicketGrant

SDP = sipmessage.MediaType(mime_type="application/sdp")
ANSWERED = ("BYE", "CANCEL", "OPTIONS")
T1_S, T2_S = 0.5, 4.0


@dataclass
class Leg:
    """A dialog with one device: where its requests go."""

    local: sipmessage.Address
    remote: sipmessage.Address
    target: sipmessage.URI
    route: list[sipmessage.Address]


class OnSipua:
    """The requests of one call, and asyncio for its timers and its KMS; mixed into the calls below."""

    phone: Stack
    call_id: str
    legs: dict[str, Leg]
    over: Any
    reinvited: Callable[[int, str, str], None]

    def later(self, seconds: float, then: Callable[[], None]) -> Cancellable:
        return asyncio.get_running_loop().call_later(seconds, then)

    def in_background(self, work: Callable[[], bytes], then: Callable[[bytes | Exception], None]) -> None:
        async def ask() -> None:
            try:
                said: bytes | Exception = await asyncio.to_thread(work)
            except PeerError as error:
                said = error
            then(said)

        self.phone.begin(ask())

    def request(self, method: str, leg: Leg) -> sipmessage.Request:
        """Return a new request to one device."""
        self.phone.number += 1
        request = sipmessage.Request(method, leg.target)
        request.via = [create_via()]
        request.max_forwards = 70
        request.from_address, request.to_address = leg.local, leg.remote
        request.call_id = self.call_id
        request.cseq = sipmessage.CSeq(sequence=self.phone.number, method=method)
        request.contact = [create_contact()]
        request.route = leg.route
        return request

    def send_bye(self, to_tag: str, headers: Headers) -> None:
        leg = self.legs.get(to_tag) or next(iter(self.legs.values()))
        bye = self.request("BYE", leg)
        for name, value in headers:
            bye.headers.add(name, value)
        self.phone.begin(self.phone.transaction_layer.send_request(bye))

    def send_reinvite(self, sdp: str) -> None:
        async def exchange() -> None:
            invite = self.request("INVITE", next(iter(self.legs.values())))
            invite.content_type, invite.body = SDP, sdp.encode()
            final = await self.phone.transaction_layer.send_request(invite)
            self.reinvited(final.code, tag_of(final.to_address), final.body.decode(errors="replace"))

        self.phone.begin(exchange())

    def on_event(self, event: events.Event) -> None:
        super().on_event(event)  # type: ignore[misc]
        if isinstance(event, events.CallEnded):
            self.phone.begin(asyncio.sleep(0))  # the phone ends when nothing more is under way


class Calling(OnSipua, CallerCall):
    """A call from here."""

    def __init__(
        self, phone: Stack, callee: str, grant: TicketGrant, via: str, voice: Voice, *, display_name: str = ""
    ) -> None:
        self.phone, self.call_id, self.legs = phone, random_string(22), {}
        self._via = sipmessage.URI.parse(via or callee)
        self._shown = f'"{display_name}" ' if display_name else ""
        self._finals: dict[str, sipmessage.Response] = {}
        super().__init__(phone.account, callee, grant, voice)

    def send_invite(self, uri: str, sdp: str, headers: Headers) -> None:
        us = sipmessage.Address.parse(f"{self._shown}<{self.account.identity}>;tag={random_string(10)}")
        first = Leg(us, sipmessage.Address.parse(f"<{uri}>"), self._via, [])
        self._invite = self.request("INVITE", first)
        for name, value in headers:
            self._invite.headers.add(name, value)
        self._invite.content_type, self._invite.body = SDP, sdp.encode()
        self.phone.begin(self._run())

    @property
    def cseq(self) -> sipmessage.CSeq:
        """The number of our INVITE."""
        return self._invite.cseq

    async def _run(self) -> None:
        """Send the INVITE; its responses come to `response`, what sipua makes of silence comes here."""
        final = await self.phone.transaction_layer.send_request(self._invite)
        if final.code >= 300 and not self._finals:
            await self.response(final)

    async def response(self, response: sipmessage.Response) -> None:
        """Take a response of any device, as it came from the network."""
        tag, status = tag_of(response.to_address), response.code
        if 200 <= status < 300:
            if tag in self._finals:  # repeated, since our ACK was lost
                await self.phone.transport_layer.send_message(self._ack(response))
                return
            route = list(reversed(response.record_route))
            target = response.contact[0].uri
            self.legs[tag] = Leg(self._invite.from_address, response.to_address, target, route)
        elif status >= 300 and self._finals:
            return
        if status >= 200:
            self._finals[tag] = response
        told = ((name, response.headers.get(name)) for name in ("warning", "reason"))
        headers = {name: text for name, text in told if text is not None}
        self.respond(status, tag, response.body.decode(errors="replace"), headers)

    def _ack(self, response: sipmessage.Response) -> sipmessage.Request:
        ack: sipmessage.Request = create_ack(request=self._invite, response=response)
        ack.via, ack.max_forwards = [create_via()], 70
        return ack

    def send_ack(self, to_tag: str) -> None:
        self.phone.begin(self.phone.transport_layer.send_message(self._ack(self._finals[to_tag])))

    def send_cancel(self) -> None:
        cancel = sipmessage.Request("CANCEL", self._invite.uri)
        cancel.via, cancel.max_forwards = [self._invite.via[0]], 70
        cancel.from_address, cancel.to_address = self._invite.from_address, self._invite.to_address
        cancel.call_id = self.call_id
        cancel.cseq = replace(self._invite.cseq, method="CANCEL")
        self.phone.begin(self.phone.transaction_layer.send_request(cancel))

    async def take(self, request: sipmessage.Request) -> None:
        """Take a request of a device: of one that does not have the call, too."""
        await self.phone.take_within(self, request)


class AnsweredOnSipua(OnSipua):
    """A call that came in: what goes back to its caller."""

    def __init__(self, phone: Stack, request: sipmessage.Request) -> None:
        self.phone, self.call_id = phone, request.call_id or ""
        self.invite = request
        tagged = request.to_address.parameters.replace(tag=random_string(10))
        us = replace(request.to_address, parameters=tagged)
        self.legs = {"": Leg(us, request.from_address, request.contact[0].uri, request.record_route)}
        self.acknowledged_by_peer = False

    def send_answer(self, status: int, sdp: str, headers: Headers) -> None:
        response = create_response(request=self.invite, code=status)
        response.to_address, response.contact = self.legs[""].local, [create_contact()]
        for name, value in headers:
            response.headers.add(name, value)
        if sdp:
            response.content_type, response.body = SDP, sdp.encode()
        self.phone.begin(self._answer(response))

    async def _answer(self, response: sipmessage.Response) -> None:
        """Send a response; a 2xx again and again until it is acknowledged (RFC 3261 section 13.3.1.4)."""
        await self.phone.transaction_layer.send_response(response)
        wait_s = T1_S
        while 200 <= response.code < 300 and not self.acknowledged_by_peer and not self.over:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, T2_S)
            if not self.acknowledged_by_peer:
                await self.phone.transport_layer.send_message(response)


class Called(AnsweredOnSipua, CalleeCall):
    """A call to here."""

    def __init__(self, phone: Stack, request: sipmessage.Request, voice: Voice) -> None:
        AnsweredOnSipua.__init__(self, phone, request)
        CalleeCall.__init__(self, phone.account, identity_in(request), request.body.decode(), voice)

    async def take(self, request: sipmessage.Request) -> None:
        """Take a request of the caller."""
        if request.method == "ACK":
            if not self.acknowledged_by_peer:
                self.acknowledged_by_peer = True
                self.acknowledged()
        elif request.method == "CANCEL":
            await self.phone.reply(request, 200)
            if not self.accepted:
                self.send_answer(487, "", ())
                self.cancelled()
        else:
            await self.phone.take_within(self, request)


class Stack(Application, ABC):
    """sipua with eyes for every response, and calls by their Call-ID."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self.account = account
        self.number = 0
        self.calls: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        # sipua's transactions keep what a forked call needs from the program: see everything first.
        self._take_response = self.transaction_layer._receive_response
        self._take_request = self.transaction_layer._receive_request
        self.transport_layer.response_handler = self._response
        self.transport_layer.request_handler = self._request

    def begin(self, work: Any) -> None:
        """Run a coroutine; what fails in it ends the phone."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self.went(None if task.cancelled() else task.exception(), idle=not self._tasks)

    @abstractmethod
    def went(self, error: BaseException | None, *, idle: bool) -> None:
        """Something that was begun is over. *idle*: nothing else is under way."""

    @abstractmethod
    async def invited(self, request: sipmessage.Request) -> None:
        """Take an INVITE that begins a call."""

    async def reply(self, request: sipmessage.Request, status: int) -> None:
        """Answer a request that needs no thought."""
        await self.transaction_layer.send_response(create_response(request=request, code=status))

    async def take_within(self, call: SecuredCall, request: sipmessage.Request) -> None:
        """Take a request within a call: BYE, or a re-INVITE."""
        if request.method == "BYE":
            await self.reply(request, 200)
            ours = not isinstance(call, Calling) or tag_of(request.from_address) in call.legs
            if ours and call.over is None:
                call.receive_bye()
        elif request.method == "INVITE":
            status, sdp, headers = call.receive_offer(request.body.decode(errors="replace"))
            response = create_response(request=request, code=status)
            response.contact = [create_contact()]
            for name, value in headers:
                response.headers.add(name, value)
            if sdp:
                response.content_type, response.body = SDP, sdp.encode()
            await self.transaction_layer.send_response(response)
            if sdp:
                call.answer_was_sent(tag_of(request.from_address), sdp)
        elif request.method != "ACK":
            await self.reply(request, 200 if request.method in ANSWERED else 501)

    async def _response(self, response: sipmessage.Response) -> None:
        call = self.calls.get(response.call_id or "")
        await self._take_response(response)
        if isinstance(call, Calling) and response.cseq == call.cseq and response.code > 100:
            await call.response(response)

    async def _request(self, request: sipmessage.Request) -> None:
        call = self.calls.get(request.call_id or "")
        if request.method == "ACK" and call is not None:
            await call.take(request)
        await self._take_request(request)

    async def handle_request(self, request: sipmessage.Request) -> None:
        """Take a request that began a transaction."""
        call = self.calls.get(request.call_id or "")
        if call is not None:
            await call.take(request)
        elif request.method == "INVITE":
            await self.invited(request)
        elif request.method != "ACK":
            await self.reply(request, 200 if request.method == "OPTIONS" else 481)


def tag_of(address: sipmessage.Address) -> str:
    """Return the tag of a From or To, ``""`` where there is none."""
    tag: str | None = address.parameters.get("tag")
    return tag or ""


def identity_in(request: sipmessage.Request) -> str:
    """Return the identity in From, without parameters and port."""
    return str(replace(request.from_address.uri, parameters=sipmessage.Parameters(), port=None))
