"""Where a person's secrets are, in words."""

from __future__ import annotations

from sipmikey.phone.text import Text
from sipmikey.sealed.vault import Vault


def place_of(vault: Vault) -> Text:
    """Return where the secrets of *vault* are, to be told to the user."""
    if vault.file is None:
        return Text("Secrets are in the keyring of this system.")
    return Text(
        "This system has no keyring. Secrets are in {path}, which only you can read.",
        {"path": str(vault.file)},
    )
