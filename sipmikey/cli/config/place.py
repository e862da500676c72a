"""Where the configuration of a person is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def default_path(environment: Mapping[str, str]) -> Path:
    """Return where the configuration is by default: `$XDG_CONFIG_HOME/sipmikey/config.toml`."""
    base = environment.get("XDG_CONFIG_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".config"
    )
    return Path(base) / "sipmikey" / "config.toml"
