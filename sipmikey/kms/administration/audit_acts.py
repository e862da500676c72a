"""The acts of administrators in the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict, Unpack

from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.stores.store import Store


class AdminAct(StrEnum):
    """What an administrator can do that is in the audit log, as its ``rule`` says it."""

    ADD = "add"
    ROTATE = "rotate"
    REMOVE = "remove"
    DISABLE = "disable"
    ENABLE = "enable"
    CHANGE = "change"
    INVITE = "invite"
    UNINVITE = "uninvite"
    REVOKE = "revoke"
    ADD_MEMBERS = "group-add"
    REMOVE_MEMBERS = "group-remove"
    PUT_POLICY = "policy-put"
    SHARE_TPK = "tpk-share"
    ROTATE_TPK = "tpk-rotate"
    DESTROY_TPK = "tpk-destroy"
    CHANGE_MASTER_KEY = "master-key-change"
    EXPORT_AUDIT = "audit-export"
    SIGN_IN = "sign-in"
    SIGN_OUT = "sign-out"
    ADD_CLIENT = "client-add"
    REMOVE_CLIENT = "client-remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The party that acts: its ``name``, and where from (``command``, or an address)."""

    name: str
    source: str


class About(TypedDict, total=False):
    """What an act was about: fields of the `AuditEvent`; ``detail`` stands behind the name of who acted."""

    subscriber: str
    identity: str
    credential: str
    detail: str


async def keep_act(
    store: Store, actor: Actor, act: AdminAct, *, time_ns: int, **about: Unpack[About]
) -> None:
    """Put one act into the audit log, with the name of who did it."""
    detail = about.get("detail")
    event = AuditEvent(
        time_ns=time_ns,
        exchange=Exchange.ADMINISTRATION,
        decision=Decision.GRANTED,
        reason="granted",
        subscriber=about.get("subscriber", ""),
        identity=about.get("identity", ""),
        credential=about.get("credential", ""),
        rule=act,
        source=actor.source,
        detail=f"by {actor.name}" + (f": {detail}" if detail else ""),
    )
    await store.audit.append(event)
