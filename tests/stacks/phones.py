"""The phones of `examples/stacks` as processes, and a proxy that forks to them."""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sipmikey.ports import free_port
from sipmikey.sip import SipMessage
from sipmikey.testing.external import OwnKms
from sipmikey.testing.kms import TestKms
from sipmikey.testing.program import Program

ROOT = Path(__file__).parents[2]
VOICES = ROOT / "sipmikey" / "cli" / "assets"
STACKS = ("sipua", "sippy")
LONGEST_S = 60.0


class Phone:
    """A phone of `examples/stacks`, or its bridge, which is ready. ``lines``: what it printed so far."""

    def __init__(self, stack: str, kms: TestKms | OwnKms, folder: Path, name: str, *words: object) -> None:
        user = kms.user(f"sip:{name}@example.com")
        key = folder / f"{name}.psk"
        key.write_text(user.psk)
        self.port = free_port("127.0.0.1")
        self.lines: list[str] = []
        speaks = () if stack == "bridge" else ("--play", VOICES / "alice.wav")
        self._program = Program(
            f"{stack}:main" if stack == "bridge" else f"{stack}_phone:main",
            "--identity", user.identity, "--kms", kms.url, "--psk-id", user.psk_id, "--psk-file", key,
            "--port", self.port, *speaks, *words,
            text=True, environment={"PYTHONPATH": str(ROOT / "examples" / "stacks")},
        )  # fmt: skip
        self.wait_for("ready")

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"sip:bob@127.0.0.1:{self.port}"

    def wait_for(self, wanted: str) -> str:
        """Wait for a line with *wanted* in it and return it."""
        for line in self.lines:
            if wanted in line:
                return line
        assert self._program.stdout is not None
        watch = threading.Timer(LONGEST_S, self._program.kill)
        watch.start()
        try:
            for line in self._program.stdout:
                self.lines.append(line.rstrip())
                if wanted in line:
                    return self.lines[-1]
        finally:
            watch.cancel()
        assert self._program.stderr is not None
        raise AssertionError(f"no {wanted!r}: {self.lines}\n{self._program.stderr.read()}")

    def finish(self) -> int:
        """Wait for the end and return the exit status."""
        output, errors = self._program.communicate(timeout=LONGEST_S)
        self.lines += output.splitlines()
        assert "Traceback" not in errors, errors
        return self._program.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._program.kill()
        self._program.wait()
        self._program.close()


@contextmanager
def forking(*ports: int) -> Iterator[int]:
    """Serve a proxy that sends an INVITE to all *ports* and passes every response on; give its port.

    It adds no Record-Route: what follows the INVITE goes between the phones. It cancels nothing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as proxy:
        proxy.bind(("127.0.0.1", 0))
        own = proxy.getsockname()[1]
        over = threading.Event()
        thread = threading.Thread(target=_fork, args=(proxy, own, ports, over), daemon=True)
        thread.start()
        try:
            yield own
        finally:
            over.set()
            proxy.sendto(b"over", ("127.0.0.1", own))
            thread.join()


def _fork(proxy: socket.socket, own: int, ports: tuple[int, ...], over: threading.Event) -> None:
    caller: tuple[str, int] | None = None
    while not over.is_set():
        message, source = proxy.recvfrom(65_535)
        if message.startswith(b"INVITE"):
            caller = source
            for port in ports:
                via = f"\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKfork{port}\r\nVia:".encode()
                proxy.sendto(message.replace(b"\r\nVia:", via, 1), ("127.0.0.1", port))
        elif message.startswith(b"SIP/2.0") and caller is not None:
            proxy.sendto(re.sub(rb"(?i)\r\nVia:[^\r]*z9hG4bKfork[^\r]*", b"", message, count=1), caller)


def ask(port: int, offer: str) -> SipMessage:
    """Send an INVITE with *offer* to a port and return the final response."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.bind(("127.0.0.1", 0))
        caller.settimeout(LONGEST_S)
        here = f"127.0.0.1:{caller.getsockname()[1]}"
        invite = SipMessage(
            start_line=f"INVITE sip:bob@127.0.0.1:{port} SIP/2.0",
            headers=(
                ("Via", f"SIP/2.0/UDP {here};branch=z9hG4bK{secrets.token_hex(8)}"),
                ("Max-Forwards", "70"),
                ("From", "<sip:carol@example.com>;tag=c"),
                ("To", "<sip:bob@example.com>"),
                ("Call-ID", secrets.token_hex(8)),
                ("CSeq", "1 INVITE"),
                ("Contact", f"<sip:carol@{here}>"),
                ("Content-Type", "application/sdp"),
            ),
            content=offer.encode(),
        )
        caller.sendto(invite.encode(), ("127.0.0.1", port))
        while True:
            response = SipMessage.parse(caller.recv(65_535))
            if response.status >= 200:
                return response
