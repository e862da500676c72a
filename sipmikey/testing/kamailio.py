"""Kamailio as registrar and forking proxy for the agents of a test, where it is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from sipmikey.ports import free_port
from sipmikey.testing.parent import end_with_parent

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


class Kamailio:
    """A running Kamailio. All contacts of a user are called in parallel. ``uri``: for agents' ``proxy``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @staticmethod
    def installed() -> bool:
        """Tell whether there is a Kamailio here."""
        return shutil.which("kamailio") is not None

    @property
    def uri(self) -> str:
        """What agents have as outbound proxy and registrar."""
        return f"sip:127.0.0.1:{self.port};transport=tcp;lr"

    def start(self) -> None:
        """Start it on a free port of the loopback interface, and return when it takes connections."""
        self.port = free_port("127.0.0.1")
        file = self._folder / "kamailio.cfg"
        file.write_text(CONFIGURATION.format(port=self.port))
        with (self._folder / "kamailio.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["kamailio", "-f", file, "-DD", "-E", "-m", "64", "-M", "8", "-Y", self._folder],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self._folder / "kamailio.log").read_text(errors="replace")
                    raise RuntimeError(f"Kamailio did not start:\n{log_text[-2000:]}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End it with all its processes."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
