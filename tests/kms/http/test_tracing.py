"""Traces say what was asked and what became of it, and hold nothing of keys, tickets or people."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.kms.http.serving import ALICE, BOB, TICKET_RESOLVE, Site, serving

ATTRIBUTES = {
    "http.request.method", "sipmikey.exchange", "http.request.body.size", "http.response.status_code",
    "sipmikey.reason",
}  # fmt: skip


class _Collector(BaseHTTPRequestHandler):
    """Takes what OTLP over HTTP brings."""

    taken: list[bytes]

    def do_POST(self) -> None:
        self.taken.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    taken: list[bytes] = []
    server = HTTPServer(("127.0.0.1", 0), type("Collector", (_Collector,), {"taken": taken}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", taken
    server.shutdown()
    server.server_close()


def spans(taken: list[bytes]) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    requests = [ExportTraceServiceRequest.FromString(body) for body in taken]
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@pytest.mark.processes
def test_every_span_that_leaves_the_kms(tmp_path: Path, collector: tuple[str, list[bytes]]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    url, taken = collector
    site = Site(tmp_path / "kms")
    site.edit("workers = 1", f'workers = 1\ntraces = "{url}"')
    alice, bob = site.add(ALICE), site.add(BOB)
    with serving(site) as service:
        request = alice.request(BOB)
        granted = service.post(request.message)[2]
        grant = request.receive(granted)
        resolve = bob.resolve(grant, alice).message
        assert service.post(resolve, path=TICKET_RESOLVE)[0] == 200
        assert service.post(request.message)[0] == 400
        assert service.post(b"A" * 20)[0] == 400
        assert service.get("/health/ready")[0] == 200
        assert service.get(f"/{ALICE}?{BOB}")[0] == 404
        assert service.stop() == 0
        refused = [line for line in service.log() if line["event"] == "refused"]
    found = spans(taken)
    names = sorted(span.name for span in found)
    assert names == sorted(
        ["POST request", "POST resolve", "POST request", "POST request", "GET health ready", "GET other"]
    )
    assert {attribute.key for span in found for attribute in span.attributes} == ATTRIBUTES
    assert {line["trace"] for line in refused} <= {span.trace_id.hex() for span in found}
    everything = b"".join(taken)
    keys = [alice.psk.key.reveal(), bob.psk.key.reveal()]
    secret = [*keys, *(key.hex().encode() for key in keys), *map(base64.b64encode, keys)]
    named = [ALICE.encode(), BOB.encode(), b"alice", request.message, granted, resolve]
    assert not [text for text in (*secret, *named) if text in everything]
