"""Enrolment over HTTP: ``POST /enrolment`` with JSON, and a page for browsers that open an invitation."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Final, Protocol

from sipmikey.kms.enrolment.codes import PATH
from sipmikey.kms.enrolment.desk import Reply
from sipmikey.kms.enrolment.documents import MEDIA_TYPE
from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.protocol import RequestHead, Response
from sipmikey.rate_limit import RateLimiter, address_key

EXCHANGE = "enrolment"
BODY_BYTES = 16_384

_PAGE = """\
This is the invitation to a sipmikey phone. It is not used here: copy the whole address of this page, with
what stands behind the #, and give it to

    sipmikey setup 'ADDRESS'

Nobody but you should see it: who uses it first has your phone.
"""


SIGN_ON_PAGE: Final = """\
Here a sipmikey phone signs on with your account. Start it on the phone:

    sipmikey setup --sso ADDRESS-OF-THIS-SERVER
"""


class Desk(Protocol):
    """Answers the requests of one kind."""

    async def handle(self, body: bytes, *, source: str = "") -> Reply:
        """Answer one request; never raises for anything its sender can do."""
        ...


class AddressFailures:
    """Satisfies `Failures`: a source that fails too often waits; one that never fails is never counted."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    def wait(self, source: str) -> float | None:
        """Return the seconds that *source* has to wait, or None."""
        return self._limiter.wait(address_key(source))

    def failed(self, source: str) -> None:
        """Count one failure of *source*."""
        self._limiter.retry_after(address_key(source))


class EnrolmentPages:
    """Answers what is asked at one path. ``handle_s``: seconds for the stores to answer."""

    def __init__(
        self, desk: Desk, *, metrics: Metrics, handle_s: float, path: str = PATH, page: str = _PAGE
    ) -> None:
        self._path = path.encode()
        self._page = page.encode()
        self._desk = desk
        self._metrics = metrics
        self._handle_s = handle_s

    def serves(self, path: bytes) -> bool:
        """Return whether *path* is that of these pages."""
        return path == self._path

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer one request."""
        if head.method in (b"GET", b"HEAD"):
            return Response(200, self._page, (*_SAFE, (b"content-type", b"text/plain; charset=utf-8")))
        started = time.perf_counter()
        reply = await self._reply(head, body)
        self._metrics.answered(EXCHANGE, reply.status, reply.reason, time.perf_counter() - started)
        if reply.status != 200:
            fields = {
                "exchange": EXCHANGE,
                "status": reply.status,
                "reason": reply.reason,
                "source": head.source,
            }
            log.info("refused", extra={"fields": fields})
        return _response(reply)

    async def _reply(self, head: RequestHead, body: bytes) -> Reply:
        if head.method != b"POST":
            return Reply(status=405, reason="method", detail="GET and POST are understood here")
        kind = next((value for name, value in head.headers if name == b"content-type"), b"")
        if kind.partition(b";")[0].strip().lower() != MEDIA_TYPE.encode():
            return Reply(status=415, reason="media-type", detail=f"Content-Type must be {MEDIA_TYPE}")
        if len(body) > BODY_BYTES:
            return Reply(status=413, reason="limit-exceeded", detail=f"at most {BODY_BYTES} octets")
        try:
            async with asyncio.timeout(self._handle_s):
                return await self._desk.handle(body, source=head.source)
        except TimeoutError:
            log.error("timed-out", extra={"fields": {"exchange": EXCHANGE, "source": head.source}})
            return Reply(
                status=503,
                reason="unavailable",
                detail="a store or the provider did not answer",
                retry_after_s=1.0,
            )
        except Exception:  # noqa: BLE001 - the last resort of a request: a bug of ours must not end the worker
            log.exception("internal", extra={"fields": {"exchange": EXCHANGE, "source": head.source}})
            return Reply(status=500, reason="internal", detail="internal error")


_SAFE = ((b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))


def _response(reply: Reply) -> Response:
    headers = [*_SAFE, (b"content-type", MEDIA_TYPE.encode())]
    if reply.status == 200:
        return Response(200, reply.body, tuple(headers))
    headers.append((b"kms-reason", reply.reason.encode()))
    if reply.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(reply.retry_after_s))).encode()))
    body = json.dumps({"reason": reply.reason, "detail": reply.detail}).encode()
    return Response(reply.status, body, tuple(headers))
