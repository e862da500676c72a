"""The group sessions of one agent: those it chairs and those it is in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sipmikey.agent.group.notice import Tell
from sipmikey.agent.group.wire import GroupMessage, media_address
from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.ticket.identity import canonical

if TYPE_CHECKING:
    from sipmikey.agent.group.chair import Chair
    from sipmikey.agent.group.member import Member

_log = logging.getLogger("sipmikey.agent.group")


class GroupSessions:
    """In the event loop only. What *us* sends is a body of ``wire.MEDIA_TYPE``."""

    def __init__(self, us: Correspondent) -> None:
        self._us = us
        self._sessions: dict[str, Chair | Member] = {}

    def chair(
        self, group: str, *, media: str, announces: bool, tell: Tell, floor_s: float | None = None
    ) -> Chair:
        """Open the session of *group* here. *media*: multicast address, ``HOST:PORT``.

        *announces*: only the chair talks. *floor_s*: how long a member may talk at a time. Raises
        ``LocalError`` where there is a session of that group already.
        """
        from sipmikey.agent.group.chair import Chair  # needs the SRTP library, which not every agent has

        media_address(media)
        made = Chair(self._us, self._new(group), media=media, announces=announces, floor_s=floor_s, tell=tell)
        self._sessions[made.group] = made
        return made

    def member(self, group: str, *, chair: str, via: str = "", contact: str = "", tell: Tell) -> Member:
        """Return ourselves as a member of *group*, whose session *chair* opened: see `Member.join`.

        *via*: SIP URI at which the chair is reached; *contact*: at which we are, where there is no proxy.
        """
        from sipmikey.agent.group.member import Member

        made = Member(self._us, self._new(group), chair=canonical(chair), via=via, contact=contact, tell=tell)
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
        """Take a message of *sender*; one that is not about a session of ours is only logged."""
        try:
            message = GroupMessage.decode(body)
            session = self._sessions.get(canonical(message.group))
        except SipmikeyError as error:
            _log.info("a message about a group from %s: %s", sender, error)
            return
        if session is not None:
            await session.take(sender, message)
