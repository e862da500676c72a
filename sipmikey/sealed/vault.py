"""Secrets of a person: in the keyring of the system, or in a file of mode 0600 where there is none."""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.whole_file import write_whole

SERVICE = "sipmikey"
KEYRING_PREFIX = "keyring:"
"""What a setting begins with whose secret is in the vault: ``keyring:NAME``."""


def data_folder() -> Path:
    """Return where a person's data are: `$XDG_DATA_HOME/sipmikey`."""
    base = os.environ.get("XDG_DATA_HOME") or Path(os.environ.get("HOME", "~")).expanduser() / ".local/share"
    return Path(base) / "sipmikey"


class Keyring(Protocol):
    """The part of the package ``keyring`` that is used."""

    def get_password(self, service: str, name: str) -> str | None:
        """Return a secret."""

    def set_password(self, service: str, name: str, secret: str) -> None:
        """Keep a secret."""

    def delete_password(self, service: str, name: str) -> None:
        """Forget a secret."""


def system_keyring() -> Keyring | None:
    """Return the keyring of the system, None where there is none (or ``keyring`` is not installed)."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError:
        return None
    if os.environ.get("SIPMIKEY_TEST_KEYRING") == "file":
        return None
    backend = keyring.get_keyring()
    if getattr(backend, "priority", 0) < 1:
        return None  # "fail" and "null" keep nothing
    with suppress(KeyringError, OSError):
        backend.get_password(SERVICE, "probe")  # one that is locked, or whose service is gone, raises
        return backend
    return None


class Vault:
    """Secrets by name. *folder* has the file that is used where there is no *keyring*."""

    def __init__(self, folder: Path, keyring: Keyring | None) -> None:
        self._path = folder / "secrets.json"
        self._keyring = keyring

    @property
    def file(self) -> Path | None:
        """Where the secrets are, None where that is the keyring."""
        return None if self._keyring is not None else self._path

    def get(self, name: str) -> Secret | None:
        """Return the secret *name*, None when there is none.

        Raises ``LocalError`` for a file that others can read.
        """
        if self._keyring is not None:
            found = self._keyring.get_password(SERVICE, name)
        else:
            found = self._read().get(name)
        return None if found is None else Secret(found.encode())

    def put(self, name: str, secret: Secret) -> None:
        """Keep *secret* as *name*."""
        text = secret.reveal().decode()
        if self._keyring is not None:
            self._keyring.set_password(SERVICE, name, text)
        else:
            self._write({**self._read(), name: text})

    def keep(self, name: str, secret: Secret) -> str:
        """Keep *secret* as *name* and return what a configuration says in its place."""
        self.put(name, secret)
        return f"{KEYRING_PREFIX}{name}"

    def forget(self, name: str) -> None:
        """Forget the secret *name*, if there is one."""
        if self._keyring is None:
            self._write({key: text for key, text in self._read().items() if key != name})
        elif self._keyring.get_password(SERVICE, name) is not None:
            self._keyring.delete_password(SERVICE, name)

    def key(self, name: str) -> Secret:
        """Return the key *name* of 32 octets, drawn at the first call."""
        if (found := self.get(name)) is not None:
            return Secret(base64.b64decode(found.reveal(), validate=True))
        drawn = os.urandom(32)
        self.put(name, Secret(base64.b64encode(drawn)))
        return Secret(drawn)

    def _read(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        if self._path.stat().st_mode & 0o077:
            raise LocalError(f"{self._path}: others can read it: chmod 600 {self._path}")
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except ValueError:
            raise LocalError(f"{self._path}: this is not the file of secrets that it should be") from None
        return {key: text for key, text in found.items() if isinstance(text, str)}

    def _write(self, secrets: dict[str, str]) -> None:
        write_whole(self._path, json.dumps(secrets))
