"""What each mode of MIKEY-TICKET takes in the demonstration: the KMS's policy, ticket keys, certificates."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sipmikey.cli.demo.actor import run_once
from sipmikey.conformance.certificates import make_certificate, new_rsa_key

DEFERRED = "deferred"
GROUP = "group"
_CA = "demonstration CA"

MODES = ("full", "full-pk", "kerberos", "otway-rees", "preshared", GROUP, DEFERRED)

REQUEST = ("REQUEST_INIT", "REQUEST_RESP")
TRANSFER = ("TRANSFER_INIT", "TRANSFER_RESP")
RESOLVE = ("RESOLVE_INIT", "RESOLVE_RESP")

MESSAGES: Mapping[str, tuple[str, ...]] = {
    "full": REQUEST + TRANSFER + RESOLVE,
    "full-pk": REQUEST + TRANSFER + RESOLVE,
    "kerberos": REQUEST + TRANSFER,
    "otway-rees": TRANSFER + RESOLVE,
    "preshared": TRANSFER,
}
"""Mode -> the MIKEY messages of a call in it; deferred delivery is not a call."""

MEANING: Mapping[str, str] = {
    "full": "the KMS makes the ticket and resolves it",
    "full-pk": "the same, with certificates instead of pre-shared keys at the KMS",
    "kerberos": "the KMS makes the ticket, and bob opens it with a key that he shares with the KMS",
    "otway-rees": "alice makes the ticket with a key that she shares with the KMS, which resolves it",
    "preshared": "alice makes the ticket with a key that she shares with bob; no KMS is asked",
    GROUP: "alice gives the members of a group one key; the KMS says who they are, and one talks at a time",
    DEFERRED: "bob does not answer; alice leaves a message that only bob opens, by a ticket of the KMS",
}

TALK = "sip:talk@example.com"
"""The group of the demonstration."""

_MORE_POLICY = {
    "kerberos": """
[limits.default]
ticket_key = "responder"
flags = { resolve_mandatory = "allowed", key_forking = "forced-off" }
""",
    GROUP: f"""
[[rule]]
name = "the group"
from = ["group:{TALK}"]
to = ["group:{TALK}"]
decision = "allow"
""",
}
"""More of the policy with which the KMS begins, by mode: in Kerberos's, callees open tickets themselves."""


@dataclass
class Requisites:
    """``needs_kms``: there is one. ``kms``: more keys of ``[kms]`` for an agent, as TOML values."""

    needs_kms: bool = True
    psk: bool = True
    kms: dict[str, dict[str, str]] = field(default_factory=lambda: {"alice": {}, "bob": {}})

    def write(self, folder: Path, name: str) -> Path:
        """Write what the agent *name* is configured with, and return the file."""
        path = folder / f"{name}.toml"
        lines = "".join(f"{key} = {value}\n" for key, value in self.kms.get(name, {}).items())
        path.write_text(f"[kms]\n{lines}", encoding="utf-8")
        path.chmod(0o600)
        return path


def prepare(mode: str, folder: Path, *, users: Mapping[str, str]) -> Requisites:
    """Return what *mode* needs before there is a KMS. *users*: identity by name."""
    made = Requisites()
    word = mode.removesuffix("-pk")
    if mode == GROUP:
        return made
    made.kms["alice"]["mode"] = _text(word)
    if mode == "preshared":
        made.needs_kms = made.psk = False
        key = folder / "alice-and-bob.tpk"
        _write_private(key, base64.b64encode(os.urandom(32)))
        made.kms["bob"]["mode"] = _text(word)
        for name, peer in (("alice", "bob"), ("bob", "alice")):
            made.kms[name]["ticket_keys"] = _table(users[peer], str(key))
    made.psk = made.psk and mode != "full-pk"
    return made


def configure_kms(
    mode: str, made: Requisites, folder: Path, *, directory: Path, kms: str, users: Mapping[str, str]
) -> dict[str, list[str]]:
    """Write what *mode* needs of the KMS in *directory*; return by name how its users are added."""
    if mode in _MORE_POLICY:
        with (directory / "policy.toml").open("a", encoding="utf-8") as policy:
            policy.write(_MORE_POLICY[mode])
    if mode == "full-pk":
        _certify(made, folder, directory=directory, kms=kms, users=users)
        return {name: ["--certificate", str(folder / f"{name}.pem"), "--no-psk"] for name in users}
    return {name: ["--psk-id", name, "--psk-file", str(folder / f"{name}.psk")] for name in users}


async def share_keys(
    mode: str, made: Requisites, folder: Path, *, directory: Path, kms: str, users: Mapping[str, str]
) -> None:
    """Have the user who opens or makes tickets in *mode* share a ticket key with the KMS."""
    name = {"kerberos": "bob", "otway-rees": "alice"}.get(mode)
    if name is not None:
        await _share(made, folder, name, directory=directory, kms=kms, user=users[name])


async def _share(made: Requisites, folder: Path, name: str, *, directory: Path, kms: str, user: str) -> None:
    """Have *name* and the KMS share a ticket key."""
    key = folder / f"{name}.tpk"
    words = ["kms", "tpk", "share", "--dir", str(directory), "--json", user, "--tpk-file", str(key)]
    told = await run_once(words)
    made.kms[name]["ticket_keys"] = _table(kms, str(key))
    made.kms[name]["ticket_key_ids"] = _table(kms, str(told["key_id"]))


def _certify(made: Requisites, folder: Path, *, directory: Path, kms: str, users: Mapping[str, str]) -> None:
    """Make a CA, and certificates of the KMS and of the users, who have no pre-shared keys at the KMS."""
    authority, now = new_rsa_key(), datetime.now(UTC)
    valid = (now - timedelta(minutes=5), now + timedelta(days=1))
    root = make_certificate(_CA, None, authority, _CA, authority, valid=valid)
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    for name, identity in {"kms": kms, **users}.items():
        key = new_rsa_key()
        own = make_certificate(name, identity, key, _CA, authority, valid=valid)
        (folder / f"{name}.pem").write_bytes(own.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write_private(folder / f"{name}.key", pem)
    with (directory / "kms.toml").open("a", encoding="utf-8") as configuration:
        paths = {name: _text(str(folder / name)) for name in ("kms.pem", "kms.key", "ca.pem")}
        configuration.write(
            f"\n[public_key]\ncertificate = {paths['kms.pem']}\nprivate_key = {paths['kms.key']}\n"
            f"trust_anchors = {paths['ca.pem']}\n"
        )
    for name in users:
        made.kms[name] |= {
            "certificate": _text(str(folder / f"{name}.pem")),
            "private_key": _text(str(folder / f"{name}.key")),
            "kms_certificates": _text(str(folder / "kms.pem")),
        }


def _text(value: str) -> str:
    """Return *value* as a TOML string."""
    return json.dumps(value)


def _table(key: str, value: str) -> str:
    return f"{{ {_text(key)} = {_text(value)} }}"


def _write_private(path: Path, octets: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(octets)
