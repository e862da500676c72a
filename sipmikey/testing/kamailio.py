"""Kamailio as registrar and forking proxy for the agents of a test, where it is installed."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sipmikey.ports import free_port
from sipmikey.testing.process import PeerFailed, Process

CONFIGURATION = """\
#!KAMAILIO
listen=tcp:127.0.0.1:{port}
listen=udp:127.0.0.1:{port}
children=1
tcp_children=1
log_stderror=yes
debug=1
auto_aliases=no
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "append_branches", 1)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    t_check_trans();
    remove_hf("Route");
    if (is_method("REGISTER")) {{ save("location"); exit; }}
    record_route();
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    t_relay();
}}
"""

START_S = 20.0
PROBE_S = 0.05


class Kamailio:
    """A running Kamailio in *folder*. All contacts of a user are called in parallel.

    A context manager that serves while entered. ``uri`` is for agents' ``proxy``. A subclass may have a
    `configuration`, further `options` and an address of its own.
    """

    def __init__(self, folder: Path, *, port: int = 0, address: str = "127.0.0.1") -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self._process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    @staticmethod
    def installed() -> bool:
        """Return whether there is a Kamailio here."""
        return shutil.which("kamailio") is not None

    @property
    def uri(self) -> str:
        """What agents have as outbound proxy and registrar."""
        return f"sip:{self.address}:{self.port};transport=tcp;lr"

    def configuration(self) -> str:
        """Return the configuration file."""
        return CONFIGURATION.format(port=self.port)

    def options(self) -> list[str]:
        """Return further options of the command line."""
        return ["-m", "64", "-M", "8"]

    def start(self) -> None:
        """Start it, on a free port unless one was given; return when it answers SIP. Raises PeerFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port(self.address)
        file = self.folder / "kamailio.cfg"
        file.write_text(self.configuration())
        self._process = Process(
            [
                "kamailio",
                "-f",
                file,
                "-DD",
                "-E",
                "-Y",
                self.folder,
                "-P",
                self.folder / "pid",
                *self.options(),
            ],
            name="kamailio",
        )
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it with all its processes."""
        if self._process is not None:
            self._process.stop()

    @property
    def log(self) -> list[str]:
        """The lines it logged so far."""
        assert self._process is not None
        return self._process.lines

    def wait_for(self, wanted: str, *, timeout: float = 15.0, start: int = 0) -> int:
        """Wait for a line of the log that contains *wanted*, and return its place."""
        assert self._process is not None
        return self._process.wait_for(wanted, timeout=timeout, start=start)

    def ready(self) -> bool:
        """Return whether it can be used, once it answers SIP."""
        return True

    def _await_answer(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((self.address, 0))
            probe.settimeout(PROBE_S)
            here = "{}:{}".format(*probe.getsockname())
            to = f"sip:{self.address}:{self.port}"
            request = (
                f"OPTIONS {to} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKprobe\r\n"
                f"Max-Forwards: 5\r\nFrom: <sip:probe@{here}>;tag=probe\r\nTo: <{to}>\r\n"
                f"Call-ID: probe@{here}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            ).encode()
            while time.monotonic() < deadline:
                if not self._process.running:
                    raise PeerFailed(f"kamailio ended\n{self._process.tail()}")
                try:
                    probe.sendto(request, (self.address, self.port))
                    probe.recv(4096)
                except (TimeoutError, ConnectionRefusedError):
                    continue
                if self.ready():
                    return
        raise PeerFailed(f"kamailio does not answer\n{self._process.tail()}")
