"""A bundle: one user's configuration with a key in it, and the files of the profile beside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from sipmikey.cli.enrol.kept_enrolment import applied, put
from sipmikey.cli.kms.common import write_private
from sipmikey.kms.enrolment.profile import Profile
from sipmikey.kms.subscribers import PskRecord
from sipmikey.mikey.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What one user gets. ``psk`` has its key."""

    identity: str
    kms_url: str
    psk: PskRecord
    profile: Profile
    sip_password: Secret | None = None


def write_bundle(folder: Path, bundle: Bundle) -> Path:
    """Write a folder of *bundle* into *folder*, readable by its owner only; return its configuration.

    Raises ConfigurationError if it is there already.
    """
    address = bundle.identity.partition(":")[2]
    name = "".join(symbol if symbol.isalnum() or symbol in "-_.@+" else "_" for symbol in address).lstrip(".")
    place = folder / (name or "_")
    place.mkdir(mode=0o700, exist_ok=True)
    document = tomlkit.document()
    document.add(tomlkit.comment("Holds a key: who has this file can call as this user."))
    put(document, "identity", "uri", bundle.identity)
    put(document, "kms", "url", bundle.kms_url)
    for key, value in bundle.profile.settings.get("kms", {}).items():
        if key in ("url", "identity"):
            put(document, "kms", key, value)
    assert bundle.psk.key is not None
    put(document, "kms", "psk_id", bundle.psk.key_id.decode())
    put(document, "kms", "psk", base64.b64encode(bundle.psk.key.reveal()).decode())
    if bundle.sip_password is not None:
        put(document, "credentials", "password", bundle.sip_password.reveal().decode())
    applied(document, Profile(), bundle.profile, place, named=Path())
    path = place / "config.toml"
    write_private(path, tomlkit.dumps(document))
    return path
