"""MIKEY over HTTP without the KMS's own client and server: what is sent may be wrong on purpose."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from sipmikey.conformance.kms_subject import Post, Reply
from sipmikey.mikey.errors import LocalError

_TIMEOUT_S = 10.0
_MAX_OCTETS = 98_304
_TYPE = "application/mikey"


def poster(url: str, *, ca_file: Path | None = None) -> Post:
    """Return what posts a message to the KMS at a base URL. Raises `LocalError` for a URL that is none."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise LocalError(f"{url}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LocalError(f"{url} is not the URL of a KMS: http://HOST[:PORT] or https://HOST[:PORT]")
    host, path = parts.hostname, f"{parts.path.rstrip('/')}/keymanagement"
    context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None

    def post(kind: str, octets: bytes) -> Reply:
        connection = (
            http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
            if context is None
            else http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
        )
        try:
            headers = {"Content-Type": _TYPE}
            connection.request("POST", f"{path}?requesttype={kind}", octets, headers)
            answer = connection.getresponse()
            body = answer.read(_MAX_OCTETS)
            kept = answer.getheader("Content-Type", "").partition(";")[0].strip() == _TYPE
            return Reply(status=answer.status, body=body if kept else b"")
        except http.client.HTTPException as error:
            raise OSError(f"{url}: {error or type(error).__name__}") from error
        except OSError as error:
            raise OSError(f"{url}: {error.strerror or error}") from error
        finally:
            connection.close()

    return post


@contextmanager
def serving(choose: Callable[[str], Post | None], host: str, port: int) -> Iterator[str]:
    """Serve KMSs while the block runs, and give the base URL. Raises `LocalError` for an address in use.

    *choose* gives the KMS of what stands in the path before ``keymanagement``, empty for nothing, or None.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > _MAX_OCTETS:
                self.send_error(411)
                return
            octets = self.rfile.read(int(length))
            target = urlsplit(self.path)
            kind = parse_qs(target.query).get("requesttype", [""])[0]
            name, _, last = target.path.strip("/").rpartition("/")
            answer = choose(name) if last == "keymanagement" else None
            reply = Reply(status=404, body=b"") if answer is None else answer(kind, octets)
            self.send_response(reply.status)
            if reply.body:
                self.send_header("Content-Type", _TYPE)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the command tells what comes."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise LocalError(f"{host}:{port}: {error.strerror}") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
