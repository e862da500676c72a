"""What the operator's listener serves: metrics. Never on a public address."""

from __future__ import annotations

from sipmikey.kms.server.app import Receive, Scope, Send
from sipmikey.kms.server.metrics import CONTENT_TYPE, Metrics


class AdminApplication:
    """ASGI application with one page, ``/metrics``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        known = scope["path"] == "/metrics" and scope["method"] == "GET"
        body = self._metrics.render() if known else b"not found: GET /metrics is here\n"
        headers = [
            (b"content-type", CONTENT_TYPE.encode() if known else b"text/plain"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200 if known else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})
