"""A real LDAP server (slapd of OpenLDAP) for tests, on a free port, under the user of the tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import ldap3
from ldap3.core.exceptions import LDAPException

from sipmikey.ports import free_port
from tests.kms.http.serving import Authority
from tests.kms.organisation.provider import Missing

BASE = "dc=example,dc=com"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
ROOT, PASSWORD = f"cn=root,{BASE}", "secret of the root"
READER, READER_PASSWORD = f"cn=kms,{BASE}", "secret of the kms"
PAGE = 10

CONFIG = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{password}"
directory {folder}/data
sizelimit size.soft={page} size.hard={page} size.pr={page} size.prtotal=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * none
"""

LDIF = """\
dn: {base}
objectClass: domain
dc: example

dn: {people}
objectClass: organizationalUnit
ou: people

dn: {groups}
objectClass: organizationalUnit
ou: groups

dn: {reader}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: kms
userPassword: {reader_password}
"""


class Slapd:
    """A server that runs, without people. ``ca``: who signed its certificate, which is for localhost."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("slapd", path="/usr/sbin:/usr/bin:/usr/lib/openldap")
        if program is None or not Path("/etc/ldap/schema/core.schema").exists():
            raise Missing("slapd is not installed: run tools/install-peers")
        (folder / "data").mkdir()
        authority = Authority()
        authority.issue(folder / "server.pem", folder / "server.key", "localhost")
        self.ca = authority.write(folder / "ca.pem")
        config = folder / "slapd.conf"
        config.write_text(
            CONFIG.format(folder=folder, base=BASE, root=ROOT, password=PASSWORD, reader=READER, page=PAGE)
        )
        ldif = folder / "tree.ldif"
        ldif.write_text(
            LDIF.format(
                base=BASE, people=PEOPLE, groups=GROUPS, reader=READER, reader_password=READER_PASSWORD
            )
        )
        subprocess.run([program, "-T", "add", "-f", config, "-l", ldif], check=True, capture_output=True)
        self.port, self.tls_port = free_port("127.0.0.1"), free_port("127.0.0.1")
        urls = f"ldap://localhost:{self.port}/ ldaps://localhost:{self.tls_port}/"
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [program, "-d", "0", "-h", urls, "-f", config], stdout=self._log, stderr=self._log
        )
        self._admin = self._connected()

    def _connected(self) -> ldap3.Connection:
        deadline = time.monotonic() + 20
        while True:
            try:
                server = ldap3.Server("localhost", port=self.port, get_info=ldap3.NONE)
                return ldap3.Connection(server, ROOT, PASSWORD, auto_bind=True, raise_exceptions=True)
            except LDAPException:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                with socket.socket() as waiting:
                    waiting.settimeout(0.05)
                    waiting.connect_ex(("192.0.2.1", 9))

    def person(self, uid: str, **more: str | list[str]) -> str:
        """Add a person; return the name."""
        name = f"uid={uid},{PEOPLE}"
        self._admin.add(name, ["inetOrgPerson"], {"uid": uid, "cn": uid, "sn": uid, **more})
        return name

    def group(self, cn: str, *members: str) -> str:
        name = f"cn={cn},{GROUPS}"
        self._admin.add(name, ["groupOfNames"], {"cn": cn, "member": list(members)})
        return name

    def change(self, name: str, **attributes: str | list[str]) -> None:
        """Replace attributes of an entry."""
        self._admin.modify(
            name,
            {key: [(ldap3.MODIFY_REPLACE, [value] if isinstance(value, str) else value)]
             for key, value in attributes.items()},
        )  # fmt: skip

    def rename(self, name: str, relative: str) -> None:
        self._admin.modify_dn(name, relative)

    def remove(self, name: str) -> None:
        self._admin.delete(name)

    def empty(self) -> None:
        """Remove all people and groups."""
        for base in (GROUPS, PEOPLE):
            self._admin.search(base, "(objectClass=*)", search_scope=ldap3.LEVEL, attributes=[])
            for entry in list(self._admin.response or []):
                self._admin.delete(entry["dn"])

    def close(self) -> None:
        self._admin.unbind()
        self._process.terminate()
        self._process.wait(timeout=10)
        self._log.close()
