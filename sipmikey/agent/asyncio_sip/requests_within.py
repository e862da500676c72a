"""Our requests within the dialog of a call: offers, BYE, ACK (RFC 3261 sections 12.2, 13.2.2.4 and 15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from sipmikey.agent.asyncio_sip.dialog import Dialog
from sipmikey.agent.asyncio_sip.exchange import Draft, Exchange, Means, Silent, target_of, via_of
from sipmikey.agent.asyncio_sip.wire.sockets import Flow
from sipmikey.agent.asyncio_sip.writing import ALLOW, SDP_TYPE, SUPPORTED, request
from sipmikey.agent.stack import Headers
from sipmikey.sip import SipMessage


def draft_within(method: str, dialog: Dialog, headers: Headers = (), content: bytes = b"") -> Draft:
    """Return a request within *dialog*."""
    offers = method in ("INVITE", "UPDATE", "REFER", "SUBSCRIBE")
    common: Headers = (("Allow", ALLOW), ("Supported", ", ".join(SUPPORTED))) if offers else ()
    return Draft(
        method=method,
        uri=dialog.request_uri,
        hop=dialog.next_hop,
        sender=dialog.local,
        receiver=dialog.remote,
        call_id=dialog.call_id,
        number=lambda: next(dialog.numbers),
        headers=(*dialog.route_headers, *common, *headers),
        content=content,
        contact=offers,
    )


class Proposer(Protocol):
    """The session that a `Proposal` belongs to."""

    def tell_sent(self, message: SipMessage) -> None:
        """Tell of a message that went out."""

    def proposal_done(self, proposal: Proposal, message: SipMessage) -> None:
        """The final response to the offer came."""

    def proposal_failed(self, status: int, reason: str) -> None:
        """The offer got no response at all."""


class Proposal:
    """An offer of ours within the call, under way: *sdp*, sent by *method*. *held*: it holds the peer."""

    def __init__(
        self,
        session: Proposer,
        means: Means,
        method: str,
        dialog: Dialog,
        sdp: str,
        *,
        held: bool,
        headers: Headers = (),
    ) -> None:
        self._session = session
        self._means = means
        self._method = method
        self.dialog = dialog
        self.sdp = sdp
        self.held = held
        self.exchange = Exchange(
            means, draft_within(method, dialog, (*headers, SDP_TYPE), sdp.encode()), self
        )
        self._answered = False
        self._ack: SipMessage | None = None

    def on_sent(self, message: SipMessage) -> None:
        self._session.tell_sent(message)

    def on_challenged(self, message: SipMessage) -> None:
        """Nothing to tell: the offer is sent again."""

    def on_response(self, message: SipMessage) -> None:
        if message.status < 200:
            return
        if self._method == "INVITE" and message.status < 300:
            self._ack = self._ack or acknowledge(self.dialog, self.exchange, message)
            send_within(self._means, self.dialog, self._ack)
        if not self._answered:
            self._answered = True
            self._session.proposal_done(self, message)

    def on_failed(self, status: int, reason: str) -> None:
        self._session.proposal_failed(status, reason)


class Farewell(Silent):
    """The BYE that ends a session. *sent* is called with it, *over* when it has its response or gets none."""

    def __init__(self, sent: Callable[[SipMessage], None], over: Callable[[], None]) -> None:
        self._sent = sent
        self._over = over

    def on_sent(self, message: SipMessage) -> None:
        self._sent(message)

    def on_response(self, message: SipMessage) -> None:
        if message.status >= 200:
            self._over()

    def on_failed(self, status: int, reason: str) -> None:
        self._over()


class Refreshing(Silent):
    """A refresh of the session by UPDATE (RFC 4028 section 7.4). *done* is called with its response."""

    def __init__(self, done: Callable[[SipMessage], None], failed: Callable[[], None]) -> None:
        self._done = done
        self._failed = failed

    def on_response(self, message: SipMessage) -> None:
        if message.status >= 200:
            self._done(message)

    def on_failed(self, status: int, reason: str) -> None:
        self._failed()


def acknowledge(dialog: Dialog, exchange: Exchange, message: SipMessage) -> SipMessage:
    """Return the ACK of a 2xx, without Via (RFC 3261 section 13.2.2.4)."""
    number = (message.first("cseq") or "").partition(" ")[0]
    invite = exchange.message
    credentials = () if invite is None else tuple(
        (name, value) for name, value in invite.headers if name in ("Authorization", "Proxy-Authorization")
    )  # fmt: skip
    headers = (
        *dialog.route_headers, ("From", dialog.local), ("To", dialog.remote), ("Call-ID", dialog.call_id),
        ("CSeq", f"{number} ACK"), *credentials,
    )  # fmt: skip
    return request("ACK", dialog.request_uri, headers)


def send_within(means: Means, dialog: Dialog, message: SipMessage) -> None:
    """Send a request that belongs to no transaction."""
    target = target_of(dialog.next_hop, means.sip)
    if target is None:
        return

    def send(flow: Flow | None, why: str) -> None:
        if flow is not None:
            flow.send(replace(message, headers=(("Via", via_of(flow)), *message.headers)).encode())

    means.flows.reach(target, send)
