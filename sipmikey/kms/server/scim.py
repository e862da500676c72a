"""SCIM over HTTP: who asks, and the form of what is asked and answered."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Final

from sipmikey.kms.administration.audit_acts import Actor
from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.scim.desk import ScimDesk, ScimReply, ScimRequest, failure_of
from sipmikey.kms.server.enrolment import AddressFailures
from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.protocol import RequestHead, Response
from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.kms.stores.store import Store
from sipmikey.printable import printable

EXCHANGE: Final = "scim"
PATH: Final = "/scim/v2"
MEDIA_TYPE: Final = "application/scim+json"
MAX_TOKEN: Final = 256

_TYPES = (b"application/scim+json", b"application/json")


class ScimPages:
    """Answers what is asked below ``/scim/v2``. ``certificates``: names of clients that need no token."""

    def __init__(
        self,
        desk: ScimDesk,
        store: Store,
        *,
        metrics: Metrics,
        failures: AddressFailures,
        certificates: frozenset[str],
        handle_s: float,
    ) -> None:
        self._desk = desk
        self._store = store
        self._metrics = metrics
        self._failures = failures
        self._certificates = certificates
        self._handle_s = handle_s

    def serves(self, path: bytes) -> bool:
        """Return whether *path* is below that of SCIM."""
        return path == PATH.encode() or path.startswith(f"{PATH}/".encode())

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer one request."""
        started = time.perf_counter()
        reply, headers = await self._reply(head, body)
        self._metrics.answered(EXCHANGE, reply.status, reply.reason, time.perf_counter() - started)
        if reply.status >= 400:
            detail = printable(str((reply.document or {}).get("detail", "")), most=200)
            fields = {
                "exchange": EXCHANGE, "status": reply.status, "reason": reply.reason, "source": head.source,
                "detail": detail,
            }  # fmt: skip
            log.info("refused", extra={"fields": fields})
        return _response(reply, headers)

    async def _reply(self, head: RequestHead, body: bytes) -> tuple[ScimReply, dict[bytes, bytes]]:
        try:
            async with asyncio.timeout(self._handle_s):
                wait = self._failures.wait(head.source)
                if wait is not None:
                    reply = failure_of(429, "too many wrong tokens from this address", "too-many-failures")
                    return reply, {b"retry-after": str(max(1, math.ceil(wait))).encode()}
                actor = await self._actor(head)
                if actor is None:
                    await self._refused(head)
                    reply = failure_of(401, "a token of this KMS is needed", "token-not-valid")
                    return reply, {b"www-authenticate": b'Bearer realm="scim"'}
                return await self._handled(head, body, actor), {}
        except StoreUnavailable as error:
            return failure_of(503, str(error), "unavailable"), {b"retry-after": b"1"}
        except TimeoutError:
            log.error("timed-out", extra={"fields": {"exchange": EXCHANGE, "source": head.source}})
            return failure_of(503, "a store did not answer", "unavailable"), {b"retry-after": b"1"}
        except Exception:  # noqa: BLE001 - the last resort of a request: a bug of ours must not end the worker
            log.exception("internal", extra={"fields": {"exchange": EXCHANGE, "source": head.source}})
            return failure_of(500, "internal error", "internal"), {}

    async def _actor(self, head: RequestHead) -> Actor | None:
        """Return who asks, by certificate or token; None for nobody that is known here."""
        names = head.peer_names & self._certificates
        if names:
            return Actor(name=f"scim {sorted(names)[0]}", source=head.source)
        given = [value for name, value in head.headers if name == b"authorization"]
        if len(given) != 1 or len(given[0]) > MAX_TOKEN:
            return None
        scheme, _, text = given[0].partition(b" ")
        if scheme.lower() != b"bearer" or not text.isascii():
            return None
        token = await self._store.provisioned.token(text.strip().decode(), now_s=int(time.time()))
        return None if token is None else Actor(name=f"scim {token.name}", source=head.source)

    async def _refused(self, head: RequestHead) -> None:
        self._failures.failed(head.source)
        await self._store.audit.append(
            AuditEvent(
                time_ns=time.time_ns(), exchange=Exchange.ADMINISTRATION, decision=Decision.REFUSED,
                reason="token-not-valid", source=head.source, rule="scim",
            )
        )  # fmt: skip

    async def _handled(self, head: RequestHead, body: bytes, actor: Actor) -> ScimReply:
        kind = next((value for name, value in head.headers if name == b"content-type"), b"")
        if body and kind.partition(b";")[0].strip().lower() not in _TYPES:
            return failure_of(415, f"Content-Type must be {MEDIA_TYPE}", "media-type")
        try:
            request = ScimRequest(
                method=head.method.decode("ascii"),
                path=head.path.decode("ascii").removeprefix(PATH),
                query=head.query.decode("ascii"),
                body=body,
                conditions={
                    name.decode(): value.decode("ascii")
                    for name, value in head.headers
                    if name in (b"if-match", b"if-none-match")
                },
            )
        except UnicodeDecodeError:
            return failure_of(400, "an address and header fields in ASCII are needed", "malformed")
        return await self._desk.handle(request, actor)


def _response(reply: ScimReply, more: dict[bytes, bytes]) -> Response:
    headers = [(b"cache-control", b"no-store"), *more.items()]
    if reply.etag:
        headers.append((b"etag", reply.etag.encode()))
    if reply.location:
        headers.append((b"location", reply.location.encode()))
    if reply.document is None:
        return Response(reply.status, b"", tuple(headers))
    headers.append((b"content-type", MEDIA_TYPE.encode()))
    return Response(reply.status, json.dumps(reply.document).encode(), tuple(headers))
