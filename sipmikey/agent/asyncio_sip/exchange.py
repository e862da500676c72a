"""One request of this side: sent, and sent again after a challenge (RFC 3261 sections 8.1 and 22)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sipmikey.agent.asyncio_sip.binding import Binding
from sipmikey.agent.asyncio_sip.wire.digest import Digest
from sipmikey.agent.asyncio_sip.wire.flows import Flows
from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.wire.target import Endpoint, Target, default_port, named_in_uri, shown
from sipmikey.agent.asyncio_sip.wire.transactions import ClientTransaction, Transactions
from sipmikey.agent.asyncio_sip.writing import cancellation, new_branch, request
from sipmikey.agent.config import Sip, Transport
from sipmikey.sip import Headers, SipMessage

_LONGEST_DATAGRAM: Final = 1300
"""Octets of a request that may leave over UDP while the path's MTU is unknown (section 18.1.1)."""

_UNAVAILABLE: Final = 503
_MOST_SERVERS: Final = 4

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:;?\[\]]+)(?::(\d{1,5}))?((?:;[^?]*)?)")


class Listener(Protocol):
    """The sender of a request, which is told what happens to it."""

    def on_sent(self, message: SipMessage) -> None:
        """The request went out, for the first time or again with an answer to a challenge."""

    def on_challenged(self, message: SipMessage) -> None:
        """A challenge came, and is being answered."""

    def on_response(self, message: SipMessage) -> None:
        """A response came. Challenges that are answered are not told."""

    def on_failed(self, status: int, reason: str) -> None:
        """There is no response: 408, or 503 where the request could not be sent."""


