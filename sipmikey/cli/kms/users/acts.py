"""What an administrator does by a command, under the name of who is logged in."""

from __future__ import annotations

import getpass
import os
from typing import Unpack

from sipmikey.kms.administration.acts import Administration
from sipmikey.kms.administration.audit_acts import About, Actor, AdminAct
from sipmikey.kms.stores.store import Store


def administration(store: Store) -> Administration:
    """Return what the person who runs this command may do to *store*."""
    return Administration(store, actor())


async def acted(store: Store, act: AdminAct, **about: Unpack[About]) -> None:
    """Put one act into the audit log, with the name of who is logged in."""
    await administration(store).acted(act, **about)


def actor() -> Actor:
    """Return who is logged in, by number where there is no name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return Actor(name=name, source="command")
