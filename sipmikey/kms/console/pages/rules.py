"""Policy, ticket keys, and the health of the KMS."""

from __future__ import annotations

import time

from starlette.responses import Response

from sipmikey.keys.suite import SUITES
from sipmikey.kms.console.console_request import ConsoleRequest
from sipmikey.kms.console.roles import Permission
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.policy.rules import Explanation
from sipmikey.kms.service.parties import party_of
from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.ticket.policy import FULL_MODE, RequestedKey, TicketPolicy


async def health(asked: ConsoleRequest) -> Response:
    """Show how the parts of the KMS are."""
    return asked.page("health", findings=await asked.settings.health())


async def policy(asked: ConsoleRequest) -> Response:
    """Show the policy, and explain a decision where two identities are given."""
    text = await asked.settings.policy_text()
    source, target = asked.query.get("from", "").strip(), asked.query.get("to", "").strip()
    flags, suite = asked.query.get("flags", str(FULL_MODE)).strip(), asked.query.get("suite", "256")
    told, why = None, ""
    if source or target:
        try:
            told = await _explained(asked, text, source, target, flags, suite)
        except (SipmikeyError, ValueError) as error:
            why = str(error)
    history = await asked.store.policies.history() if asked.settings.policy_in_store else []
    return asked.page(
        "policy", text=text, told=told, why=why, source=source, target=target, flags=flags, suite=suite,
        suites=sorted(SUITES), history=history[:20],
        changes=asked.settings.policy_in_store and asked.may(Permission.CHANGE_POLICY),
    )  # fmt: skip


async def _explained(
    asked: ConsoleRequest, text: str, source: str, target: str, flags: str, suite: str
) -> Explanation:
    if suite not in SUITES:
        raise LocalError(f"a suite is one of {', '.join(sorted(SUITES))}")
    wanted = normal_identity(target)
    desired = TicketPolicy(
        suite=SUITES[suite],
        flags=TicketFlags.of(flags),
        responders=(wanted,),
        requested_keys=(RequestedKey(length=SUITES[suite].key_length),),
    )
    asking = await party_of(asked.store.subscribers, normal_identity(source))
    to = await party_of(asked.store.subscribers, wanted)
    return parse_policy(text).explain(asking, to, desired, now_s=int(time.time()))


async def put_policy(asked: ConsoleRequest) -> Response:
    """Put a policy in force."""
    if not asked.settings.policy_in_store:
        raise LocalError('this KMS reads its policy from a file: set source = "store" in [policy]')
    rules = await asked.admin.put_policy(asked.form.get("text", "").replace("\r\n", "\n"))
    return asked.back(f"/policy?said={rules}%20rules%20in%20force")


async def keys(asked: ConsoleRequest) -> Response:
    """List ticket protection keys."""
    return asked.page("keys", keys=await asked.store.ticket_keys.list(), now_s=int(time.time()))


async def rotate(asked: ConsoleRequest) -> Response:
    """Seal new tickets with a new key."""
    await asked.admin.rotate_tpk()
    return asked.back("/keys?said=rotated")


async def destroy(asked: ConsoleRequest) -> Response:
    """Destroy a ticket protection key."""
    try:
        key_id = bytes.fromhex(asked.form.get("key_id", ""))
    except ValueError:
        raise LocalError("a key's identifier is hexadecimal") from None
    if asked.form.get("confirm") != "yes":
        raise LocalError("confirm that no ticket under this key shall resolve any more")
    await asked.admin.destroy_tpk(key_id)
    return asked.back("/keys?said=destroyed")
