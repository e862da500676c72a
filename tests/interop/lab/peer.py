"""A SIP peer written out by hand: it sends and answers what a test tells it to, right or wrong.

As a callee it can be several devices at once, one per To-tag, each with real MIKEY answers.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from sipmikey.sdp import Answerer, Offerer, SessionKeys
from sipmikey.sip import SipMalformed
from sipmikey.system import environment
from sipmikey.testing.process import PeerFailed
from sipmikey.ticket import PreSharedKey, TicketGrant, TicketPolicy, TicketRequest
from tests.interop.lab.kms import IDENTITY, Kms, uri
from tests.interop.lab.sip import SipMessage, bracketed

WAIT_SECONDS = 15.0
PROVISIONAL = range(100, 200)
_numbers = itertools.count(1)
Headers = Mapping[str, str]


_ports = itertools.cycle(range(20000 + os.getpid() % 10 * 1000, 32000))
"""Outside the range that the system chooses from, so that no peer has the port of one that has just ended:
what is sent again and again to the one would reach the other."""


def udp_socket(host: str, port: int) -> socket.socket:
    """A UDP socket at *host*, an IPv4 or IPv6 address; 0 is a port that this process was not given before."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    for number in (port,) if port else _ports:
        try:
            made.bind((host, number))
            break
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                made.close()
                raise
    return made


