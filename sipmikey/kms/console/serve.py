"""The console behind the KMS's own HTTP server, whose bounds it shares: ASGI on one side of it."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp

from sipmikey.kms.console.app import console
from sipmikey.kms.console.guard import SAFE_HEADERS
from sipmikey.kms.console.settings import ConsoleSettings
from sipmikey.kms.server.log import log
from sipmikey.kms.server.protocol import Header, RequestHead, Response
from sipmikey.kms.stores.store import Store

BODY_BYTES = 131_072
ANSWER_S = 30.0

_SAFE: tuple[Header, ...] = tuple(
    (name.lower().encode(), value.encode()) for name, value in SAFE_HEADERS.items()
)
_ADDED = frozenset({b"content-length", *(name for name, _ in _SAFE)})


class ConsoleApplication:
    """Satisfies `Application` with the console."""

    body_bytes = BODY_BYTES

    def __init__(self, store: Store, settings: ConsoleSettings) -> None:
        self._app: ASGIApp = console(store, settings)

    def refuse(self, head: RequestHead) -> Response | None:
        """Refuse nothing by its head."""
        return None

    def too_large(self) -> Response:
        """Return the answer to a body that is too large."""
        return _plain(413, f"at most {BODY_BYTES} octets")

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer one request."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._asked(head, body)
        except TimeoutError:
            log.error("timed-out", extra={"fields": {"exchange": "console", "source": head.source}})
            return _plain(503, "a store did not answer")
        except Exception:  # noqa: BLE001 - the last resort of a request: a bug of ours must not end the worker
            log.exception("internal", extra={"fields": {"exchange": "console", "source": head.source}})
            return _plain(500, "internal error")

    async def _asked(self, head: RequestHead, body: bytes) -> Response:
        path = head.path.decode("latin-1")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": head.method.decode("latin-1"),
            "scheme": "https",
            "path": path,
            "raw_path": head.path,
            "root_path": "",
            "query_string": head.query,
            "headers": head.headers,
            "client": (head.source, 0),
            "server": None,
            "peer_names": head.peer_names,
        }
        status = 500
        headers: list[Header] = []
        answered = bytearray()

        whole = asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            if whole.is_set():
                await asyncio.get_running_loop().create_future()  # a client that goes away is not told
            whole.set()
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers.extend(message.get("headers", ()))
            elif message["type"] == "http.response.body":
                answered.extend(message.get("body", b""))

        await self._app(scope, receive, send)
        kept = tuple(header for header in headers if header[0] not in _ADDED)
        return Response(status, bytes(answered), (*kept, *_SAFE))


def _plain(status: int, text: str) -> Response:
    return Response(status, f"{text}\n".encode(), ((b"content-type", b"text/plain; charset=utf-8"), *_SAFE))
