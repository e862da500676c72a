"""What an administrator did by a command, for the audit log."""

from __future__ import annotations

import getpass
import os
import time
from enum import StrEnum

from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.stores.store import Store


class AdminAct(StrEnum):
    """What an administrator can do that is in the audit log, as its ``rule`` says it."""

    ADD = "add"
    ROTATE = "rotate"
    REMOVE = "remove"
    DISABLE = "disable"
    ENABLE = "enable"
    INVITE = "invite"
    UNINVITE = "uninvite"
    REVOKE = "revoke"
    PUT_POLICY = "policy-put"
    SHARE_TPK = "tpk-share"
    ROTATE_TPK = "tpk-rotate"
    DESTROY_TPK = "tpk-destroy"


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
        detail=f"by {who()}" + (f": {detail}" if detail else ""),
    )
    await store.audit.append(event)


def who() -> str:
    """Return the name of who is logged in, the number where there is no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
