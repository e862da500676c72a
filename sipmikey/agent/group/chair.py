"""The chair of a group session: it gets the tickets, makes the group key, and decides who talks.

RFC 6043 section 9, centralised: a ticket for the group's identity for each member, with key forking. The KMS
resolves it for members of the group only, and vouches for the one that answers. A new key always has new
tickets, so that the KMS looks at the membership again each time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field

from sipmikey.agent.group.floor import Floor
from sipmikey.agent.group.notice import Notice, Tell
from sipmikey.agent.group.ticket import session_ticket
from sipmikey.agent.group.wire import GroupMessage, fingerprint
from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.call.reasons import AgentError, Reason, reason_of
from sipmikey.keys.suite import Suite, suite_named
from sipmikey.media.group import Group
from sipmikey.media.talk import Talk, TalkKeys
from sipmikey.mikey.errors import PeerError, SipmikeyError
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.rate_limit import RateLimiter
from sipmikey.ticket.request import TicketGrant

_log = logging.getLogger("sipmikey.agent.group.chair")

MOST_MEMBERS = 64

_A_SECOND, _AT_ONCE = 0.2, 5
"""How many requests to join from one sender are judged: each costs a ticket."""

_ALL_A_SECOND, _ALL_AT_ONCE = 10.0, 64
"""The same for all senders together, since a sender may use any name."""

_LATER = frozenset(
    {Reason.KMS_UNREACHABLE, Reason.KMS_TIMEOUT, Reason.KMS_BUSY, Reason.KMS_FAILURE, Reason.KMS_BAD_ANSWER}
)
"""Reasons that tell nothing about who is in the group."""


@dataclass(slots=True)
class _Seat:
    """What the chair knows of a member.

    ``contact``: where it is reached; ``answers``: the outcome of each key sent.
    """

    contact: str
    ssrc: int
    answers: asyncio.Queue[GroupMessage] = field(default_factory=asyncio.Queue)


class Chair:
    """In the event loop only. *media*: the multicast address, told to the members.

    *announces*: only the chair talks. *floor_s*: how long a member may talk at a time, None for as long as it
    likes. ``talk`` protects and opens packets once a member has joined.
    """

    def __init__(
        self,
        us: Correspondent,
        group: str,
        *,
        media: str,
        announces: bool,
        floor_s: float | None,
        tell: Tell,
    ) -> None:
        self._us = us
        self.group = group
        self._media = media
        self._tell = tell
        self.talk = Talk(chairs=True)
        self.overdue = False
        self._floor = Floor(us.identity, kept=announces, most_s=floor_s, changed=self._tell_floor)
        self._suite = suite_named(us.keys.suites[0])
        self._ssrcs: set[int] = set()
        self._ssrc = self._new_ssrc()
        self._seats: dict[str, _Seat] = {}
        self._joining: dict[str, _Seat] = {}
        self._key: Group | None = None
        self._number = 0
        self._one_at_a_time = asyncio.Lock()
        self._rate = RateLimiter(per_second=_A_SECOND, burst=_AT_ONCE, now=time.monotonic, entries=1000)
        self._rate_of_all = RateLimiter(per_second=_ALL_A_SECOND, burst=_ALL_AT_ONCE, now=time.monotonic)

    @property
    def members(self) -> tuple[str, ...]:
        """The members that have the key, without the chair."""
        return tuple(self._seats)

    @property
    def holder(self) -> str:
        """The party that may talk; empty for none."""
        return self._floor.holder

    @property
    def may_talk(self) -> bool:
        """True where the chair itself may talk."""
        return self.holder == self._us.identity and self.talk.ready

    @property
    def another_talks(self) -> bool:
        """True where a member has the floor."""
        return self.holder not in ("", self._us.identity)

    # Members

    async def invite(self, member: str, contact: str = "") -> None:
        """Give *member* (canonical URI) the key. Raises a ``PeerError`` or ``AgentError`` where it gets none.

        A member that joins again has another SSRC from then on.
        """
        if member in self._joining:
            raise AgentError(Reason.POLICY, f"{member} is being given the key", side="local")
        seat = self._joining[member] = _Seat(contact or member, self._new_ssrc())
        try:
            while not await self._let_in(member, seat):
                """There was another key meanwhile."""
        finally:
            self._joined(member, seat)

    async def _let_in(self, member: str, seat: _Seat) -> bool:
        """Give *member* the present key; return False where there is another one by now."""
        async with self._one_at_a_time:
            self._check_room(member)
            if self._key is None:
                self._key = self._new_key()
            key = self._key
        # Others must not wait for a member that may never answer.
        ticket = await self._ticket()
        if key is not self._key:
            return False
        await self._give(key, member, seat, ticket)
        async with self._one_at_a_time:
            if key is not self._key:
                return False
            self._check_room(member)
            self._seat(key, member, seat)
        return True

    def _check_room(self, member: str) -> None:
        if member not in self._seats and len(self._seats) >= MOST_MEMBERS:
            raise AgentError(Reason.POLICY, f"a group has {MOST_MEMBERS} members at most", side="local")

    def _joined(self, member: str, seat: _Seat) -> None:
        """Stop expecting an answer of *seat*."""
        if self._joining.get(member) is seat:
            del self._joining[member]

    def _seat(self, key: Group, member: str, seat: _Seat) -> None:
        if self._seats.pop(member, None) is not None:
            self._floor.free(member)
        self._seats[member] = seat
        self._take_into_use(key)
        self._say(self._words("use"), member)
        self._tell(Notice(what="joined", member=member, number=self._number))

    async def remove(self, member: str, *, reason: str = Reason.HANGUP, detail: str = "") -> None:
        """Take *member* out; the others get a new key."""
        async with self._one_at_a_time:
            await self._leave(member, reason, detail)

    async def rekey(self) -> None:
        """Give all members a new key. A member is out where the KMS, or the member itself, refuses it.

        While the KMS is down nothing changes, and a new key is ``overdue``.
        """
        async with self._one_at_a_time:
            await self._rekey()

    def close(self) -> None:
        """Tell the members that the session is over."""
        self._floor.forget()
        for member in self._seats:
            self._say("end", member)
        self._seats.clear()

    async def _leave(self, member: str, reason: str, detail: str) -> None:
        if self._seats.pop(member, None) is None:
            return
        self._tell(Notice(what="left", member=member, reason=reason, detail=detail))
        self._floor.free(member)
        await self._rekey()

    async def _rekey(self) -> None:
        members = tuple(self._seats.items())
        tickets = await asyncio.gather(*(self._ticket() for _ in members), return_exceptions=True)
        for ticket in tickets:
            if isinstance(ticket, SipmikeyError) and reason_of(ticket) in _LATER:
                # Without the KMS no member could be given a key: the present one stays in use.
                self.overdue = True
                self._tell(Notice(what="postponed", reason=reason_of(ticket), detail=str(ticket)))
                return
        self.overdue = False
        key = self._key = self._new_key()
        outcomes = await asyncio.gather(
            *(self._give(key, *of, ticket) for of, ticket in zip(members, tickets, strict=True)),
            return_exceptions=True,
        )
        for (member, _), outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, SipmikeyError):
                del self._seats[member]
                reason = reason_of(outcome)
                self._tell(Notice(what="left", member=member, reason=reason, detail=str(outcome)))
            elif outcome is not None:
                raise outcome
        freed = self.holder not in (*self._seats, self._us.identity, "")
        if freed:
            self._floor.forget()
        if not self._seats:
            # No member has the key: the next one that joins gets another.
            self._key = None
            if freed:
                self._tell(Notice(what="floor"))
            return
        self._take_into_use(key)
        for member in self._seats:
            self._say(self._words("use"), member)
        if freed:
            self._tell(Notice(what="floor"))
        self._tell(Notice(what="rekeyed", number=self._number))

    def _new_key(self) -> Group:
        self._number += 1
        return Group(
            self._us.env,
            initiator=self._us.identity,
            suite=self._suite,
            srtp=_srtp(self._suite),
            ssrc=self._ssrc,
            number=self._number,
        )

    def _take_into_use(self, key: Group) -> None:
        if self._number != self.talk.number:
            keys = TalkKeys(chair=key.key(), members=key.member_key())
            self.talk.learn(keys)
            self.talk.use(keys.chair.mki, self._ssrc)

    async def _give(self, key: Group, member: str, seat: _Seat, grant: TicketGrant | BaseException) -> None:
        """Have *member* resolve the ticket and answer. Raises *grant* where that is an error.

        A message that does not verify may be forged: the member may still answer.
        """
        if isinstance(grant, BaseException):
            raise grant
        seat.answers = asyncio.Queue()
        self._joining[member] = seat
        octets = key.invite(grant, member, called=self.group, ssrc=seat.ssrc)
        proof = self.talk.say(f"next {fingerprint(octets)}") if self.talk.ready else b""
        detail = f"{member} did not take the key within {self._us.answer_s:g} s"
        failure: SipmikeyError = AgentError(Reason.NO_ANSWER, detail, side="remote")
        message = GroupMessage(group=self.group, verb="key", octets=octets, proof=proof, media=self._media)
        try:
            self._post(seat.contact, message)
            async with asyncio.timeout(self._us.answer_s):
                while True:
                    answer = await seat.answers.get()
                    if answer.verb == "refused":
                        raise _refusal(member, answer)
                    try:
                        key.joined(member, answer.octets)
                        return
                    except PeerError as error:
                        failure = error
        except TimeoutError:
            raise failure from None
        finally:
            self._joined(member, seat)

    async def _ticket(self) -> TicketGrant:
        return await session_ticket(self._us, self._suite, self.group)

    def _new_ssrc(self) -> int:
        """Draw an SSRC that no party had in this session: another's packets would have the same keystream."""
        while (ssrc := int.from_bytes(self._us.env.random(4), "big")) in self._ssrcs or not ssrc:
            pass
        self._ssrcs.add(ssrc)
        return ssrc

    # The floor

    def ask_floor(self) -> bool:
        """Ask for the floor for the chair itself; return True where it got it."""
        return self._floor.ask(self._us.identity)

    def free_floor(self) -> None:
        """The chair itself gives the floor back."""
        self._floor.free(self._us.identity)

    def take_floor_away(self) -> None:
        """Take the floor from the member that talks: what it still sends is not played."""
        self._floor.take_away()

    def _tell_floor(self, reason: str) -> None:
        for member in self._seats:
            self._say(f"{self._words('floor')} {reason}".rstrip(), member)
        self._tell(Notice(what="floor", member=self.holder, reason=reason))

    def _words(self, word: str) -> str:
        return f"{word} {self._ssrc_of(self.holder):08x}"

    def _ssrc_of(self, holder: str) -> int:
        if holder == self._us.identity:
            return self._ssrc
        seat = self._seats.get(holder)
        return 0 if seat is None else seat.ssrc

    def heard(self, ssrc: int) -> str:
        """Return the sender with *ssrc* (of a verified packet), empty where it does not have the floor."""
        return self.holder if ssrc == self._ssrc_of(self.holder) else ""

    # Messages

    async def take(self, sender: str, message: GroupMessage) -> None:
        """Take a message of *sender* (canonical URI). One that cannot be used is only logged."""
        try:
            await self._take(sender, message)
        except SipmikeyError as error:
            _log.info("group %s: %s of %s: %s", self.group, message.verb, sender, error)

    async def _take(self, sender: str, message: GroupMessage) -> None:
        if message.verb == "join" and sender not in self._joining:
            if self._rate.retry_after(sender) is None and self._rate_of_all.retry_after("") is None:
                await self._join(sender, message.contact)
        elif message.verb in ("taken", "refused"):
            seat = self._joining.get(sender)
            if seat is not None and (message.verb == "taken" or self._may_refuse(sender, message)):
                seat.answers.put_nowait(message)
        elif message.verb == "said":
            ssrc, _, word = self.talk.understand(message.octets)
            await self._understand(self._member_with(ssrc), word)

    def _may_refuse(self, sender: str, message: GroupMessage) -> bool:
        """Return whether *sender* itself refuses a key: a member shows that it has the present one.

        Another party could otherwise put it out of the session. A member without a key cannot prove anything
        yet. Raises ``PacketRefused``.
        """
        if sender not in self._seats:
            return True
        ssrc, _, word = self.talk.understand(message.proof)
        return word == "refuse" and self._member_with(ssrc) == sender

    async def _join(self, sender: str, contact: str) -> None:
        try:
            await self.invite(sender, contact)
        except (PeerError, AgentError) as error:
            reason = reason_of(error)
            self._tell(Notice(what="refused", member=sender, reason=reason, detail=str(error)))
            refusal = GroupMessage(group=self.group, verb="refused", reason=reason, detail=str(error))
            self._post(contact or sender, refusal)

    def _member_with(self, ssrc: int) -> str:
        """Return the member whose SSRC this is. The sender in SIP proves nothing, the packet does."""
        for member, seat in self._seats.items():
            if seat.ssrc == ssrc:
                return member
        raise PeerError("no member of the group has this SSRC", field="SSRC")

    async def _understand(self, member: str, word: str) -> None:
        if word == "ask":
            if self.holder:
                self._say(self._words("floor"), member)
            else:
                self._floor.ask(member)
        elif word == "free":
            self._floor.free(member)
        elif word == "leave":
            await self.remove(member)

    def _say(self, word: str, member: str) -> None:
        seat = self._seats[member]
        packet = self.talk.say(word)
        self._post(seat.contact, GroupMessage(group=self.group, verb="said", octets=packet))

    def _post(self, contact: str, message: GroupMessage) -> None:
        self._us.send(contact, message.encode())


def _srtp(suite: Suite) -> SrtpPolicy:
    return SrtpPolicy.aes_gcm(suite.key_length)


def _refusal(sender: str, message: GroupMessage) -> AgentError:
    reason = Reason.PEER_REPORTED_ERROR
    with suppress(ValueError):
        reason = Reason(message.reason)
    return AgentError(reason, f"{sender}: {message.detail}", side="remote")
