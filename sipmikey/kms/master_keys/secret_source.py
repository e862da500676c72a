"""Where the pin of a token and the token of a Vault come from."""

from __future__ import annotations

import os
from pathlib import Path

from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret


def secret_from(source: str, what: str) -> Secret:
    """Return the secret that ``file:PATH`` or ``env:NAME`` holds. Raises `LocalError`."""
    kind, _, rest = source.partition(":")
    if kind == "env":
        text = os.environ.get(rest)
        if not text:
            raise LocalError(f"{what}: environment variable {rest} is not set")
        return Secret(text.encode())
    if kind == "file":
        try:
            lines = Path(rest).read_bytes().splitlines()
        except OSError as error:
            raise LocalError(f"{what}: {rest}: {error.strerror}") from None
        if not lines or not lines[0].strip():
            raise LocalError(f"{what}: {rest} is empty")
        return Secret(lines[0].strip())
    raise LocalError(f"{what} is file:PATH or env:NAME, not {kind!r}")
