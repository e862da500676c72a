"""The choice of devices that outlives the program: a small file of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from sipmikey.mikey.errors import LocalError
from sipmikey.sound.settings import Role
from sipmikey.whole_file import write_whole


def place(environment: Mapping[str, str] | None = None) -> Path:
    """Return where the choice is kept: `$XDG_STATE_HOME/sipmikey/sound.json`."""
    environment = os.environ if environment is None else environment
    home = Path(environment.get("HOME", "~")).expanduser()
    base = environment.get("XDG_STATE_HOME") or str(home / ".local" / "state")
    return Path(base) / "sipmikey" / "sound.json"


def remembered(path: Path | None = None) -> dict[Role, str]:
    """Return the names of the devices chosen last; nothing where the file is missing or not understood."""
    try:
        document = json.loads((path or place()).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {role: str(document[role]) for role in Role if isinstance(document.get(role), str)}


def remember(role: Role, name: str, path: Path | None = None) -> None:
    """Keep the choice of *name* for *role*; an empty name forgets it. Raises ``LocalError``."""
    path = path or place()
    kept = {**remembered(path), role: name}
    document = {str(one): named for one, named in kept.items() if named}
    try:
        write_whole(path, json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror}") from None
