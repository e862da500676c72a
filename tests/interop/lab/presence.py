"""Kamailio as presence server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sipmikey.ports import free_port
from tests.interop.lab.kamailio import DOMAIN, USERS, Kamailio, password

TEMPLATE = Path(__file__).with_name("presence.cfg")
TABLES = Path("/usr/share/kamailio/dbtext/kamailio")
MODULES = "/usr/lib"


class PresenceServer(Kamailio):
    """Asks for the passwords of the lab's users. Everybody may watch everybody."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, port=free_port("127.0.0.1"))

    @staticmethod
    def need() -> None:
        """Skip the running test where the modules are not installed."""
        if not any(Path(MODULES).glob("*/kamailio/modules/presence_xml.so")):
            pytest.skip("Kamailio's presence modules are not installed: run tools/install-peers")

    def start(self) -> None:
        shutil.copytree(TABLES, self.folder / "db", dirs_exist_ok=True)
        super().start()

    def configuration(self) -> str:
        filled = TEMPLATE.read_text()
        for word, text in {
            "@DOMAIN@": DOMAIN,
            "@ADDRESS@": self.address,
            "@PORT@": str(self.port),
            "@DIRECTORY@": str(self.folder),
            "@TABLES@": "\n".join(f'    $sht(users=>{user}) = "{password(user)}";' for user in USERS),
        }.items():
            filled = filled.replace(word, text)
        return filled
