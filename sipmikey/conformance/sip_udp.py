"""As much SIP over UDP (RFC 3261) as one call takes, for a caller and for a callee."""

from __future__ import annotations

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sipmikey.conformance.agent_subject import CallOutcome
from sipmikey.mikey.errors import LocalError
from sipmikey.sip import SipMalformed, SipMessage, address_uri

T1_S, T2_S = 0.5, 4.0
_TIMEOUT_S = 32.0
_LONGEST_PAUSE_S = 60
_ATTEMPTS = 5
_LONGEST = 65_535

_SECONDS = re.compile(r"\d{1,9}")
_BREAK = re.compile(r";break=([\w-]+)")

Take = Callable[[str, str, str], CallOutcome]
"""(caller's URI, offer, Call-ID) -> how the offer is answered; with a known Call-ID it is a re-INVITE."""


class Caller:
    """Calls a user agent; one socket for all calls. *target* is its address, *uri* whom is called."""

    def __init__(self, uri: str, target: tuple[str, int], *, timeout_s: float = _TIMEOUT_S) -> None:
        self._uri = uri
        self._target = target
        self._timeout_s = timeout_s
        try:
            family = socket.getaddrinfo(*target, type=socket.SOCK_DGRAM)[0][0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.connect(target)
        except OSError as error:
            raise LocalError(f"{target[0]}:{target[1]}: {error.strerror or error}") from error

    @property
    def address(self) -> str:
        """The address that the callee sees."""
        return str(self._socket.getsockname()[0])

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    @contextmanager
    def dial(self, caller: str, offer: str) -> Iterator[UdpDialog]:
        """Call, and hang up at the end. A call without final answer has status 0.

        A user agent that takes only so many calls in a time is called again when it says
        (Retry-After, RFC 3261 section 20.33).
        """
        for _ in range(_ATTEMPTS):
            dialog = UdpDialog(self, caller, self._uri)
            pause_s = dialog.invite(offer)
            if pause_s is None:
                break
            time.sleep(pause_s)
        try:
            yield dialog
        finally:
            dialog.hang_up()

    def call(self, caller: str, offer: str) -> CallOutcome:
        """Call and hang up."""
        with self.dial(caller, offer) as dialog:
            return dialog.called

    def local(self) -> str:
        """Return the host and port of the socket, as SIP writes them."""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, octets: bytes) -> None:
        """Send a request that gets no answer."""
        self._socket.send(octets)

    def final(self, request: bytes, call_id: str, method: str, number: int) -> SipMessage | None:
        """Send a request until an answer comes, and return the final one."""
        end = time.monotonic() + self._timeout_s
        wait, again, provisional = T1_S, time.monotonic() + T1_S, False
        self.send(request)
        while (now := time.monotonic()) < end:
            self._socket.settimeout(max(min(end, again) - now, 0.001))
            try:
                message = SipMessage.parse(self._socket.recv(_LONGEST))
            except TimeoutError:
                if time.monotonic() >= again:
                    if not provisional or method != "INVITE":
                        self.send(request)
                    wait = min(2 * wait, T2_S)
                    again = time.monotonic() + wait
                continue
            except SipMalformed:
                continue
            except OSError as error:
                raise OSError(f"{self._uri}: {error.strerror or error}") from error
            same = (message.first("cseq") or "").split() == [str(number), method]
            if not message.status or message.first("call-id") != call_id or not same:
                continue
            if message.status >= 200:
                return message
            provisional = True
        return None


class UdpDialog:
    """One call of a `Caller`. ``called`` is how its first offer was answered."""

    def __init__(self, caller: Caller, identity: str, uri: str) -> None:
        self._caller = caller
        self._call_id = secrets.token_hex(8)
        self._from, self._to = f"<{identity}>;tag={secrets.token_hex(4)}", f"<{uri}>"
        self._target = uri
        self._number = 0
        self.called = CallOutcome(status=0, warning="no final answer")

    def invite(self, offer: str) -> int | None:
        """Send the first offer; return the seconds to wait where the callee asks for that."""
        self.called, final = self._invite(offer)
        if final is None:
            return None
        self._to = final.first("to") or self._to
        self._target = _target(final, self._target)
        return _pause_s(final)

    def offer(self, sdp: str) -> CallOutcome:
        """Send another offer within the call."""
        return self._invite(sdp)[0]

    def hang_up(self) -> None:
        """Say BYE in a call that was answered."""
        if self.called.answered:
            self._number += 1
            self._caller.final(self._request("BYE", _branch()), self._call_id, "BYE", self._number)

    def _invite(self, offer: str) -> tuple[CallOutcome, SipMessage | None]:
        branch, target = _branch(), self._target
        self._number += 1
        invite = self._request("INVITE", branch, offer)
        final = self._caller.final(invite, self._call_id, "INVITE", self._number)
        if final is None:
            return CallOutcome(status=0, warning="no final answer"), None
        to = final.first("to") or self._to
        if 200 <= final.status < 300:
            target, branch = _target(final, target), _branch()
        self._caller.send(self._request("ACK", branch, target=target, to=to))
        warning = final.first("warning") or final.reason_phrase
        sdp = final.sdp if final.has_sdp else ""
        return CallOutcome(status=final.status, sdp=sdp, warning=warning), final

    def _request(self, method: str, branch: str, sdp: str = "", *, target: str = "", to: str = "") -> bytes:
        where = self._caller.local()
        headers = [
            ("Via", f"SIP/2.0/UDP {where};rport;branch={branch}"),
            ("Max-Forwards", "70"),
            ("From", self._from),
            ("To", to or self._to),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._number} {method}"),
            ("Contact", f"<sip:conformance@{where}>"),
        ]
        if sdp:
            headers.append(("Content-Type", "application/sdp"))
        return SipMessage(
            start_line=f"{method} {target or self._target} SIP/2.0",
            headers=tuple(headers),
            content=sdp.encode(),
        ).encode()


