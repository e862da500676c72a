"""What the operator's listener serves: metrics. Never where strangers reach it."""

from __future__ import annotations

from sipmikey.kms.server.metrics import CONTENT_TYPE, Metrics
from sipmikey.kms.server.protocol import RequestHead, Response


class AdminApplication:
    """Satisfies `Application` with one page, ``/metrics``."""

    body_bytes = 0

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def refuse(self, head: RequestHead) -> Response | None:
        """Refuse nothing by its head."""
        return None

    def too_large(self) -> Response:
        """Return the answer to a request with a body."""
        return Response(413, b"no body is understood here\n", close=True)

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer one HTTP request."""
        if head.path == b"/metrics" and head.method == b"GET":
            return Response(200, self._metrics.render(), ((b"content-type", CONTENT_TYPE.encode()),))
        return Response(404, b"not found: GET /metrics is here\n", ((b"content-type", b"text/plain"),))
