"""The chair of a group session: it has the tickets, makes the group key, and says who talks.

RFC 6043 section 9, centralised: a ticket for the group's identity for each member, with key forking. The KMS
resolves it for members of the group only, and vouches for who answers. A new key always has new tickets, so
that the KMS looks at the membership again each time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.group.notice import Notice, Send, Tell
from sipmikey.agent.group.wire import GroupMessage
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.call.reasons import AgentError, Reason, kms_fault, reason_of
from sipmikey.keys.suite import Suite, suite_named
from sipmikey.media.group import Group, session_ticket_policy
from sipmikey.media.talk import Talk, TalkKeys
from sipmikey.mikey.errors import PeerError, SipmikeyError
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.rate_limit import RateLimiter
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.request import TicketGrant, TicketRequest

_log = logging.getLogger("sipmikey.agent.group.chair")

MOST_MEMBERS = 64

_A_SECOND, _AT_ONCE = 0.2, 5
"""Requests of one sender to join that are looked at: each costs a ticket."""

_ALL_A_SECOND, _ALL_AT_ONCE = 10.0, 64
"""The same of all senders, who may call themselves anything."""

_LATER = frozenset(
    {Reason.KMS_UNREACHABLE, Reason.KMS_TIMEOUT, Reason.KMS_BUSY, Reason.KMS_FAILURE, Reason.KMS_BAD_ANSWER}
)
"""The KMS said nothing about who is in the group."""


@dataclass(slots=True)
class _Seat:
    """What the chair knows of a member. ``contact``: where it is reached; ``answer``: its TRANSFER_RESP."""

    contact: str
    ssrc: int
    answer: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Chair:
    """In the event loop only. *media*: the multicast address, told to the members.

    *announces*: only the chair talks. *answer_s*: how long a member may take to resolve its ticket. *talk*
    protects and opens packets once somebody has joined.
    """

    def __init__(
        self,
        env: Environment,
        keys: KeyManagement,
        identity: str,
        group: str,
        *,
        media: str,
        announces: bool,
        kms: KmsDesk,
        send: Send,
        tell: Tell,
        answer_s: float,
    ) -> None:
        self._env = env
        self._keys = keys
        self._identity = identity
        self.group = group
        self._media = media
        self._announces = announces
        self._kms = kms
        self._send = send
        self._tell = tell
        self._answer_s = answer_s
        self.talk = Talk(chairs=True)
        self.overdue = False
        self._suite = suite_named(keys.suites[0])
        self._ssrcs: set[int] = set()
        self._ssrc = self._new_ssrc()
        self._seats: dict[str, _Seat] = {}
        self._joining: dict[str, _Seat] = {}
        self._key: Group | None = None
        self._number = 0
        self._holder = identity if announces else ""
        self._one_at_a_time = asyncio.Lock()
        self._rate = RateLimiter(per_second=_A_SECOND, burst=_AT_ONCE, now=time.monotonic, entries=1000)
        self._rate_of_all = RateLimiter(per_second=_ALL_A_SECOND, burst=_ALL_AT_ONCE, now=time.monotonic)

    @property
    def members(self) -> tuple[str, ...]:
        """Who has the key, beside the chair."""
        return tuple(self._seats)

    @property
    def holder(self) -> str:
        """Who may talk; empty for nobody."""
        return self._holder

    @property
    def may_talk(self) -> bool:
        """Whether the chair itself may talk."""
        return self._holder == self._identity and self.talk.ready

    @property
    def another_talks(self) -> bool:
        """Whether a member has the floor."""
        return self._holder not in ("", self._identity)

    # Members

    async def invite(self, member: str, contact: str = "") -> None:
        """Give *member* (canonical URI) the key. Raises a ``PeerError`` or ``AgentError`` where it gets none.

        A member that joins again has another SSRC from then on.
        """
        while True:
            async with self._one_at_a_time:
                if member not in self._seats and len(self._seats) >= MOST_MEMBERS:
                    detail = f"a group has {MOST_MEMBERS} members at most"
                    raise AgentError(Reason.POLICY, detail, side="local")
                if self._key is None:
                    self._key = self._new_key()
                key = self._key
            # Nobody else waits for one that may never answer.
            seat = _Seat(contact or member, self._new_ssrc())
            await self._give(key, member, seat, await self._ticket())
            async with self._one_at_a_time:
                if key is self._key:
                    self._seat(key, member, seat)
                    return

    def _seat(self, key: Group, member: str, seat: _Seat) -> None:
        if self._seats.pop(member, None) is not None and self._holder == member:
            self._give_floor("")
        self._seats[member] = seat
        self._take_into_use(key)
        self._say(self._words("use"), member)
        self._tell(Notice(what="joined", member=member, number=self._number))

    async def remove(self, member: str, *, reason: str = Reason.HANGUP, detail: str = "") -> None:
        """Take *member* out; the others get a new key."""
        async with self._one_at_a_time:
            await self._leave(member, reason, detail)

    async def rekey(self) -> None:
        """Give everybody a new key. Who does not get it, as the KMS or it itself refuses, is out.

        While the KMS is down nothing changes, and a new key is ``overdue``.
        """
        async with self._one_at_a_time:
            await self._rekey()

    def close(self) -> None:
        """Tell the members that it is over."""
        for member in self._seats:
            self._say("end", member)
        self._seats.clear()

    async def _leave(self, member: str, reason: str, detail: str) -> None:
        if self._seats.pop(member, None) is None:
            return
        self._tell(Notice(what="left", member=member, reason=reason, detail=detail))
        if self._holder == member:
            self._give_floor("")
        await self._rekey()

    async def _rekey(self) -> None:
        members = tuple(self._seats.items())
        tickets = await asyncio.gather(*(self._ticket() for _ in members), return_exceptions=True)
        for ticket in tickets:
            if isinstance(ticket, SipmikeyError) and reason_of(ticket) in _LATER:
                # Without the KMS nobody could be given a key: the present one goes on.
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
        if not self._seats:
            # Nobody has the key: the next one to come gets another.
            self._key = None
            return
        self._take_into_use(key)
        freed = self._holder not in (*self._seats, self._identity, "")
        self._holder = "" if freed else self._holder
        for member in self._seats:
            self._say(self._words("use"), member)
        if freed:
            self._tell(Notice(what="floor"))
        self._tell(Notice(what="rekeyed", number=self._number))

    def _new_key(self) -> Group:
        self._number += 1
        return Group(
            self._env, initiator=self._identity, suite=self._suite, srtp=_srtp(self._suite), ssrc=self._ssrc,
            number=self._number,
        )  # fmt: skip

    def _take_into_use(self, key: Group) -> None:
        if self._number != self.talk.number:
            keys = TalkKeys(chair=key.key(), members=key.member_key())
            self.talk.learn(keys)
            self.talk.use(keys.chair.mki, self._ssrc)

    async def _give(self, key: Group, member: str, seat: _Seat, grant: TicketGrant | BaseException) -> None:
        """Have *member* resolve the ticket and answer. Raises *grant* where there is none."""
        if isinstance(grant, BaseException):
            raise grant
        seat.answer = asyncio.get_running_loop().create_future()
        self._joining[member] = seat
        octets = key.invite(grant, member, called=self.group, ssrc=seat.ssrc)
        try:
            self._post(
                seat.contact, GroupMessage(group=self.group, verb="key", octets=octets, media=self._media)
            )
            answer = await asyncio.wait_for(seat.answer, self._answer_s)
            key.joined(member, answer)
        except TimeoutError:
            detail = f"{member} did not take the key within {self._answer_s:g} s"
            raise AgentError(Reason.NO_ANSWER, detail, side="remote") from None
        finally:
            if self._joining.get(member) is seat:
                del self._joining[member]

    async def _ticket(self) -> TicketGrant:
        credential = self._keys.credential
        if credential is None:
            raise AgentError(Reason.NO_KMS, "a group takes a KMS", side="local")
        policy = session_ticket_policy(
            self._suite, initiator=self._identity, group=self.group, kms=self._keys.kms
        )
        request = TicketRequest.start(
            self._env, policy=policy, credential=credential, identity=self._identity, kms=self._keys.kms
        )
        response, _ = await self._kms.ask("", "ticket-request", request.message)
        try:
            grant = request.receive(response)
            request.check_acceptable(grant)
        except PeerError as error:
            raise kms_fault(error) from None
        return grant

    def _new_ssrc(self) -> int:
        """Draw an SSRC that nobody had in this session: another's packets would have the same keystream."""
        while (ssrc := int.from_bytes(self._env.random(4), "big")) in self._ssrcs or not ssrc:
            pass
        self._ssrcs.add(ssrc)
        return ssrc

    # The floor

    def ask_floor(self) -> bool:
        """Have the chair itself talk, if nobody else does; return whether it may."""
        if not self._holder:
            self._give_floor(self._identity)
        return self._holder == self._identity

    def free_floor(self) -> None:
        """The chair itself has said what it had to say."""
        if self._holder == self._identity and not self._announces:
            self._give_floor("")

    def _give_floor(self, holder: str) -> None:
        self._holder = holder
        for member in self._seats:
            self._say(self._words("floor"), member)
        self._tell(Notice(what="floor", member=holder))

    def _words(self, word: str) -> str:
        return f"{word} {self._ssrc_of(self._holder):08x}"

    def _ssrc_of(self, holder: str) -> int:
        if holder == self._identity:
            return self._ssrc
        seat = self._seats.get(holder)
        return 0 if seat is None else seat.ssrc

    def heard(self, ssrc: int) -> str:
        """Return who sends with *ssrc* (of a packet that was opened), empty where it may not talk now."""
        return self._holder if ssrc == self._ssrc_of(self._holder) else ""

    # Messages

    async def take(self, sender: str, message: GroupMessage) -> None:
        """Take a message of *sender* (canonical URI). One that cannot be used is logged, no more."""
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
            if seat is not None and not seat.answer.done():
                if message.verb == "taken":
                    seat.answer.set_result(message.octets)
                else:
                    seat.answer.set_exception(_refusal(sender, message))
        elif message.verb == "said":
            ssrc, _, word = self.talk.understand(message.octets)
            await self._understand(self._member_with(ssrc), word)

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
        raise PeerError("nobody in the group has this SSRC", field="SSRC")

    async def _understand(self, member: str, word: str) -> None:
        if word == "ask":
            if not self._holder:
                self._give_floor(member)
            else:
                self._say(self._words("floor"), member)
        elif word == "free" and self._holder == member:
            self._give_floor("")
        elif word == "leave":
            await self.remove(member)

    def _say(self, word: str, member: str) -> None:
        seat = self._seats[member]
        packet = self.talk.say(word)
        self._post(seat.contact, GroupMessage(group=self.group, verb="said", octets=packet))

    def _post(self, contact: str, message: GroupMessage) -> None:
        self._send(contact, message.encode())


def _srtp(suite: Suite) -> SrtpPolicy:
    return SrtpPolicy.aes_gcm(suite.key_length)


def _refusal(sender: str, message: GroupMessage) -> AgentError:
    reason = Reason.PEER_REPORTED_ERROR
    with suppress(ValueError):
        reason = Reason(message.reason)
    return AgentError(reason, f"{sender}: {message.detail}", side="remote")
