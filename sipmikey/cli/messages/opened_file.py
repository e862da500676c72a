"""Which messages were opened before, in a file of the user."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sipmikey.deferred.opened_before import OpenedBefore, parse_opened
from sipmikey.mikey.errors import LocalError
from sipmikey.sealed.vault import data_folder
from sipmikey.settings import ConfigurationError
from sipmikey.whole_file import write_whole


def opened_path(identity: str) -> Path:
    """Return the file of *identity*."""
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return data_folder() / f"messages-{name}.json"


def read_opened(path: Path) -> OpenedBefore:
    """Return what the file holds, nothing where there is none. Raises ``ConfigurationError``."""
    try:
        return parse_opened(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return OpenedBefore()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (LocalError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path}: {error}; without it a message that is left twice cannot be told: look at it, remove it"
        ) from None


def write_opened(path: Path, opened: OpenedBefore) -> None:
    """Put *opened* in place of what the file held. Raises ``ConfigurationError``."""
    try:
        write_whole(path, opened.encode())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
