"""The KMS as an ASGI application.

``POST {path}?requesttype=ticketrequest|ticketresolve`` with a MIKEY message, raw or base64, answered in kind.
Close to what is publicly known of 3GPP TS 33.328; no conformance to it is claimed.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs

from sipmikey.kms.audit import Exchange
from sipmikey.kms.server.body import MEDIA_TYPE, decode_body, encode_body
from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.protocol import PEER_NAMES
from sipmikey.kms.server.rate_limit import RateLimiter, address_key
from sipmikey.kms.service import Outcome
from sipmikey.mikey.errors import MalformedMessage

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

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

    def __init__(
        self, status: int, reason: str, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers


class _ClientGone(Exception):
    """The connection closed before the request was whole."""


class KmsApplication:
    """ASGI application over the service.

    ``handler`` answers messages; ``pending`` tells how many requests the server holds; ``ready`` tells
    whether the stores answer; ``by_address`` limits requests of one address (None: no limit).
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
    ) -> None:
        self._handler = handler
        self._settings = settings
        self._metrics = metrics
        self._pending = pending
        self._ready = ready
        self._by_address = by_address
        # The two queries that nearly every request has need no parsing.
        self._queries = {
            f"{settings.parameter}={word}".encode(): exchange for word, exchange in settings.words.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        if scope["path"] == self._settings.path:
            await self._key_management(scope, receive, send)
        elif scope["path"] == "/health/live":
            await _plain(send, 200, b"alive\n")
        elif scope["path"] == "/health/ready":
            ready = self._ready()
            await _plain(send, 200 if ready else 503, b"ready\n" if ready else b"a store does not answer\n")
        else:
            await _plain(send, 404, b"not found\n")

    async def _key_management(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        exchange = Exchange.UNKNOWN
        client = scope["client"]
        source: str = client[0] if client else ""
        try:
            self._admit(source)
            exchange = self._checked(scope)
            message, as_base64 = decode_body(await self._body(scope, receive))
            outcome = await self._handled(message, exchange, scope, source)
            status, reason = outcome.status, outcome.reason
            await _outcome(send, outcome, as_base64=as_base64)
        except _Refusal as refusal:
            status, reason = refusal.status, refusal.reason
            await _refused(send, refusal)
        except MalformedMessage as error:
            status, reason = 400, error.reason
            await _refused(send, _Refusal(400, error.reason, str(error)))
        except _ClientGone:
            self._metrics.rejected("client-gone")
            return
        self._metrics.answered(exchange, status, reason, time.perf_counter() - started)
        if status != 200:
            log.info(
                "refused",
                extra={
                    "fields": {"exchange": exchange, "status": status, "reason": reason, "source": source}
                },
            )

    def _admit(self, source: str) -> None:
        """Turn away what there is no room for, before anything is spent on it."""
        if self._pending() > self._settings.pending:
            raise _Refusal(503, "overload", "too many requests waiting", _wait(self._settings.busy_retry_s))
        if self._by_address is not None:
            wait = self._by_address.retry_after(address_key(source))
            if wait is not None:
                raise _Refusal(429, "address-rate", "too many requests from this address", _wait(wait))

    def _checked(self, scope: Scope) -> Exchange:
        """Return the exchange the URL names, having checked method and headers."""
        if scope["method"] != "POST":
            raise _Refusal(405, "method", "only POST is understood here", ((b"allow", b"POST"),))
        media_type: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"content-type":
                media_type = value
            elif name == b"content-length" and int(value) > self._settings.body_bytes:
                raise _Refusal(413, "limit-exceeded", f"at most {self._settings.body_bytes} octets")
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise _Refusal(415, "content-encoding", "no Content-Encoding is understood")
        if media_type != MEDIA_TYPE and (
            media_type is None or media_type.partition(b";")[0].strip().lower() != MEDIA_TYPE
        ):
            raise _Refusal(415, "media-type", "Content-Type must be application/mikey")
        query: bytes = scope["query_string"]
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

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the whole body, of a bounded size. The protocol bounds the time."""
        event = await receive()
        body: bytes = event.get("body", b"")
        while event["type"] == "http.request" and event.get("more_body"):
            if len(body) > self._settings.body_bytes:
                break
            event = await receive()
            body += event.get("body", b"")
        if event["type"] == "http.disconnect":
            raise _ClientGone
        if len(body) > self._settings.body_bytes:
            raise _Refusal(413, "limit-exceeded", f"at most {self._settings.body_bytes} octets")
        return body

    async def _handled(self, message: bytes, exchange: Exchange, scope: Scope, source: str) -> Outcome:
        extensions = scope.get("extensions")
        if extensions:
            current_peer_names.set(extensions.get(PEER_NAMES, frozenset()))
        try:
            async with asyncio.timeout(self._settings.handle_s):
                return await self._handler(message, expected=exchange, source=source)
        except TimeoutError:
            log.error("timed-out", extra={"fields": {"exchange": exchange, "source": source}})
            raise _Refusal(503, "unavailable", "a store did not answer in time", _wait(1)) from None
        except Exception:  # noqa: BLE001 - the last resort of a request: a bug of ours must not end the worker
            log.exception("internal", extra={"fields": {"exchange": exchange, "source": source}})
            raise _Refusal(500, "internal", "internal error") from None


def _wait(seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", str(max(1, math.ceil(seconds))).encode()),)


async def _outcome(send: Send, outcome: Outcome, *, as_base64: bool) -> None:
    """Send what the service decided."""
    body = b"" if outcome.body is None else encode_body(outcome.body, as_base64=as_base64)
    headers = [(b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if body:
        headers.append((b"content-type", MEDIA_TYPE))
    if outcome.status != 200:
        headers.append((b"kms-reason", outcome.reason.encode()))
    if outcome.retry_after_s is not None:
        headers.extend(_wait(outcome.retry_after_s))
    await send({"type": "http.response.start", "status": outcome.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _refused(send: Send, refusal: _Refusal) -> None:
    body = f"{refusal.reason}: {refusal.detail}\n".encode()
    headers = [
        (b"content-length", str(len(body)).encode()),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"kms-reason", refusal.reason.encode()),
        *refusal.headers,
    ]
    if refusal.status in (413, 415, 503):
        headers.append((b"connection", b"close"))  # the body may not have been read, nor will be
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _plain(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
