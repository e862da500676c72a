"""Call transfer (REFER, RFC 3515): each new leg has its own ticket.

pjsua calls the new target while it handles the REFER, and cannot ask the KMS meanwhile. So a target
whose ticket is not at hand is refused with 480 while the ticket is fetched, and the transferor asks again.
In an attended transfer the new call takes the place of the transferor's (Replaces, RFC 3891); a target that
refuses Replaces is called without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sipmikey.call.reasons import AgentError, Reason, reason_of_status

NOT_YET = 480
"""The ticket is being fetched: ask again soon."""

_NOT_REPLACED = frozenset({403, 420, 481, 488, 501})
"""Statuses of a target that refuses to have its call replaced, or does not know how."""

_TRIES = 6
_AGAIN_S = 0.4


Refer = Callable[[], Awaitable[int]]
"""Sends a REFER and returns the final status that the peer reports of its new call, or of its refusal."""


async def until_transferred(target: str, *ways: Refer) -> None:
    """Return when the peer talks to *target*. Raises ``AgentError`` with the reason why it does not.

    *ways*: how to ask for it; the next is tried where the target refuses to have its call replaced.
    """
    status = 0
    for refer in ways:
        status = await _outcome(refer)
        if status not in _NOT_REPLACED:
            break
    if status // 100 != 2:
        reason = reason_of_status(status)
        raise AgentError(
            Reason.DECLINED if reason is Reason.SIP_FAILURE else reason,
            f"the transfer to {target} ended with {status}",
            sip_status=status,
        )


async def _outcome(refer: Refer) -> int:
    status = await refer()
    for _ in range(_TRIES):
        if status != NOT_YET:
            break
        await asyncio.sleep(_AGAIN_S)
        status = await refer()
    return status