class SipPeer:
    """A UDP socket that speaks SIP; a thread collects what comes. A context manager.

    Retransmissions are dropped, responses to INVITE are acknowledged when they fail, and nothing else
    happens by itself.
    """

    def __init__(self, user: str = "peer", *, port: int = 0, host: str = "127.0.0.1") -> None:
        self.user = user
        self.host = host
        self._socket = udp_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.received: list[SipMessage] = []
        self._from: dict[int, tuple[str, int]] = {}
        self._seen: set[tuple[str, ...]] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._read, name=f"peer-{user}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._closing = True
        self._socket.sendto(b"\r\n\r\n", (self.host, self.port))
        self._thread.join()
        self._socket.close()

    @property
    def contact(self) -> str:
        return f"sip:{self.user}@{self.hostport}"

    @property
    def hostport(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    def _read(self) -> None:
        while not self._closing:
            try:
                data, sender = self._socket.recvfrom(65535)
            except ConnectionRefusedError:
                continue
            try:
                message = SipMessage.parse(data)
            except SipMalformed:
                continue
            key = (message.start_line, message.all("Via")[0], message["CSeq"], message.tag("To"))
            with self._changed:
                if key not in self._seen:
                    self._seen.add(key)
                    self._from[id(message)] = sender
                    self.received.append(message)
                    self._changed.notify_all()

    def wait_for(
        self,
        wanted: Callable[[SipMessage], bool],
        what: str,
        *,
        start: int = 0,
        timeout: float = WAIT_SECONDS,
    ) -> SipMessage:
        """The first message that is *wanted*, from the index *start* on."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for message in self.received[start:]:
                    if wanted(message):
                        return message
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = "\n".join(message.start_line for message in self.received)
                    raise PeerFailed(f"{self.user} got no {what} in {timeout:g} s, but\n{seen}")
                self._changed.wait(left)

    def request(self, method: str, *, tag: str | None = None, start: int = 0) -> SipMessage:
        """Wait for a request (to our *tag* where one is given)."""
        return self.wait_for(
            lambda message: (
                not message.status and message.method == method and (tag is None or message.tag("To") == tag)
            ),
            f"{method} to {tag or 'anyone'}",
            start=start,
        )

    def respond(
        self,
        request: SipMessage,
        status: int,
        reason: str = "Whatever",
        *,
        tag: str | None = None,
        body: str = "",
        headers: Headers | None = None,
    ) -> None:
        """Answer *request*; *tag* makes us a device of its own."""
        to = request["To"]
        if tag is not None and not request.tag("To"):
            to += f";tag={tag}"
        lines = [("Via", via) for via in request.all("Via")]
        lines += [("Record-Route", route) for route in request.all("Record-Route")]
        lines += [("From", request["From"]), ("To", to)]
        lines += [("Call-ID", request["Call-ID"]), ("CSeq", request["CSeq"])]
        lines += [("Contact", f"<{self.contact}>"), *(headers or {}).items()]
        if body and "Content-Type" not in (headers or {}):
            lines.append(("Content-Type", "application/sdp"))
        message = SipMessage(
            start_line=f"SIP/2.0 {status} {reason}", headers=tuple(lines), content=body.encode()
        )
        self._socket.sendto(message.encode(), self._from[id(request)])

    def send(self, message: SipMessage | bytes, to: tuple[str, int]) -> None:
        self._socket.sendto(message if isinstance(message, bytes) else message.encode(), to)

    def invite(
        self,
        target: str,
        to: tuple[str, int],
        *,
        body: str | None,
        sender: str | None = None,
        headers: Headers | None = None,
        change: Callable[[SipMessage], SipMessage] | None = None,
    ) -> SipMessage:
        """Send an INVITE to the URI *target* at the address *to*; *sender* is the URI of From.

        *change* may spoil it first.
        """
        number = next(_numbers)
        lines = [
            ("Via", f"SIP/2.0/UDP {self.hostport};rport;branch=z9hG4bK{self.port}x{number}"),
            ("Max-Forwards", "70"),
            ("From", f"<{sender or self.contact}>;tag=from{number}"),
            ("To", f"<{target}>"),
            ("Call-ID", f"{self.port}-{number}@{self.host}"),
            ("CSeq", "1 INVITE"),
            ("Contact", f"<{self.contact}>"),
            ("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE, PRACK"),
            *(headers or {}).items(),
        ]
        if body is not None:
            lines.append(("Content-Type", "application/sdp"))
        made = SipMessage(
            start_line=f"INVITE {target} SIP/2.0", headers=tuple(lines), content=(body or "").encode()
        )
        made = change(made) if change else made
        self.send(made, to)
        return made

    def final(self, invite: SipMessage, to: tuple[str, int]) -> SipMessage:
        """Wait for the final response to our *invite*, and acknowledge it."""
        call = invite["Call-ID"]
        response = self.wait_for(
            lambda message: (  # type: ignore[arg-type]
                message.status  # type: ignore[return-value]
                and message.status not in PROVISIONAL
                and message["Call-ID"] == call
                and message.method == "INVITE"
            ),
            f"final response to {invite.start_line}",
        )
        self.in_dialog("ACK", invite, response, to)
        return response

    def in_dialog(
        self, method: str, invite: SipMessage, response: SipMessage, to: tuple[str, int], *, cseq: int = 1
    ) -> None:
        """Send ACK or BYE in the dialog that *response* to our *invite* made."""
        assert response.status
        target = invite.request_uri
        branch = invite["Via"]
        if method != "ACK" or response.status < 300:
            target = response["Contact"].strip("<>") if response.all("Contact") else target
            branch = f"SIP/2.0/UDP {self.hostport};rport;branch=z9hG4bK{self.port}y{next(_numbers)}"
        lines = [
            ("Via", branch),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in reversed(response.all("Record-Route"))),
            ("From", invite["From"]),
            ("To", response["To"]),
            ("Call-ID", invite["Call-ID"]),
            ("CSeq", f"{cseq} {method}"),
        ]
        self.send(SipMessage(start_line=f"{method} {target} SIP/2.0", headers=tuple(lines)), to)


def ask_kms(kms: Kms, message: bytes, kind: str) -> bytes:
    """POST a MIKEY message to the KMS; *kind* is `ticketrequest` or `ticketresolve`."""
    request = urllib.request.Request(
        f"{kms.url}/keymanagement?requesttype={kind}",
        data=message,
        headers={"Content-Type": "application/mikey"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as response:
        return bytes(response.read())


def credential(kms: Kms, user: str) -> PreSharedKey:
    subscriber = kms.subscribers[user]
    return PreSharedKey(key=subscriber.key, key_id=subscriber.psk_id.encode())


def plain_sdp(
    port: int, *, profile: str = "RTP/AVP", more: Sequence[str] = (), host: str = "127.0.0.1"
) -> str:
    """A description of one PCMA stream at *host* and *port*, with further lines at its end."""
    where = f"IN IP{6 if ':' in host else 4} {host}"
    lines = ["v=0", f"o=- 1 1 {where}", "s=-", f"c={where}", "t=0 0"]
    lines += [f"m=audio {port} {profile} 8", "a=rtpmap:8 PCMA/8000", *more, ""]
    return "\r\n".join(lines)


class Device:
    """One device of a user: answers an INVITE's offer with keys of its own, and has an RTP port."""

    def __init__(self, kms: Kms, user: str, tag: str, *, host: str = "127.0.0.1") -> None:
        self.tag = tag
        self._kms = kms
        self._user = user
        self.host = host
        self.socket = udp_socket(host, 0)
        self.port: int = self.socket.getsockname()[1]

    def answer(self, invite: SipMessage, *, caller: str) -> tuple[str, SessionKeys]:
        """The SDP that answers *invite*, which *caller* sent, and the keys that go with it."""
        return self.answerer(invite, caller=caller).make_answer(plain_sdp(self.port, host=self.host))

    def answerer(self, invite: SipMessage, *, caller: str) -> Answerer:
        """What can answer *invite*, its ticket resolved; it has the session afterwards."""
        answerer = Answerer(environment(), identities=[uri(self._user)])
        answerer.receive_offer(invite.sdp, sip_caller=caller)
        while answerer.unresolved:
            question = answerer.make_resolve_init(credential(self._kms, self._user))
            answerer.receive_resolve_resp(ask_kms(self._kms, question, "ticketresolve"))
        return answerer

    def close(self) -> None:
        self.socket.close()


def request_ticket(kms: Kms, user: str, policy: TicketPolicy) -> TicketGrant:
    """A ticket of the lab's KMS for *user*."""
    request = TicketRequest.start(
        environment(), policy=policy, credential=credential(kms, user), identity=uri(user), kms=IDENTITY
    )
    return request.receive(ask_kms(kms, request.message, "ticketrequest"))


def offer_of(grant: TicketGrant, called: str, port: int, *, host: str = "127.0.0.1") -> tuple[str, Offerer]:
    """The SDP with which the owner of *grant* calls *called*, and what takes the answers."""
    offerer = Offerer(environment(), grant=grant, called=called)
    return offerer.make_offer(plain_sdp(port, host=host)), offerer
