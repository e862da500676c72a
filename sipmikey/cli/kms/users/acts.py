"""What an administrator does by a command, under the name of who is logged in."""

from __future__ import annotations

import getpass
import os

from sipmikey.kms.administration.acts import Administration
from sipmikey.kms.administration.audited import Actor, AdminAct
from sipmikey.kms.stores.store import Store


def administration(store: Store) -> Administration:
    """Return what the person who runs this command may do to *store*."""
    return Administration(store, Actor(name=who(), source="command"))


async def acted(
    store: Store,
    act: AdminAct,
    *,
    subscriber: str = "",
    identity: str = "",
    credential: str = "",
    detail: str = "",
) -> None:
    """Put one act into the audit log, with the name of who is logged in."""
    await administration(store).acted(
        act, subscriber=subscriber, identity=identity, credential=credential, detail=detail
    )


def who() -> str:
    """Return the name of who is logged in, the number where there is no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
