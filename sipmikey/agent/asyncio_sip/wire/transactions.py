"""SIP transactions (RFC 3261 section 17, RFC 6026). No I/O: flows send, *later* waits.

A client transaction tells its user each response except retransmissions that it acknowledges itself; of an
INVITE it also tells each 2xx again. A server transaction repeats its last response by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.writing import acknowledgement, response
from sipmikey.agent.config import Transport
from sipmikey.sip import SipMessage

T1: Final = 0.5
T2: Final = 4.0
T4: Final = 5.0
LIFETIME: Final = 64 * T1
_TRYING_S: Final = 0.2
_MAGIC: Final = "z9hG4bK"


class Timer(Protocol):
    """Something that happens later, unless it is cancelled."""

    def cancel(self) -> None: ...


Later = Callable[[float, Callable[[], None]], Timer]
Key = tuple[str, ...]


class _Timed:
    """Has timers by name, all of which end with it."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._timers: dict[str, Timer] = {}

    def start(self, name: str, delay_s: float, work: Callable[[], None]) -> None:
        self.stop(name)

        def ring() -> None:
            self._timers.pop(name, None)
            work()

        self._timers[name] = self._later(delay_s, ring)

    def stop(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    def stop_all(self) -> None:
        for name in tuple(self._timers):
            self.stop(name)


class ClientTransaction(_Timed):
    """One request of ours.

    *on_response* is called with each response, *on_failed* when none came (408), *gone* at the end.
    """

    def __init__(
        self,
        request: SipMessage,
        flow: Flow,
        later: Later,
        *,
        on_response: Callable[[SipMessage], None],
        on_failed: Callable[[int, str], None],
        gone: Callable[[ClientTransaction], None],
    ) -> None:
        super().__init__(later)
        self.request = request
        self.flow = flow
        self.key = client_key(request)
        self.answered = self.provisional = False
        self._octets = request.encode()
        self._invite = request.method == "INVITE"
        self._reliable = flow.transport is not Transport.UDP
        self._on_response = on_response
        self._on_failed = on_failed
        self._gone = gone
        self._ack: bytes | None = None

    def begin(self) -> None:
        """Send the request."""
        self.flow.send(self._octets)
        if not self._reliable:
            self._again_in(T1)
        self.start("timeout", LIFETIME, self._timed_out)

    def _again_in(self, delay_s: float) -> None:
        def again() -> None:
            self.flow.send(self._octets)
            longest = LIFETIME if self._invite else T2
            self._again_in(T2 if self.provisional and not self._invite else min(2 * delay_s, longest))

        self.start("again", delay_s, again)

    def _timed_out(self) -> None:
        self.end()
        self._on_failed(408, "Request Timeout")

    def receive(self, message: SipMessage) -> None:
        """Take a response."""
        status = message.status
        if status < 200:
            if self.answered:
                return
            self.provisional = True
            if self._invite:
                self.stop("again")
                self.stop("timeout")
            self._on_response(message)
        elif self._invite and status >= 300:
            if self._ack is None:
                self._ack = acknowledgement(self.request, message).encode()
            self.flow.send(self._ack)
            self._final(message, again=False, keep_s=0.0 if self._reliable else LIFETIME)
        elif self._invite:
            self._final(message, again=True, keep_s=LIFETIME)
        else:
            self._final(message, again=False, keep_s=0.0 if self._reliable else T4)

    def _final(self, message: SipMessage, *, again: bool, keep_s: float) -> None:
        first, self.answered = not self.answered, True
        if first:
            self.stop_all()
            if keep_s:
                self.start("keep", keep_s, self.end)
            else:
                self.end()
        if first or again:
            self._on_response(message)

    def end(self) -> None:
        """Forget the transaction."""
        self.stop_all()
        self._gone(self)


class ServerTransaction(_Timed):
    """One request of the peer. *gone* is called at the end."""

    def __init__(
        self, request: SipMessage, flow: Flow, later: Later, gone: Callable[[ServerTransaction], None]
    ) -> None:
        super().__init__(later)
        self.request = request
        self.flow = flow
        self.key = server_key(request, request.method)
        self.final = 0
        self._invite = request.method == "INVITE"
        self._reliable = flow.transport is not Transport.UDP
        self._last: bytes | None = None
        self._confirmed = False
        self._gone = gone

    def begin(self) -> None:
        """Tell an INVITE's caller that it arrived, unless it is answered soon (section 17.2.1)."""
        if self._invite:
            self.start("trying", _TRYING_S, lambda: self.respond(response(self.request, 100)))

    def again(self) -> None:
        """The request came again."""
        if self._last is not None and not (self._invite and 200 <= self.final < 300) and not self._confirmed:
            self.flow.send(self._last)

    def respond(self, message: SipMessage) -> None:
        """Send a response; nothing after a final one."""
        if self.final:
            return
        self.stop("trying")
        self._last = message.encode()
        self.flow.send(self._last)
        if message.status < 200:
            return
        self.final = message.status
        if not self._invite:
            self._keep(0.0 if self._reliable else LIFETIME)
            return
        self._keep(LIFETIME)
        # The user repeats a 2xx until its ACK comes (section 13.3.1.4, RFC 6026 section 7.1).
        if self.final >= 300 and not self._reliable:
            self._again_in(T1)

    def _again_in(self, delay_s: float) -> None:
        def again() -> None:
            assert self._last is not None
            self.flow.send(self._last)
            self._again_in(min(2 * delay_s, T2))

        self.start("again", delay_s, again)

    def acknowledged(self) -> None:
        """The ACK of a failure came."""
        if self.final >= 300 and not self._confirmed:
            self._confirmed = True
            self.stop("again")
            self._keep(0.0 if self._reliable else T4)

    def _keep(self, seconds: float) -> None:
        if seconds:
            self.start("keep", seconds, self.end)
        else:
            self.end()

    def end(self) -> None:
        """Forget the transaction."""
        self.stop_all()
        self._gone(self)


def client_key(message: SipMessage) -> Key:
    """Return what a response has in common with its request (section 17.1.3)."""
    via = message.top_via
    return ("" if via is None else via.branch, message.method)


def server_key(message: SipMessage, method: str) -> Key:
    """Return what names the transaction of a request for *method* (section 17.2.3)."""
    via = message.top_via
    if via is not None and via.branch.startswith(_MAGIC):
        return via.branch, via.sent_by.lower(), method
    # A peer that knows RFC 2543 only.
    number = (message.first("cseq") or "").partition(" ")[0]
    return (
        message.request_uri, message.tag("from"), message.first("call-id") or "", number,
        (message.first("via") or ""), method,
    )  # fmt: skip


class Transactions:
    """All transactions of a stack."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._clients: dict[Key, ClientTransaction] = {}
        self._servers: dict[Key, ServerTransaction] = {}

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def send(
        self,
        request: SipMessage,
        flow: Flow,
        *,
        on_response: Callable[[SipMessage], None],
        on_failed: Callable[[int, str], None],
    ) -> ClientTransaction:
        """Send a request."""
        transaction = ClientTransaction(
            request, flow, self._later, on_response=on_response, on_failed=on_failed, gone=self._client_gone
        )
        self._clients[transaction.key] = transaction
        transaction.begin()
        return transaction

    def receive_response(self, message: SipMessage) -> None:
        """Give a response to its transaction; drop one that has no transaction."""
        if (found := self._clients.get(client_key(message))) is not None:
            found.receive(message)

    def receive_request(self, request: SipMessage, flow: Flow) -> ServerTransaction | None:
        """Return the transaction of a new request, None where an existing transaction took it."""
        if request.method == "ACK":
            if (found := self._servers.get(server_key(request, "INVITE"))) is not None and found.final >= 300:
                found.acknowledged()
                return None
            return ServerTransaction(request, flow, self._later, self._server_gone)
        key = server_key(request, request.method)
        if (found := self._servers.get(key)) is not None:
            found.again()
            return None
        transaction = ServerTransaction(request, flow, self._later, self._server_gone)
        self._servers[key] = transaction
        transaction.begin()
        return transaction

    def invite_of(self, request: SipMessage) -> ServerTransaction | None:
        """Return the transaction that a CANCEL is about (section 9.2)."""
        return self._servers.get(server_key(request, "INVITE"))

    def clear(self) -> None:
        """Forget everything."""
        for transaction in (*self._clients.values(), *self._servers.values()):
            transaction.stop_all()
        self._clients.clear()
        self._servers.clear()

    def _client_gone(self, transaction: ClientTransaction) -> None:
        self._clients.pop(transaction.key, None)

    def _server_gone(self, transaction: ServerTransaction) -> None:
        if self._servers.get(transaction.key) is transaction:
            del self._servers[transaction.key]