class Silent:
    """A listener that tells nothing: for requests whose response does not matter, or a part to build on."""

    def on_sent(self, message: SipMessage) -> None:
        """Nothing to tell."""

    def on_challenged(self, message: SipMessage) -> None:
        """Nothing to tell."""

    def on_response(self, message: SipMessage) -> None:
        """Nothing to tell."""

    def on_failed(self, status: int, reason: str) -> None:
        """Nothing to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A request without the header fields that depend on its transport.

    ``hop``: the URI of where it is sent to. ``number``: gives its CSeq. ``contact``: whether it has a
    Contact.
    """

    method: str
    uri: str
    hop: str
    sender: str
    receiver: str
    call_id: str
    number: Callable[[], int]
    headers: Headers = ()
    content: bytes = b""
    contact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What it takes to send requests. ``user``: of our Contact. ``binding``: of our registration."""

    sip: Sip
    flows: Flows
    transactions: Transactions
    user: str
    binding: Binding

    def contact(self, flow: Flow) -> str:
        """Return our Contact for a peer on the other end of *flow*.

        By the registrar's flow it is the GRUU, if we have one, or asks for requests to come by that flow
        (RFC 5627 section 4.4, RFC 5626 section 4.3).
        """
        if not self.binding.is_reached_by(flow):
            return f"<{self._address(flow)}>"
        return f"<{self.binding.gruu or self._address(flow) + (';ob' if self.binding.outbound else '')}>"

    def contact_to_register(self, flow: Flow) -> str:
        """Return the Contact of a REGISTER."""
        return f"<{self._address(flow)}>{self.binding.parameters(flow)}"

    def _address(self, flow: Flow) -> str:
        user = f"{self.user}@" if self.user else ""
        word = named_in_uri(flow.transport)
        return f"sip:{user}{shown(self.binding.address(flow))}{f';transport={word}' if word else ''}"


def target_of(uri: str, sip: Sip) -> Target | None:
    """Return where a request for *uri* goes, without DNS; None for what is not a SIP URI."""
    scheme, _, rest = uri.partition(":")
    _, at, tail = rest.rpartition("@")
    found = _AUTHORITY.match(tail if at else rest)
    if scheme.lower() not in ("sip", "sips") or found is None:
        return None
    parameters = {
        name.strip().lower(): value.strip().lower()
        for name, _, value in (part.partition("=") for part in found[3].split(";") if part)
    }
    word = parameters.get("transport", "")
    named = True
    secure = scheme.lower() == "sips"
    if word in ("ws", "wss"):
        # A URI says ws in either case (RFC 7118 section 5.2); wss is what some servers write.
        secure = secure or word == "wss" or Transport.WS not in sip.transports
        transport = Transport.WSS if secure else Transport.WS
    elif secure or word == "tls":
        transport = Transport.TLS
    elif word in ("udp", "tcp"):
        transport = Transport(word)
    else:
        preferred = sip.named_transport
        named = preferred is not None
        first = Transport.UDP if Transport.UDP in sip.transports else sip.transports[0]
        transport = preferred or first
    port = int(found[2] or default_port(transport))
    host = parameters.get("maddr") or found[1].strip("[]")
    if port > 65535:
        return None
    return Target(transport=transport, host=host, port=port, named=named, open_port=found[2] is None)


def fault_of_way(uri: str, hop: str, sip: Sip) -> str:
    """Return why a request for *uri* cannot be sent to *hop*; ``""`` where it can."""
    target = target_of(hop, sip)
    if target is None:
        return f"{hop} is not a SIP URI"
    if target.transport not in sip.transports:
        return f"no {target.transport} in sip.transports"
    if uri[:5].lower() == "sips:" and target.transport not in (Transport.TLS, Transport.WSS):
        return f"a sips URI goes over TLS (RFC 3261 section 26.2.2), and {hop} is over {target.transport}"
    return ""


def via_of(flow: Flow) -> str:
    """Return the Via of a new transaction that goes by *flow*."""
    return f"SIP/2.0/{flow.transport.upper()} {shown(flow.local)};rport;branch={new_branch()}"


class Exchange:
    """One request until its final response; *listener* hears of each response. Call `begin` once."""

    def __init__(self, means: Means, draft: Draft, listener: Listener) -> None:
        self._means = means
        self._draft = draft
        self._listener = listener
        self._digest = Digest(means.sip.credentials)
        self._answers: Headers = ()
        self._transaction: ClientTransaction | None = None
        self._given_up = self._cancel_wanted = self._fell_back = False
        self._cancel_headers: Headers = ()
        self._tried: set[Endpoint] = set()
        self._failure: Callable[[], None] | None = None
        self.message: SipMessage | None = None
        self.flow: Flow | None = None

    def begin(self) -> None:
        """Send the request."""
        draft, sip = self._draft, self._means.sip
        target, fault = target_of(draft.hop, sip), fault_of_way(draft.uri, draft.hop, sip)
        if target is None or fault:
            self._listener.on_failed(503, fault)
        else:
            self._go(target)

    def _go(self, target: Target) -> None:
        tried = frozenset(self._tried)
        self._means.flows.reach(target, lambda flow, why: self._reached(target, flow, why), tried=tried)

    def _try_next(self, failure: Callable[[], None]) -> None:
        """Send it to the next server of the same name (RFC 3263 section 4.3); without another, *failure*."""
        target = target_of(self._draft.hop, self._means.sip)
        if target is None or self.flow is None or self._cancel_wanted or len(self._tried) >= _MOST_SERVERS:
            failure()
            return
        self._tried.add(self.flow.remote)
        self._failure = failure
        self._transaction = None
        self._go(replace(target, transport=self.flow.transport))

    def _reached(self, target: Target, flow: Flow | None, why: str) -> None:
        if self._given_up:
            return
        if flow is None:
            if (
                target.transport is Transport.TCP
                and not target.named
                and Transport.UDP in self._means.sip.transports
            ):
                # The peer has no TCP, whatever the RFC says of large requests: UDP is better than nothing.
                self._fell_back = True
                self._go(replace(target, transport=Transport.UDP))
                return
            if self._failure is not None:
                self._failure()
                return
            self._listener.on_failed(503, why)
            return
        message = self._written(flow)
        large = len(message.content) + 800 > _LONGEST_DATAGRAM and len(message.encode()) > _LONGEST_DATAGRAM
        tcp = Transport.TCP in self._means.sip.transports and not target.named and not self._fell_back
        if flow.transport is Transport.UDP and large and tcp:
            self._go(replace(target, transport=Transport.TCP))
            return
        self.message, self.flow = message, flow
        self._transaction = self._means.transactions.send(
            message, flow, on_response=self._respond, on_failed=self._failed
        )
        self._listener.on_sent(message)

    def _written(self, flow: Flow) -> SipMessage:
        draft = self._draft
        headers: list[tuple[str, str]] = [("Via", via_of(flow))]
        headers += [(name, value) for name, value in draft.headers if name == "Route"]
        headers += [
            ("From", draft.sender), ("To", draft.receiver), ("Call-ID", draft.call_id),
            ("CSeq", f"{draft.number()} {draft.method}"),
        ]  # fmt: skip
        if draft.contact:
            registers = draft.method == "REGISTER"
            contact = self._means.contact_to_register if registers else self._means.contact
            headers.append(("Contact", contact(flow)))
        headers += [(name, value) for name, value in draft.headers if name != "Route"]
        return request(draft.method, draft.uri, (*headers, *self._answers), draft.content)

    def _respond(self, message: SipMessage) -> None:
        if self._given_up:
            return
        if message.status in (401, 407):
            draft = self._draft
            answers = self._digest.answer(message, draft.method, draft.uri, draft.content)
            if answers and not self._cancel_wanted:
                fields = {name for name, _ in answers}
                self._answers = (*(one for one in self._answers if one[0] not in fields), *answers)
                self._listener.on_challenged(message)
                self._transaction = None
                if not self._given_up:
                    self.begin()
                return
        if message.status < 200 and self._cancel_wanted:
            self._send_cancel()
        if message.status == _UNAVAILABLE:
            self._try_next(lambda: self._listener.on_response(message))
            return
        self._listener.on_response(message)

    def _failed(self, status: int, reason: str) -> None:
        if not self._given_up:
            self._try_next(lambda: self._listener.on_failed(status, reason))

    def cancel(self, headers: Headers = ()) -> bool:
        """Cancel an INVITE, as soon as it has a provisional response; return False where it never left."""
        if self._transaction is None:
            self._given_up = True
            return False
        self._cancel_wanted, self._cancel_headers = True, headers
        if self._transaction.provisional:
            self._send_cancel()
        return True

    def _send_cancel(self) -> None:
        self._cancel_wanted = False
        transaction, message = self._transaction, self.message
        if transaction is None or message is None or transaction.answered:
            return
        self._means.transactions.send(
            cancellation(message, self._cancel_headers), transaction.flow,
            on_response=lambda _: None, on_failed=lambda *_: None,
        )  # fmt: skip

    def drop(self) -> None:
        """Tell the listener nothing more."""
        self._given_up = True
