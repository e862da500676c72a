"""Kamailio as registrar and forking proxy."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from sipmikey.testing.kamailio import Kamailio as ProxyOfTheKit
from sipmikey.testing.process import PeerFailed
from tests.interop.lab import programs
from tests.interop.lab.certificates import Authority
from tests.interop.lab.sip import bracketed
from tests.networks import has_ipv6

DOMAIN = "example.test"
TEMPLATE = Path(__file__).with_name("kamailio.cfg")
USERS = ("alice", "bob", "carol", "dave", "kms")
READY_SECONDS = 15.0
SHARED_MEGABYTES, PRIVATE_MEGABYTES = 64, 16


def password(user: str) -> str:
    """The SIP password of a lab user."""
    return f"{user}-sip-password"


class Kamailio(ProxyOfTheKit):
    """The kit's proxy with digest, TLS and more routing, on *address* and, where the kernel has IPv6, on ::1.

    *serial* names users whose devices are tried one after the other, with the milliseconds each has;
    *aliases* maps a called user to the one whose devices ring; *moved* maps one to the URI of a 302.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 5060,
        tls_port: int = 5061,
        aliases: Mapping[str, str] | None = None,
        serial: Mapping[str, int] | None = None,
        moved: Mapping[str, str] | None = None,
        rtpengine_port: int | None = None,
        shared_megabytes: int = SHARED_MEGABYTES,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__(directory, port=port, address=address)
        self.tls_port = tls_port
        self._aliases = {"it-support": "carol", **(aliases or {})}
        self._serial = dict(serial or {})
        self._moved = dict(moved or {})
        self._rtpengine_port = rtpengine_port
        self._shared_megabytes = shared_megabytes
        self.authority = Authority()

    @property
    def uri(self) -> str:
        """The proxy over UDP, for an outbound-proxy setting."""
        return self.route()

    def route(self, transport: str | None = None, *, host: str | None = None) -> str:
        """The proxy at *host*, one of its addresses, for an outbound-proxy setting.

        Without *transport* over UDP, and over TCP what is too large for it.
        """
        port = self.tls_port if transport == "tls" else self.port
        suffix = f";transport={transport}" if transport else ""
        return f"sip:{bracketed(host or self.address)}:{port}{suffix};lr"

    def start(self) -> None:
        """Start and return once a SIP request has been answered."""
        programs.need("kamailio")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "ctl").unlink(missing_ok=True)
        self.authority.issue(self.folder, DOMAIN, self.address, "::1")
        (self.folder / "tls.cfg").write_text(
            "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n"
            f"private_key = {self.folder}/key.pem\ncertificate = {self.folder}/certificate.pem\n"
            "[client:default]\nverify_certificate = no\nrequire_certificate = no\n"
        )
        super().start()

    def options(self) -> list[str]:
        memory = ["-m", str(self._shared_megabytes), "-M", str(PRIVATE_MEGABYTES)]
        return memory if self._rtpengine_port is None else [*memory, "-A", "WITH_RTPENGINE"]

    def ready(self) -> bool:
        try:
            self.command("core.uptime")
        except PeerFailed:
            return False
        return True

    def command(self, *words: str) -> str:
        """Output of a control command, for example `ul.dump`."""
        program = programs.need("kamcmd")
        argv = [program, "-s", f"unixs:{self.folder}/ctl", *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=READY_SECONDS)
        if done.returncode != 0 or done.stdout.startswith("error:"):
            raise PeerFailed(f"kamcmd {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def bind(self, user: str, contact: str, *, q: float = 1.0) -> None:
        """Register *contact* for *user* from inside the proxy, where a test needs no REGISTER on the wire."""
        self.command("ul.add", "location", user, contact, "0", f"{q:.2f}", ".", "0", "0", "0")

    def contacts(self, user: str) -> list[str]:
        """The contact URIs registered for *user*."""
        try:
            listed = self.command("ul.lookup", "location", user)
        except PeerFailed:
            return []
        return [line.split(": ", 1)[1] for line in listed.splitlines() if line.strip().startswith("Address:")]

    def configuration(self) -> str:
        addresses = [self.address, *(["[::1]"] if has_ipv6() else [])]
        listen = [f"listen={kind}:{address}:{self.port}" for address in addresses for kind in ("udp", "tcp")]
        listen += [f"listen=tls:{address}:{self.tls_port}" for address in addresses]
        listen += [
            f'alias="{address}:{port}"' for address in addresses for port in (self.port, self.tls_port)
        ]
        tables = [f'    $sht(users=>{user}) = "{password(user)}";' for user in USERS]
        tables += [f'    $sht(aliases=>{called}) = "{member}";' for called, member in self._aliases.items()]
        tables += [f'    $sht(serial=>{user}) = "{wait}";' for user, wait in self._serial.items()]
        tables += [f'    $sht(moved=>{user}) = "{target}";' for user, target in self._moved.items()]
        filled = TEMPLATE.read_text()
        for word, text in {
            "@DOMAIN@": DOMAIN,
            "@LISTEN@": "\n".join(listen),
            "@TABLES@": "\n".join(tables),
            "@DIRECTORY@": str(self.folder),
            "@RTPENGINE_PORT@": str(self._rtpengine_port),
        }.items():
            filled = filled.replace(word, text)
        return filled
