"""Files with one secret: a key on one line, as `sipmikey.keys.key_text` reads it, or a password."""

from __future__ import annotations

from pathlib import Path

from sipmikey.keys.key_text import parse_key
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

_MAX_BYTES = 4096


def read_secret_file(path: Path, name: str) -> Secret:
    """Return the secret in the first line of the file at *path*, without blanks around it.

    *name* is the option or setting that names the file. Raises `LocalError`.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise LocalError(f"{name}: {path}: {error.strerror}") from None
    if not lines or not lines[0].strip():
        raise LocalError(f"{name}: {path} is empty")
    return Secret(lines[0].strip())


def read_key_file(path: Path, name: str) -> Secret:
    """Return the key in the file at *path*: 16 bytes or more, as hexadecimal or base64 text.

    *name* is the option or setting that names the file. Raises `LocalError`, which never repeats the text.
    """
    where = f"{name}: {path}"
    return parse_key(read_key_text(path, where).reveal(), where)


def read_key_text(path: Path, where: str) -> Secret:
    """Return the text in a key file, which is not judged yet. *where* begins the text of a `LocalError`."""
    try:
        with path.expanduser().open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise LocalError(f"{where}: {error.strerror}") from None
    if len(text) > _MAX_BYTES:
        raise LocalError(f"{where}: longer than {_MAX_BYTES} bytes; a key file holds one key")
    if len(text.split()) > 1:
        raise LocalError(f"{where}: more than one line; a key file holds one key")
    return Secret(text.strip())


def read_key_option(text: str, name: str) -> Secret:
    """Return the key an option gives: as text, or as ``@FILE``. Raises `LocalError`, as `read_key_file`."""
    if text.startswith("@"):
        return read_key_file(Path(text[1:]), name)
    return parse_key(text, name)
