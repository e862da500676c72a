"""A member of a group session: it asks the chair for the key, and the KMS resolves the ticket."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import suppress

from sipmikey.agent.group.floor import TAKEN_AWAY, TIME_IS_UP
from sipmikey.agent.group.notice import Notice, Tell
from sipmikey.agent.group.wire import GroupMessage, fingerprint, media_address
from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.agent.tickets.open_ticket import open_ticket
from sipmikey.call.reasons import AgentError, Reason, kms_fault, reason_of
from sipmikey.media.group import Membership
from sipmikey.media.talk import Talk, TalkKeys
from sipmikey.mikey.errors import (
    AuthenticationFailure,
    InvalidIdentity,
    InvalidTicket,
    PeerError,
    SipmikeyError,
)
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.transfer import TransferResponder

_log = logging.getLogger("sipmikey.agent.group.member")

_AGAIN_S = 2.0
"""When to ask to join again."""

_SSRC = re.compile(r"[0-9a-f]{8}")


class Member:
    """In the event loop only. *chair*: canonical identity; *via*: where it is reached, by default there.

    *contact*: where this side is reached without a proxy. ``media``: the multicast address, once there is a
    key.
    """

    def __init__(
        self,
        us: Correspondent,
        group: str,
        *,
        chair: str,
        via: str = "",
        contact: str = "",
        tell: Tell,
    ) -> None:
        self._us = us
        self.group = group
        self._chair = chair
        self._via = via or chair
        self._contact = contact
        self._tell = tell
        self._answer_s = 2 * us.answer_s  # the chair asks the KMS as well
        self._replay = ReplayCache(clock_skew_s=us.env.clock_skew_s)
        self.talk = Talk(chairs=False)
        self.media: tuple[str, int] | None = None
        self.over = False
        self._asked = False
        self._holder = 0
        self._in: asyncio.Future[None] | None = None

    async def join(self) -> None:
        """Ask for the key and return when it is in use.

        Raises an ``AgentError``: of side ``kms`` where the KMS does not resolve the ticket for us.
        """
        self._in = asyncio.get_running_loop().create_future()
        asking = asyncio.ensure_future(self._ask_to_join())
        try:
            await asyncio.wait_for(self._in, self._answer_s)
        except TimeoutError:
            detail = f"{self._chair} did not give the key within {self._answer_s:g} s"
            raise AgentError(Reason.NO_ANSWER, detail, side="remote") from None
        finally:
            asking.cancel()

    async def _ask_to_join(self) -> None:
        """Ask until the chair, which may not be there yet, says something."""
        while not self._asked:
            self._post(GroupMessage(group=self.group, verb="join", contact=self._contact))
            await asyncio.sleep(_AGAIN_S)

    def leave(self) -> None:
        """Tell the chair that we go; the others get a new key."""
        if self.talk.ready and not self.over:
            self._say("leave")
        self.over = True

    @property
    def may_talk(self) -> bool:
        """True where we have the floor."""
        return self.talk.ready and not self.over and self._holder == self.talk.ssrc

    @property
    def another_talks(self) -> bool:
        """True where another party has the floor."""
        return bool(self._holder) and not self.may_talk

    def ask_floor(self) -> None:
        """Ask to talk; ``floor`` tells who may."""
        self._say("ask")

    def free_floor(self) -> None:
        """Give the floor back."""
        if self.may_talk:
            self._say("free")

    def may_be_heard(self, ssrc: int) -> bool:
        """Return True where the sender with *ssrc* has the floor."""
        return bool(ssrc) and ssrc == self._holder

    async def take(self, sender: str, message: GroupMessage) -> None:
        """Take a message of *sender* (canonical URI). One that cannot be used is only logged."""
        if not same_identity(sender, self._chair) or self.over:
            return
        self._asked = True
        try:
            if message.verb == "key":
                await self._take_key(message)
            elif message.verb == "said":
                self._understand(*self.talk.understand(message.octets))
            elif message.verb == "refused":
                self._refused(message.reason, message.detail, "remote")
        except SipmikeyError as error:
            _log.info("group %s: %s of %s: %s", self.group, message.verb, sender, error)

    async def _take_key(self, message: GroupMessage) -> None:
        self._check_sender(message)
        try:
            membership = await self._opened(message)
            self.talk.learn(TalkKeys(chair=membership.key(), members=membership.own_key()))
            self.media = media_address(message.media)
        except (PeerError, AgentError) as error:
            reason = reason_of(error)
            proof = self.talk.say("refuse") if self.talk.ready else b""
            self._post(
                GroupMessage(group=self.group, verb="refused", reason=reason, detail=str(error), proof=proof)
            )
            self._refused(reason, str(error), getattr(error, "side", "remote"))
            return
        self._post(GroupMessage(group=self.group, verb="taken", octets=membership.answer))

    def _check_sender(self, message: GroupMessage) -> None:
        """Accept the next key only from a party that has the present one, and ask the KMS about no other.

        Whether the KMS resolves a ticket decides whether we are in the session. Raises a ``PeerError``.
        """
        if not self.talk.ready:
            return
        ssrc, _, words = self.talk.understand(message.proof)
        if ssrc != self.talk.chair or words != f"next {fingerprint(message.octets)}":
            raise AuthenticationFailure("the chair did not send this key", field="proof")

    async def _opened(self, message: GroupMessage) -> Membership:
        us = self._us
        transfer = TransferResponder(us.env, message.octets, identity=us.identity)
        if not same_identity(transfer.initiator, self._chair):
            raise InvalidIdentity(f"{transfer.initiator} is not the chair", field="IDRi")
        if not any(same_identity(name, self.group) for name in transfer.policy.responders):
            raise InvalidTicket(f"the ticket is not for {self.group}", field="TICKET IDRr")
        if not (transfer.policy.flags.resolve_mandatory and transfer.policy.flags.kms_generated):
            raise InvalidTicket("the KMS does not say who is in the group", field="TICKET flags")
        try:
            resolved = await open_ticket(us.env, us.keys, us.kms, transfer, us.identity)
        except PeerError as error:
            raise kms_fault(error) from None
        transfer.verify(resolved, self._replay)
        return Membership(us.env, transfer)

    def _refused(self, reason: str, detail: str, side: str) -> None:
        """We do not get the key, or not the next one."""
        known = Reason.PEER_REPORTED_ERROR
        with suppress(ValueError):
            known = Reason(reason)
        if self._in is not None and not self._in.done():
            self._in.set_exception(AgentError(known, detail, side="kms" if side == "kms" else "remote"))
        elif side == "kms":
            self._end(known, detail)

    def _end(self, reason: str, detail: str) -> None:
        self.over, self._holder = True, 0
        self._tell(Notice(what="ended", reason=reason, detail=detail))

    def _understand(self, ssrc: int, mki: bytes, words: str) -> None:
        """Take a signed message of the chair, whose SSRC must be the chair's."""
        word, _, value = words.partition(" ")
        if word == "use" and self.talk.use(mki, ssrc):
            self._used()
        if not self.talk.ready or ssrc != self.talk.chair:
            return
        if word in ("use", "floor"):
            self._floor(value)
        elif word == "end":
            self._end(Reason.HANGUP, "the chair closed the session")

    def _floor(self, value: str) -> None:
        before = self._holder
        ssrc, _, reason = value.partition(" ")
        self._holder = int(ssrc, 16) if _SSRC.fullmatch(ssrc) else 0
        if self._holder != before:
            who = "us" if self.may_talk else "chair" if self._holder == self.talk.chair else ssrc
            known = reason if reason in (TIME_IS_UP, TAKEN_AWAY) else ""
            self._tell(Notice(what="floor", member=who if self._holder else "", reason=known))

    def _used(self) -> None:
        self._tell(Notice(what="rekeyed", number=self.talk.number))
        if self._in is not None and not self._in.done():
            self._in.set_result(None)

    def _say(self, word: str) -> None:
        self._post(GroupMessage(group=self.group, verb="said", octets=self.talk.say(word)))

    def _post(self, message: GroupMessage) -> None:
        self._us.send(self._via, message.encode())
