"""Kamailio as edge proxy and registrar in one, with outbound, GRUU and WebSockets."""

from __future__ import annotations

from pathlib import Path

from sipmikey.ports import free_port
from tests.interop.lab.kamailio import DOMAIN, Kamailio

TEMPLATE = Path(__file__).with_name("edge.cfg")
WEBSOCKET_PATH = "/sip"


class Edge(Kamailio):
    """Asks nobody for a password. ``authority.pem`` in its folder verifies its TLS and WSS."""

    def __init__(self, folder: Path) -> None:
        # Never 5060: Kamailio leaves it out in a Record-Route, where a URI with ws means port 80.
        super().__init__(folder, port=free_port("127.0.0.1"), tls_port=free_port("127.0.0.1"))

    def configuration(self) -> str:
        filled = TEMPLATE.read_text()
        for word, text in {
            "@DOMAIN@": DOMAIN,
            "@ADDRESS@": self.address,
            "@PORT@": str(self.port),
            "@TLS_PORT@": str(self.tls_port),
            "@DIRECTORY@": str(self.folder),
            "@PATH@": WEBSOCKET_PATH,
        }.items():
            filled = filled.replace(word, text)
        return filled

    def websocket(self, *, secure: bool) -> str:
        """Return the proxy by WebSocket, for an outbound-proxy setting."""
        scheme, port = ("sips", self.tls_port) if secure else ("sip", self.port)
        return f"{scheme}:{self.address}:{port};transport=ws;lr"
