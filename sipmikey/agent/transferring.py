"""Call transfer (REFER, RFC 3515): each new leg has its own ticket.

pjsua calls the new target in the midst of handling the REFER, when the KMS cannot be asked. So a target
whose ticket is not at hand is refused with 480 while the ticket is fetched, and the transferor asks again.
INVITE with Replaces is refused, because pjsua answers it before its ticket could be resolved: an attended
transfer names the other peer, whom the transferred peer then calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sipmikey.agent.reasons import AgentError, Reason, reason_of_status

NOT_YET = 480
"""The ticket is being fetched: ask again soon."""

_TRIES = 6
_AGAIN_S = 0.4


async def until_transferred(target: str, refer: Callable[[], Awaitable[int]]) -> None:
    """Return when the peer talks to *target*. Raises ``AgentError`` with the reason why it does not.

    *refer* sends a REFER and returns the final status that the peer reports of its new call, or that of its
    refusal.
    """
    status = await refer()
    for _ in range(_TRIES):
        if status != NOT_YET:
            break
        await asyncio.sleep(_AGAIN_S)
        status = await refer()
    if status // 100 != 2:
        reason = reason_of_status(status)
        raise AgentError(
            Reason.DECLINED if reason is Reason.SIP_FAILURE else reason,
            f"the transfer to {target} ended with {status}",
            sip_status=status,
        )
