"""What an administrator did by a command, for the audit log."""

from __future__ import annotations

import getpass
import os
import time

from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.stores.store import Store


async def acted(
    store: Store,
    act: str,
    *,
    subscriber: str = "",
    identity: str = "",
    credential: str = "",
    detail: str = "",
) -> None:
    """Put one act into the audit log, with the name of who is logged in."""
    event = AuditEvent(
        time_ns=time.time_ns(),
        exchange=Exchange.ADMINISTRATION,
        decision=Decision.GRANTED,
        reason="granted",
        subscriber=subscriber,
        identity=identity,
        credential=credential,
        rule=act,
        source="command",
        detail=f"by {_who()}" + (f": {detail}" if detail else ""),
    )
    await store.audit.append(event)


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