def _target(final: SipMessage, otherwise: str) -> str:
    """Return where requests within the dialog go: to the Contact of a final answer, if it has one."""
    contact = final.first("contact")
    return (address_uri(contact) if contact else None) or otherwise


def _branch() -> str:
    return f"z9hG4bK{secrets.token_hex(8)}"


def _pause_s(final: SipMessage) -> int | None:
    """Return the seconds after which a callee that is too busy (503) wants to be called again, or None."""
    asked = _SECONDS.match(final.first("retry-after") or "") if final.status == 503 else None
    return None if asked is None else min(int(asked[0]), _LONGEST_PAUSE_S)


@contextmanager
def answering(choose: Callable[[str], Take | None], host: str, port: int) -> Iterator[int]:
    """Answer calls while the block runs, and give the port. Raises `LocalError` for an address in use.

    *choose* gives who answers: of what the parameter ``break`` of the Request-URI says, empty without one.
    """
    endpoint = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        endpoint.bind((host, port))
    except OSError as error:
        endpoint.close()
        raise LocalError(f"{host}:{port}: {error.strerror}") from error
    callee = _Callee(choose, endpoint)
    thread = threading.Thread(target=callee.serve, daemon=True)
    thread.start()
    try:
        yield int(endpoint.getsockname()[1])
    finally:
        callee.stop()
        thread.join()
        endpoint.close()


class _Callee:
    """Answers each INVITE once, and its repetitions with the same octets."""

    def __init__(self, choose: Callable[[str], Take | None], endpoint: socket.socket) -> None:
        self._choose = choose
        self._socket = endpoint
        self._answers: dict[str, bytes] = {}
        self._stopped = False

    def stop(self) -> None:
        """End `serve`."""
        self._stopped = True
        self._socket.settimeout(0.001)
        with socket.socket(self._socket.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"\r\n", self._socket.getsockname())

    def serve(self) -> None:
        """Answer until stopped."""
        while not self._stopped:
            try:
                octets, source = self._socket.recvfrom(_LONGEST)
                request = SipMessage.parse(octets)
            except (TimeoutError, SipMalformed):
                continue
            if request.status or request.method == "ACK":
                continue
            key = f"{request.method} {request.first('via')}"
            if key not in self._answers:
                if len(self._answers) > 1000:
                    self._answers.clear()
                self._answers[key] = self._answer(request)
            self._socket.sendto(self._answers[key], source)

    def _answer(self, request: SipMessage) -> bytes:
        called, named = CallOutcome(status=200), _BREAK.search(request.request_uri)
        if request.method == "INVITE":
            caller = address_uri(request.first("from") or "") or ""
            take = self._choose(named[1] if named else "")
            offer, call_id = request.sdp if request.has_sdp else "", request.first("call-id") or ""
            called = CallOutcome(status=404) if take is None else take(caller, offer, call_id)
        elif request.method not in ("BYE", "CANCEL", "OPTIONS"):
            called = CallOutcome(status=405)
        host, port = self._socket.getsockname()[:2]
        to = request.first("to") or ""
        headers = [("Via", value) for value in request.all("via")]
        headers += [
            ("From", request.first("from") or ""),
            ("To", to if "tag=" in to else f"{to};tag={secrets.token_hex(4)}"),
            ("Call-ID", request.first("call-id") or ""),
            ("CSeq", request.first("cseq") or ""),
            ("Contact", f"<sip:callee@{host}:{port}{named[0] if named else ''}>"),
        ]
        if called.sdp:
            headers.append(("Content-Type", "application/sdp"))
        if called.warning:
            text = called.warning.replace('"', "'")
            headers.append(("Warning", f'399 sipmikey "{text}"'))
        phrase = "OK" if called.answered else "Refused"
        return SipMessage(
            start_line=f"SIP/2.0 {called.status} {phrase}",
            headers=tuple(headers),
            content=called.sdp.encode(),
        ).encode()
