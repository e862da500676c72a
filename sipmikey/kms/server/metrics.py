"""Counters and timings of a KMS worker, in Prometheus's text format."""

from __future__ import annotations

import os
from typing import Final, Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Directory through which prometheus_client adds up workers; it must be set before import."""

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What a worker counts. Labels come from closed sets, never from what a sender can choose."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sipmikey_kms_requests",
            "Messages answered, by exchange and HTTP status.",
            ["exchange", "status"],
            registry=self._registry,
        )
        self._refusals = Counter(
            "sipmikey_kms_refusals", "Refusals by reason.", ["reason"], registry=self._registry
        )
        self._seconds = Histogram(
            "sipmikey_kms_request_seconds",
            "Time from the whole request to the answer.",
            ["exchange"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._forwards = Counter(
            "sipmikey_kms_forwards",
            "Resolves passed on to another KMS, by result.",
            ["result"],
            registry=self._registry,
        )
        self.connections = self._gauge("sipmikey_kms_connections", "Open client connections.", "livesum")
        self.ready = self._gauge(
            "sipmikey_kms_ready_workers", "Workers whose stores answered the last check.", "livesum"
        )
        self.certificate_expiry = self._gauge(
            "sipmikey_kms_tls_certificate_expiry_seconds",
            "Unix time at which the server certificate in use expires.",
            "livemin",
        )
        self.ticket_key_created = self._gauge(
            "sipmikey_kms_ticket_key_created_seconds",
            "Unix time at which the key that seals tickets was made, 0 before there is one.",
            "livemax",
        )
        # Looking a labelled child up costs more than counting, and the labels are few.
        self._request_children: dict[tuple[str, int], Counter] = {}
        self._seconds_children: dict[str, Histogram] = {}

    def _gauge(self, name: str, text: str, mode: Literal["livesum", "livemin", "livemax"]) -> Gauge:
        return Gauge(name, text, multiprocess_mode=mode, registry=self._registry)

    def answered(self, exchange: str, status: int, reason: str, seconds: float) -> None:
        """Count one answer; *reason* counts as a refusal unless *status* is 200."""
        child = self._request_children.get((exchange, status))
        if child is None:
            child = self._request_children[exchange, status] = self._requests.labels(exchange, str(status))
        child.inc()
        timing = self._seconds_children.get(exchange)
        if timing is None:
            timing = self._seconds_children[exchange] = self._seconds.labels(exchange)
        timing.observe(seconds)
        if status != 200:
            self._refusals.labels(reason).inc()

    def rejected(self, reason: str) -> None:
        """Count a connection or request turned away below HTTP."""
        self._refusals.labels(reason).inc()

    def forwarded(self, result: str) -> None:
        """Count a resolve passed on: ``answered``, ``timeout`` or ``failed``."""
        self._forwards.labels(result).inc()

    def render(self) -> bytes:
        """Return the text to give to Prometheus, of all workers where there are several."""
        if not os.environ.get(MULTIPROCESS_VARIABLE):
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)
