"""A KMS over HTTP in the process of the test, which answers as a test wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sipmikey.system import environment
from tests.sdp.parties import KMS, Kms, credential

Answer = bytes | tuple[int, dict[str, str]] | None
"""A message of status 200, another status with headers, or a connection that is closed without an answer."""


class StrangeKms:
    """``answer``: makes the answer to a message; by default that of a KMS which grants everything.

    ``asked``: the messages so far. A context manager: it serves while entered.
    """

    def __init__(self, answer: Callable[[bytes], Answer] | None = None) -> None:
        self.kms = Kms(environment())
        self.answer: Callable[[bytes], Answer] = answer or self.kms.request
        self.asked: list[bytes] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        kms = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                message = self.rfile.read(int(self.headers["Content-Length"]))
                kms.asked.append(message)
                answer = kms.answer(message)
                if answer is None:
                    self.close_connection = True
                    self.connection.close()
                    return
                status, headers = (
                    (200, {"Content-Type": "application/mikey"}) if isinstance(answer, bytes) else answer
                )
                body = answer if isinstance(answer, bytes) else b""
                self.send_response_only(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def options(self, identity: str, folder: Path, **more: str) -> list[str]:
        """Options of a command that is the agent of *identity*."""
        key = credential(identity)
        file = folder / f"{identity.partition(':')[2].partition('@')[0]}.psk"
        file.write_text(key.key.reveal().hex())
        file.chmod(0o600)
        words = {
            "identity": identity, "kms": self.url, "kms-identity": KMS, "psk-file": str(file),
            "psk-id": identity, "listen": "127.0.0.1:0",
        }  # fmt: skip
        words |= {name.replace("_", "-"): value for name, value in more.items()}
        return [
            "--null-audio",
            "--json",
            *(text for name, value in words.items() for text in (f"--{name}", value)),
        ]
