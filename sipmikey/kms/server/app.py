"""The KMS as an HTTP application.

``POST {path}?requesttype=ticketrequest|ticketresolve`` with a MIKEY message, raw or base64, answered in kind.
Close to what is publicly known of 3GPP TS 33.328; no conformance to it is claimed.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs

from sipmikey.kms.audit import AuditEvent, Exchange, key_name
from sipmikey.kms.server.body import MEDIA_TYPE, decode_body, encode_body
from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.pages import Pages
from sipmikey.kms.server.protocol import Header, RequestHead, Response
from sipmikey.kms.service import Outcome
from sipmikey.mikey.errors import MalformedMessage
from sipmikey.printable import printable
from sipmikey.rate_limit import RateLimiter, address_key

current_peer_names: ContextVar[frozenset[str]] = ContextVar("current_peer_names", default=frozenset())
"""Names in the verified client certificate of the request being handled."""


class Handler(Protocol):
    """Answers one message, forwarding included."""

    async def __call__(self, message: bytes, *, expected: Exchange, source: str) -> Outcome: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """``path`` and ``parameter`` with its words make up the URL. ``body_bytes``: largest body accepted.

    ``handle_s``: seconds for a message to be answered once it is here, stores and other KMSs included.
    ``pending``: requests waiting or being answered in one worker, beyond which the answer is 503.
    ``busy_retry_s``: seconds in Retry-After of that answer.
    """

    path: str = "/keymanagement"
    parameter: str = "requesttype"
    words: Mapping[str, Exchange] = field(
        default_factory=lambda: {"ticketrequest": Exchange.REQUEST, "ticketresolve": Exchange.RESOLVE}
    )
    body_bytes: int = 98_304
    handle_s: float = 5.0
    pending: int = 256
    busy_retry_s: int = 1


class _Refusal(Exception):
    """An answer made here, before the service sees the message."""

    def __init__(self, status: int, reason: str, detail: str, headers: tuple[Header, ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers


class KmsApplication:
    """Satisfies `Application` over the service.

    ``handler`` answers messages; ``pending`` tells how many requests the server is answering; ``ready`` tells
    whether the stores answer; ``by_address`` limits requests of one address (None: no limit). ``pages`` are
    what else is served: enrolment, sign-on, SCIM.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        settings: HttpSettings,
        metrics: Metrics,
        pending: Callable[[], int],
        ready: Callable[[], bool],
        by_address: RateLimiter | None = None,
        pages: Sequence[Pages] = (),
    ) -> None:
        self.body_bytes = settings.body_bytes
        self._handler = handler
        self._settings = settings
        self._metrics = metrics
        self._pending = pending
        self._ready = ready
        self._by_address = by_address
        self._pages = tuple(pages)
        self._path = settings.path.encode()
        # The two queries that nearly every request has need no parsing.
        self._queries = {
            f"{settings.parameter}={word}".encode(): exchange for word, exchange in settings.words.items()
        }

    def refuse(self, head: RequestHead) -> Response | None:
        """Return the refusal that the head of a request suffices for, else None."""
        asked = head.path == self._path
        if not asked and self._page(head.path) is None:
            return None
        try:
            self._admit(head.source)
            if asked:
                self._check(head)
        except _Refusal as refusal:
            return self._refused(refusal, Exchange.UNKNOWN, head.source)
        return None

    def too_large(self) -> Response:
        """Return the answer to a body that is too large."""
        refusal = _Refusal(413, "limit-exceeded", f"at most {self.body_bytes} octets")
        return self._refused(refusal, Exchange.UNKNOWN, "")

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer one request."""
        if head.path == self._path:
            return await self._key_management(head, body)
        if (page := self._page(head.path)) is not None:
            return await page.answer(head, body)
        if head.path == b"/health/live":
            return _plain(200, b"alive\n")
        if head.path == b"/health/ready":
            return _plain(200, b"ready\n") if self._ready() else _plain(503, b"a store does not answer\n")
        return _plain(404, b"not found\n")

    def _page(self, path: bytes) -> Pages | None:
        return next((page for page in self._pages if page.serves(path)), None)

    async def _key_management(self, head: RequestHead, body: bytes) -> Response:
        started = time.perf_counter()
        exchange = Exchange.UNKNOWN
        try:
            exchange = self._exchange(head.query)
            message, as_base64 = decode_body(body)
            outcome = await self._handled(message, exchange, head)
        except _Refusal as refusal:
            return self._refused(refusal, exchange, head.source, started)
        except MalformedMessage as error:
            return self._refused(_Refusal(400, error.reason, str(error)), exchange, head.source, started)
        self._told(exchange, outcome.status, outcome.reason, head.source, started, outcome.event)
        return _outcome(outcome, as_base64=as_base64)

    def _told(
        self,
        exchange: Exchange,
        status: int,
        reason: str,
        source: str,
        started: float | None = None,
        event: AuditEvent | None = None,
    ) -> None:
        """Count an answer, and log a refusal with what was asked for."""
        seconds = 0.0 if started is None else time.perf_counter() - started
        self._metrics.answered(exchange, status, reason, seconds)
        if status != 200:
            asked_for = {} if event is None else _asked_for(event)
            fields = {"exchange": exchange, "status": status, "reason": reason, "source": source, **asked_for}
            log.info("refused", extra={"fields": fields})

    def _refused(
        self, refusal: _Refusal, exchange: Exchange, source: str, started: float | None = None
    ) -> Response:
        self._told(exchange, refusal.status, refusal.reason, source, started)
        headers = (
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"kms-reason", refusal.reason.encode()),
            *refusal.headers,
        )
        # After these the body may not have been read, nor will be.
        close = refusal.status in (413, 415, 503)
        body = f"{refusal.reason}: {refusal.detail}\n".encode()
        return Response(refusal.status, body, headers, close=close)

    def _admit(self, source: str) -> None:
        """Turn away what there is no room for, before anything is spent on it."""
        if self._pending() > self._settings.pending:
            raise _Refusal(503, "overload", "too many requests waiting", _wait(self._settings.busy_retry_s))
        if self._by_address is not None:
            wait = self._by_address.retry_after(address_key(source))
            if wait is not None:
                raise _Refusal(429, "address-rate", "too many requests from this address", _wait(wait))

    def _check(self, head: RequestHead) -> None:
        """Check method, headers and query."""
        if head.method != b"POST":
            raise _Refusal(405, "method", "only POST is understood here", ((b"allow", b"POST"),))
        media_type: bytes | None = None
        for name, value in head.headers:
            if name == b"content-type":
                media_type = value
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise _Refusal(415, "content-encoding", "no Content-Encoding is understood")
        if media_type != MEDIA_TYPE and (
            media_type is None or media_type.partition(b";")[0].strip().lower() != MEDIA_TYPE
        ):
            raise _Refusal(415, "media-type", "Content-Type must be application/mikey")
        self._exchange(head.query)

    def _exchange(self, query: bytes) -> Exchange:
        """Return the exchange the URL names."""
        exchange = self._queries.get(query)
        return exchange if exchange is not None else self._parsed(query)

    def _parsed(self, query: bytes) -> Exchange:
        """Find the one request type in a query that has other parameters too."""
        settings = self._settings
        try:
            words = parse_qs(query.decode("ascii"), max_num_fields=16).get(settings.parameter, [])
        except ValueError:
            words = []
        if len(words) != 1 or words[0] not in settings.words:
            choice = " or ".join(settings.words)
            raise _Refusal(400, "request-type", f"the URL must say {settings.parameter}={choice}, once")
        return settings.words[words[0]]

    async def _handled(self, message: bytes, exchange: Exchange, head: RequestHead) -> Outcome:
        if head.peer_names:
            current_peer_names.set(head.peer_names)
        try:
            async with asyncio.timeout(self._settings.handle_s):
                return await self._handler(message, expected=exchange, source=head.source)
        except TimeoutError:
            log.error("timed-out", extra={"fields": {"exchange": exchange, "source": head.source}})
            raise _Refusal(503, "unavailable", "a store did not answer in time", _wait(1)) from None
        except Exception:  # noqa: BLE001 - the last resort of a request: a bug of ours must not end the worker
            log.exception("internal", extra={"fields": {"exchange": exchange, "source": head.source}})
            raise _Refusal(500, "internal", "internal error") from None


def _asked_for(event: AuditEvent) -> dict[str, str]:
    """Return who asked with which key, of which KMS and for whom: what helps to find a wrong setting."""
    psk_id = key_name(event.credential)
    fields = {
        "psk_id": psk_id,
        "credential": "" if psk_id else event.credential,
        "subscriber": event.subscriber,
        "identity": event.identity,
        "peers": " ".join(event.peers),
        "kms": event.kms,
        "detail": event.detail,
    }
    return {name: printable(text) for name, text in fields.items() if text}


def _wait(seconds: float) -> tuple[Header, ...]:
    return ((b"retry-after", str(max(1, math.ceil(seconds))).encode()),)


def _outcome(outcome: Outcome, *, as_base64: bool) -> Response:
    """Return what the service decided as a response."""
    body = b"" if outcome.body is None else encode_body(outcome.body, as_base64=as_base64)
    if outcome.status == 200:
        return Response(200, body, _GRANTED)
    headers = [(b"cache-control", b"no-store"), (b"kms-reason", outcome.reason.encode())]
    if body:
        headers.append((b"content-type", MEDIA_TYPE))
    if outcome.retry_after_s is not None:
        headers.extend(_wait(outcome.retry_after_s))
    return Response(outcome.status, body, tuple(headers))


_GRANTED = ((b"cache-control", b"no-store"), (b"content-type", MEDIA_TYPE))


def _plain(status: int, body: bytes) -> Response:
    return Response(status, body, ((b"content-type", b"text/plain"),))
