"""What each mode takes at the caller and at the callee, with one proxy and one KMS for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from sipmikey.keys.key_text import parse_key
from sipmikey.testing.door import Door
from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import IDENTITY, Kms, uri
from tests.interop.modes.certificates import issue, make_root, revoke

FULL, PK, KERBEROS, OTWAY_REES, PRESHARED = "full", "full-pk", "kerberos", "otway-rees", "preshared"
MODES = (FULL, PK, KERBEROS, OTWAY_REES, PRESHARED)

IT_SUPPORT = uri("it-support")
USERS = ("alice", "bob", "carol", "dave")
POLICY = f"""
[limits.responders]
ticket_key = "responder"
flags = {{ resolve_mandatory = "allowed", key_forking = "forced-off" }}

[[rule]]
name = "tickets that the callee opens"
from = ["{uri("dave")}"]
to = ["*"]
decision = "allow"
limits = "responders"

[[rule]]
name = "all others"
from = ["*"]
to = ["*"]
decision = "allow"
"""
"""dave calls in Kerberos-like mode, everybody else in the others."""

_BETWEEN_TWO = bytes(range(32)).hex()


def asked(agent: Agent) -> list[str]:
    """What the agent asked the KMS, in order."""
    return [event["exchange"] for event in agent.events("kms.request")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """``door``: before the KMS, which is down for agents while it is shut. ``shared``: TPKs by user."""

    folder: Path
    kamailio: Kamailio
    kms: Kms
    door: Door
    shared: dict[str, dict[str, str]]

    def caller(self, mode: str) -> str:
        """Return who calls in *mode*."""
        return "dave" if mode == KERBEROS else "alice"

    def calling(self, mode: str, *, keys: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Return the settings of the caller in *mode*; *keys* are further ones of that section."""
        user = self.caller(mode)
        own: dict[str, Any] = {"mode": FULL if mode == PK else mode}
        if mode == PK:
            own["certificate"] = self.certificate(user)
        if mode == OTWAY_REES:
            own["ticket_keys"] = [self.shared[user]]
        if mode == PRESHARED:
            own["ticket_keys"] = [{"owner": uri("bob"), "key": _BETWEEN_TWO}]
        return self._settings(user, mode, own | (keys or {}), **more)

    def called(
        self, mode: str, user: str = "bob", *, keys: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Return the settings of a callee of *mode*."""
        own: dict[str, Any] = {}
        if mode == PK:
            own["certificate"] = self.certificate(user)
        if mode == KERBEROS:
            own["ticket_keys"] = [self.shared[user]]
        if mode == PRESHARED:
            own |= {"mode": PRESHARED, "ticket_keys": [{"owner": uri("alice"), "key": _BETWEEN_TWO}]}
        return self._settings(user, mode, own | (keys or {}), **more)

    def _settings(self, user: str, mode: str, keys: dict[str, Any], **more: Any) -> dict[str, Any]:
        kms = None if mode == PRESHARED else self.kms
        made = settings(user, kms, proxy=self.kamailio, **more)
        made["keys"] = made.get("keys", {}) | keys
        if kms is not None:
            made["kms_url"] = f"http://127.0.0.1:{self.door.port}"
        return made

    def certificate(self, user: str, *, late: bool = False) -> dict[str, str]:
        """Return the files of a user's certificate; *late*: of the revoked one of bob or dave."""
        own = self.folder / (f"{user}-late.pem" if late else f"{user}.pem")
        return {
            "certificate": str(own),
            "private_key": str(own.with_suffix(".key")),
            "kms_certificates": str(self.folder / "kms.pem"),
        }


def prepare(folder: Path) -> tuple[Kms, dict[str, dict[str, str]]]:
    """Make a KMS that has what all modes take, not started; return it and its TPKs by user."""
    make_root(folder)
    kms = Kms(folder / "kms")
    of_kms = issue(folder, "kms", IDENTITY, "root")
    late = [issue(folder, f"{user}-late", uri(user), "root") for user in ("bob", "dave")]
    revoke(folder, *(_serial(path) for path in late))
    with (kms.directory / "kms.toml").open("a") as configuration:
        configuration.write(
            f'\n[public_key]\ncertificate = "{of_kms}"\nprivate_key = "{of_kms.with_suffix(".key")}"\n'
            f'trust_anchors = "{folder / "root.pem"}"\nrevocation_lists = "{folder / "root.crl"}"\n'
        )
    kms.set_policy(POLICY)
    for user in USERS:
        issue(folder, user, uri(user), "root")
        kms.add_user(user, *(("--group", IT_SUPPORT) if user == "carol" else ()))
    return kms, {user: _share(kms, user) for user in ("alice", "bob")}


def _serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def _share(kms: Kms, user: str) -> dict[str, str]:
    told = kms.run("tpk", "share", uri(user))
    key = parse_key(str(told["tpk"]), "tpk").reveal().hex()
    return {"owner": IDENTITY, "key": key, "key_id": str(told["key_id"])}
