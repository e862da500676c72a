"""OpenTelemetry traces: a span for each request. Needs the extra ``otel``.

A span says by words of closed sets what was asked and what became of it. It names no subscriber or key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from sipmikey.kms.server.protocol import Application, RequestHead, Response

METHODS: Final = frozenset({b"GET", b"HEAD", b"POST"})


class Tracing:
    """Makes spans and sends them on. ``places``: names of requests by path and query."""

    def __init__(self, processor: SpanProcessor, places: Mapping[tuple[bytes, bytes], str]) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "sipmikey-kms"}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("sipmikey.kms")
        self._places = places

    def traced(self, application: Application) -> Application:
        """Return *application* with a span around each of its answers."""
        return _Traced(application, self)

    async def answer(self, application: Application, head: RequestHead, body: bytes) -> Response:
        """Answer one request in a span of its own."""
        place = self._places.get((head.path, head.query)) or self._places.get((head.path, b""), "other")
        method = head.method.decode() if head.method in METHODS else "_OTHER"
        with self._tracer.start_as_current_span(f"{method} {place}", kind=SpanKind.SERVER) as span:
            response = await application.answer(head, body)
            span.set_attribute("http.request.method", method)
            span.set_attribute("sipmikey.exchange", place)
            span.set_attribute("http.request.body.size", len(body))
            span.set_attribute("http.response.status_code", response.status)
            reason = next((value for name, value in response.headers if name == b"kms-reason"), b"")
            if reason:
                span.set_attribute("sipmikey.reason", reason.decode())
            if response.status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            return response

    def close(self) -> None:
        """Send what is still here."""
        self._provider.shutdown()


class _Traced:
    """Satisfies `Application`."""

    def __init__(self, application: Application, tracing: Tracing) -> None:
        self.body_bytes = application.body_bytes
        self._application = application
        self._tracing = tracing

    def refuse(self, head: RequestHead) -> Response | None:
        return self._application.refuse(head)

    def too_large(self) -> Response:
        return self._application.too_large()

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        return await self._tracing.answer(self._application, head, body)


def exporting(endpoint: str, places: Mapping[tuple[bytes, bytes], str]) -> Tracing:
    """Return tracing that sends spans to *endpoint* by OTLP over HTTP, in batches, beside the service."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return Tracing(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)), places)
