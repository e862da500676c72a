"""The group sessions of one agent: those it chairs and those it is in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.group.notice import Send, Tell
from sipmikey.agent.group.wire import GroupMessage, media_address
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical

if TYPE_CHECKING:
    from sipmikey.agent.group.chair import Chair
    from sipmikey.agent.group.member import Member

_log = logging.getLogger("sipmikey.agent.group")


class GroupSessions:
    """In the event loop only. *answer_s*: how long the other side may take."""

    def __init__(
        self,
        env: Environment,
        keys: KeyManagement,
        identity: str,
        *,
        kms: KmsDesk,
        send: Send,
        answer_s: float,
    ) -> None:
        self._env = env
        self._keys = keys
        self._identity = identity
        self._kms = kms
        self._send = send
        self._answer_s = answer_s
        self._sessions: dict[str, Chair | Member] = {}

    def chair(self, group: str, *, media: str, announces: bool, tell: Tell) -> Chair:
        """Open the session of *group* here. *media*: multicast address, ``HOST:PORT``.

        *announces*: only the chair talks. Raises ``LocalError`` where there is one of that group already.
        """
        from sipmikey.agent.group.chair import Chair  # needs the SRTP library, which not every agent has

        media_address(media)
        made = Chair(
            self._env, self._keys, self._identity, self._new(group), media=media, announces=announces,
            kms=self._kms, send=self._send, tell=tell, answer_s=self._answer_s,
        )  # fmt: skip
        self._sessions[made.group] = made
        return made

    def member(self, group: str, *, chair: str, via: str = "", contact: str = "", tell: Tell) -> Member:
        """Return ourselves as a member of *group*, whose session *chair* opened: see `Member.join`.

        *via*: SIP URI at which the chair is reached; *contact*: at which we are, where there is no proxy.
        """
        from sipmikey.agent.group.member import Member

        made = Member(
            self._env, self._keys, self._identity, self._new(group), chair=canonical(chair), via=via,
            contact=contact, kms=self._kms, send=self._send, tell=tell, answer_s=2 * self._answer_s,
        )  # fmt: skip
        self._sessions[made.group] = made
        return made

    def _new(self, group: str) -> str:
        name = canonical(group)
        if name in self._sessions:
            raise LocalError(f"there is a session of {name} already")
        return name

    def forget(self, group: str) -> None:
        """The session of *group* is over."""
        self._sessions.pop(canonical(group), None)

    async def take(self, sender: str, body: bytes) -> None:
        """Take a message of *sender*; one that is about no session of ours is logged, no more."""
        try:
            message = GroupMessage.decode(body)
            session = self._sessions.get(canonical(message.group))
        except SipmikeyError as error:
            _log.info("a message about a group from %s: %s", sender, error)
            return
        if session is not None:
            await session.take(sender, message)
