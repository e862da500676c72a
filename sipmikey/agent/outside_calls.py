"""What an agent sends and receives outside of calls: tickets ahead of calls, and sessions of groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sipmikey.agent.config import AgentConfig
from sipmikey.agent.group.sessions import GroupSessions
from sipmikey.agent.group.wire import MEDIA_TYPE as GROUP_TYPE
from sipmikey.agent.stack import Headers
from sipmikey.agent.tickets.ahead import MEDIA_TYPE, TicketsAhead
from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.agent.tickets.keeping import TicketKeeping
from sipmikey.call.policy import SecurityMode
from sipmikey.ticket.environment import Environment

Send = Callable[[str, str, str, Headers], None]
"""Sends a SIP MESSAGE: URI, media type, text, header fields."""


class OutsideCalls:
    """In the event loop. ``ahead`` and ``groups`` are None without a KMS. *send* sends a SIP MESSAGE."""

    def __init__(
        self, config: AgentConfig, env: Environment, identity: str, tickets: TicketKeeping, send: Send
    ) -> None:
        self._send = send
        self.ahead: TicketsAhead | None = None
        self.groups: GroupSessions | None = None
        if config.keys is None:
            return
        us = Correspondent(
            env=env, keys=config.keys, identity=identity, kms=tickets.kms, send=self._send_mikey,
            answer_s=config.timeouts.kms * 2,
        )  # fmt: skip
        self.ahead = TicketsAhead(
            us,
            resolved=tickets.resolved,
            allowed=lambda caller: config.policy.security_for(caller) is not SecurityMode.OFF,
        )
        self.groups = GroupSessions(replace(us, send=self._send_about_group))

    def _send_mikey(self, uri: str, text: str) -> None:
        self._send(uri, MEDIA_TYPE, text, (("Content-Transfer-Encoding", "base64"),))

    def _send_about_group(self, uri: str, text: str) -> None:
        self._send(uri, GROUP_TYPE, text, ())
