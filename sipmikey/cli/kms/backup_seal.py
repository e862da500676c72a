"""The seal of a backup: what files it has, with a MAC by a key that only the master key gives."""

from __future__ import annotations

import hashlib
import hmac
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sipmikey.kms.stores.vault import backup_key
from sipmikey.mikey.secret import Secret
from sipmikey.settings import ConfigurationError

FORMAT = 2
MANIFEST = "manifest.json"
_LONGEST_MANIFEST = 65536
_BLOCK = 1 << 20


def manifest(facts: Mapping[str, Any], files: Iterable[tuple[str, Path]], master_key: Secret) -> str:
    """Return the manifest of *files*, (name in the backup, path) each, with its MAC."""
    sealed = {**facts, "format": FORMAT, "files": {name: _digest(path) for name, path in files}}
    return json.dumps({**sealed, "mac": _mac(sealed, master_key)})


def unpack(file: Path, scratch: Path, known: Iterable[str]) -> dict[str, Any]:
    """Copy the *known* files of a backup to *scratch*; return its manifest, which nothing vouches for yet.

    Raises ConfigurationError for what is not a backup: other names, links, folders, doubles.
    """
    allowed = {MANIFEST, *known}
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                if not member.isreg() or member.name not in allowed:
                    raise ConfigurationError(
                        f"{file} is not a backup of a KMS: it holds {member.name[:80]!r}"
                    )
                allowed.remove(member.name)
                archive.extract(member, scratch, filter="data")
        path = scratch / MANIFEST
        if path.stat().st_size > _LONGEST_MANIFEST:
            raise ValueError("its manifest is too long")
        read = json.loads(path.read_text(encoding="ascii"))
    except (OSError, tarfile.TarError, ValueError, EOFError, RecursionError) as error:
        raise ConfigurationError(f"{file} is not a backup of a KMS: {error}") from None
    if not isinstance(read, dict) or not isinstance(read.get("format"), int):
        raise ConfigurationError(f"{file} is not a backup of a KMS: its manifest names no format")
    if read["format"] != FORMAT:
        age = "a newer" if read["format"] > FORMAT else "an older"
        raise ConfigurationError(f"{file} was written by {age} sipmikey ({str(read.get('version'))[:20]!r})")
    return read


def check(read: dict[str, Any], scratch: Path, master_key: Secret) -> None:
    """Raise ConfigurationError unless the files in *scratch* are those that were sealed with *master_key*."""
    sealed = {name: value for name, value in read.items() if name != "mac"}
    found = {
        path.name: _digest(path) for path in scratch.iterdir() if path.is_file() and path.name != MANIFEST
    }
    genuine = hmac.compare_digest(str(read.get("mac")).encode(), _mac(sealed, master_key).encode())
    if not genuine or sealed.get("files") != found:
        raise ConfigurationError(
            "the backup was altered, or is of a KMS with another master key: "
            "put this KMS's master key in place (--master-key FILE)"
        )


def _mac(sealed: Mapping[str, Any], master_key: Secret) -> str:
    text = json.dumps(sealed, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(backup_key(master_key).reveal(), text, hashlib.sha256).hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
