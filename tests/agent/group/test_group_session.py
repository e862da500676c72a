"""A group session: who gets the key, who may talk, and who is out. SIP is a function call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.group.chair import Chair
from sipmikey.agent.group.member import Member
from sipmikey.agent.group.notice import Notice
from sipmikey.agent.group.sessions import GroupSessions
from sipmikey.agent.group.wire import GroupMessage, media_address
from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.kms.audit import Exchange
from sipmikey.media.errors import PacketRefused
from sipmikey.mikey.errors import MalformedMessage, NotAuthorized
from tests.kms.domain import KMS, Domain, psk_of, subscriber, uri

GROUP = uri("talk")
MEDIA = "239.255.60.43:5004"
PATIENCE_S = 30.0
NAMES = ("alice", "bob", "carol", "dave")
MEMBERS_ONLY = f"""
[[rule]]
name = "talk group"
from = ["group:{GROUP}"]
to = ["group:{GROUP}"]
decision = "allow"
"""
FRAME = bytes(160)


class World:
    """Alice chairs; alice, bob and carol are in the group, dave is not."""

    def __init__(
        self, folder: Path, *, answer_s: float, group: str = GROUP, policy: str = MEMBERS_ONLY
    ) -> None:
        self.answer_s, self.group = answer_s, group
        people = [subscriber(name, groups=[GROUP] if name != "dave" else []) for name in NAMES]
        self.domain = Domain.make(folder, policy, subscribers=people)
        self.notices: dict[str, list[Notice]] = {name: [] for name in NAMES}
        self.asked: list[str] = []
        self.down = False
        self.sent: list[tuple[str, str, GroupMessage]] = []
        self.lost: Callable[[str, GroupMessage], bool] = lambda sender, message: False
        self.sessions = {name: self._sessions(name) for name in NAMES}
        self._under_way: set[asyncio.Task[None]] = set()
        self.chair = self.chairs()

    def chairs(self, *, announces: bool = False, floor_s: float | None = None) -> Chair:
        self.sessions["alice"].forget(self.group)
        return self.sessions["alice"].chair(
            self.group, media=MEDIA, announces=announces, floor_s=floor_s, tell=self.notices["alice"].append
        )

    def _sessions(self, name: str) -> GroupSessions:
        keys = KeyManagement(kms=KMS, psk=psk_of(name), psk_id=name.encode())
        desk = KmsDesk(_Asker(self, name), home=KMS, timeout_s=PATIENCE_S, publish=lambda event: None)
        us = Correspondent(
            env=self.domain.env, keys=keys, identity=uri(name), kms=desk,
            send=lambda to, body: self.carry(name, to, body), answer_s=self.answer_s,
        )  # fmt: skip
        return GroupSessions(us)

    def carry(self, sender: str, to: str, body: str) -> None:
        message = GroupMessage.decode(body.encode())
        self.sent.append((sender, to, message))
        if self.lost(sender, message):
            return
        name = to.partition(":")[2].partition("@")[0]
        task = asyncio.ensure_future(self.sessions[name].take(uri(sender), body.encode()))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def settled(self) -> None:
        """Return when nothing more is under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    async def joins(self, name: str) -> Member:
        member = self.sessions[name].member(self.group, chair=uri("alice"), tell=self.notices[name].append)
        await member.join()
        await self.settled()
        return member

    def said(self, name: str, what: str) -> list[Notice]:
        return [notice for notice in self.notices[name] if notice.what == what]


class _Asker:
    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    async def request(self, message: bytes, *, kms: str | None = None) -> bytes:
        self._world.asked.append(self._name)
        if self._world.down:
            raise AgentError(Reason.KMS_UNREACHABLE, "nobody there", side="kms")
        outcome = await self._world.domain.service.handle(
            message, expected=Exchange.UNKNOWN, source="192.0.2.1"
        )
        if not outcome.granted or outcome.body is None:
            raise NotAuthorized(outcome.event.detail)
        return outcome.body


class Play(Protocol):
    """Plays a scene in a world of its own. *answer_s*: how long its chair waits for an answer."""

    def __call__(
        self, scene: Callable[[World], Awaitable[None]], *, answer_s: float = PATIENCE_S, **more: str
    ) -> None: ...


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def play(scene: Callable[[World], Awaitable[None]], *, answer_s: float = PATIENCE_S, **more: str) -> None:
        async def all_of_it() -> None:
            world = World(tmp_path, answer_s=answer_s, **more)
            try:
                await scene(world)
            finally:
                world.domain.close()

        asyncio.run(all_of_it())

    return play


def test_members_have_one_key_and_one_talks_at_a_time(play: Play) -> None:
    async def scene(world: World) -> None:
        bob, carol = await world.joins("bob"), await world.joins("carol")
        assert world.chair.members == (uri("bob"), uri("carol"))
        assert world.asked == ["alice", "bob", "alice", "carol"]
        assert bob.media == media_address(MEDIA)
        assert not bob.may_talk
        bob.ask_floor()
        await world.settled()
        assert bob.may_talk
        carol.ask_floor()
        await world.settled()
        assert not carol.may_talk
        assert world.chair.ask_floor() is False
        packet = bob.talk.protect(FRAME, 160, begins=True)
        assert world.chair.talk.open(packet).payload == carol.talk.open(packet).payload == FRAME
        assert world.chair.heard(bob.talk.ssrc) == uri("bob")
        assert carol.may_be_heard(bob.talk.ssrc)
        # Carol talks without having the floor: her packets verify, and nobody is to hear them.
        interrupting = world.chair.talk.open(carol.talk.protect(FRAME, 160))
        assert world.chair.heard(interrupting.ssrc) == ""
        assert not bob.may_be_heard(carol.talk.ssrc)
        bob.free_floor()
        await world.settled()
        carol.ask_floor()
        await world.settled()
        assert (bob.may_talk, carol.may_talk) == (False, True)
        assert len({world.chair.talk.ssrc, bob.talk.ssrc, carol.talk.ssrc}) == 3

    play(scene)


def test_who_is_not_in_the_group_gets_no_key_and_learns_why(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.joins("bob")
        with pytest.raises(AgentError, match=r"the ticket is not for sip:dave@example\.com") as refused:
            await world.joins("dave")
        assert (refused.value.reason, refused.value.side) == (Reason.NOT_AUTHORIZED, "kms")
        await world.settled()
        (told,) = world.said("alice", "refused")
        assert (told.member, told.reason) == (uri("dave"), "not-authorized")
        assert world.chair.members == (uri("bob"),)

    play(scene)


def test_a_chair_outside_the_group_gets_no_ticket(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.domain.store.subscribers.remove_members(GROUP, [uri("alice")])
        with pytest.raises(AgentError):
            await world.joins("bob")
        await world.settled()
        assert [notice.member for notice in world.said("alice", "refused")] == [uri("bob")]
        assert not world.chair.talk.ready

    play(scene)


def test_a_session_for_a_wildcard(play: Play) -> None:
    """Whom the wildcard fits is in, as the KMS's policy lets them be (RFC 6043 section 9)."""
    wildcard = "sip:*@example.com"
    policy = f"""
[[rule]]
name = "not dave"
from = ["*"]
to = ["{uri("dave")}"]
decision = "refuse"

[[rule]]
name = "all others"
from = ["*"]
to = ["{wildcard}"]
decision = "allow"
"""

    async def scene(world: World) -> None:
        bob = await world.joins("bob")
        assert bob.talk.open(world.chair.talk.protect(FRAME, 160)).payload == FRAME
        with pytest.raises(AgentError):
            await world.joins("dave")
        await world.settled()
        assert world.chair.members == (uri("bob"),)

    play(scene, group=wildcard, policy=policy)


def test_who_leaves_cannot_read_on(play: Play) -> None:
    async def scene(world: World) -> None:
        bob, carol = await world.joins("bob"), await world.joins("carol")
        before = world.chair.talk.protect(FRAME, 160)
        assert carol.talk.open(before).payload == FRAME
        carol.leave()
        await world.settled()
        assert world.chair.members == (uri("bob"),)
        after = world.chair.talk.protect(FRAME, 320)
        assert bob.talk.open(after).payload == FRAME
        with pytest.raises(PacketRefused, match="MKI"):
            carol.talk.open(after)
        # Nor is she heard under the old key.
        with pytest.raises(PacketRefused, match="MKI"):
            world.chair.talk.open(carol.talk.protect(FRAME, 320))

    play(scene)


def test_a_new_key_has_the_kms_look_at_the_group_again(play: Play) -> None:
    async def scene(world: World) -> None:
        bob, carol = await world.joins("bob"), await world.joins("carol")
        carol.ask_floor()
        await world.settled()
        await world.domain.store.subscribers.remove_members(GROUP, [uri("carol")])
        await world.chair.rekey()
        await world.settled()
        assert world.chair.members == (uri("bob"),)
        assert [(left.member, left.reason) for left in world.said("alice", "left")] == [
            (uri("carol"), "not-authorized")
        ]
        assert carol.over
        assert world.said("carol", "ended")[0].reason == "not-authorized"
        assert world.chair.holder == ""
        assert bob.talk.number == world.chair.talk.number == 2
        with pytest.raises(PacketRefused):
            carol.talk.open(world.chair.talk.protect(FRAME, 160))

    play(scene)


def test_the_floor_of_the_last_member_is_free_once_the_kms_puts_it_out(play: Play) -> None:
    async def scene(world: World) -> None:
        bob = await world.joins("bob")
        bob.ask_floor()
        await world.settled()
        assert world.chair.holder == uri("bob")
        await world.domain.store.subscribers.remove_members(GROUP, [uri("bob")])
        await world.chair.rekey()
        await world.settled()
        assert world.chair.members == ()
        assert world.chair.ask_floor()

    play(scene)


def test_a_member_that_is_silent_does_not_hold_up_the_next_key(play: Play) -> None:
    async def scene(world: World) -> None:
        bob, _ = await world.joins("bob"), await world.joins("carol")
        world.lost = lambda sender, message: sender == "carol"
        await world.chair.rekey()
        await world.settled()
        assert world.chair.members == (uri("bob"),)
        assert world.said("alice", "left")[0].reason == "no-answer"
        assert bob.talk.open(world.chair.talk.protect(FRAME, 160)).payload == FRAME

    play(scene, answer_s=2.0)


def test_without_the_kms_the_session_goes_on_under_the_present_key(play: Play) -> None:
    async def scene(world: World) -> None:
        bob = await world.joins("bob")
        world.down = True
        await world.chair.rekey()
        assert world.chair.overdue
        assert [notice.reason for notice in world.said("alice", "postponed")] == ["kms-unreachable"]
        assert world.chair.members == (uri("bob"),)
        assert bob.talk.open(world.chair.talk.protect(FRAME, 160)).payload == FRAME
        world.down = False
        await world.chair.rekey()
        await world.settled()
        assert not world.chair.overdue
        assert bob.talk.number == 2

    play(scene)


def test_one_that_asks_and_never_answers_keeps_nobody_out(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.sessions["alice"].take(uri("carol"), b'{"group": "sip:x@example.com", "verb": "join"}')
        world.lost = lambda sender, message: (
            sender == "carol" or (message.verb == "key" and world.sent[-1][1] == uri("carol"))
        )
        join = GroupMessage(group=GROUP, verb="join").encode().encode()
        silent = asyncio.ensure_future(world.sessions["alice"].take(uri("carol"), join))
        bob = await world.joins("bob")
        assert not silent.done()
        assert world.chair.members == (uri("bob"),)
        await world.chair.rekey()
        assert bob.talk.open(world.chair.talk.protect(FRAME, 160)).payload == FRAME
        silent.cancel()

    play(scene)


def test_who_joins_later_and_who_joins_again(play: Play) -> None:
    async def scene(world: World) -> None:
        bob = await world.joins("bob")
        for _ in range(3):
            world.chair.talk.protect(FRAME, 160)
        carol = await world.joins("carol")
        assert carol.talk.open(world.chair.talk.protect(FRAME, 640)).payload == FRAME
        ssrc = bob.talk.ssrc
        world.sessions["bob"].forget(GROUP)
        again = await world.joins("bob")
        # Bob's packets begin at 0 again: under the SSRC of before they would have the same keystream.
        assert again.talk.ssrc != ssrc
        assert again.talk.number == 1
        assert carol.talk.open(again.talk.protect(FRAME, 160)).payload == FRAME

    play(scene)


def test_only_the_chair_talks_in_an_announcement(play: Play) -> None:
    async def scene(world: World) -> None:
        world.chair = world.chairs(announces=True)
        bob = await world.joins("bob")
        bob.ask_floor()
        await world.settled()
        assert not bob.may_talk
        assert world.chair.may_talk
        assert bob.may_be_heard(world.chair.talk.ssrc)
        world.chair.free_floor()
        assert world.chair.may_talk
        world.chair.close()
        await world.settled()
        assert bob.over

    play(scene)


def test_nobody_speaks_for_another(play: Play) -> None:
    """What is said about the session is judged by its packet, not by the SIP sender."""

    async def scene(world: World) -> None:
        bob, carol = await world.joins("bob"), await world.joins("carol")
        dave = uri("dave")
        forged = GroupMessage(group=GROUP, verb="said", octets=bytes(60)).encode().encode()
        await world.sessions["alice"].take(uri("bob"), forged)
        assert uri("bob") in world.chair.members
        # A word of bob's, sent once more by dave.
        bob.ask_floor()
        word = next(
            message for sender, _, message in world.sent if sender == "bob" and message.verb == "said"
        )
        await world.settled()
        bob.free_floor()
        await world.settled()
        await world.sessions["alice"].take(dave, word.encode().encode())
        assert world.chair.holder == ""
        # Carol speaks to bob in the chair's name, with her own packets.
        await bob.take(uri("alice"), GroupMessage(group=GROUP, verb="said", octets=carol.talk.say("end")))
        assert not bob.over

    play(scene)


def test_an_answer_of_another_member_is_refused(play: Play) -> None:
    """The KMS vouches for who answered: carol, who resolves bob's ticket, cannot take his place."""

    async def scene(world: World) -> None:
        carol = world.sessions["carol"].member(GROUP, chair=uri("alice"), tell=lambda notice: None)
        world.lost = lambda sender, message: message.verb == "key"
        invited = asyncio.ensure_future(world.chair.invite(uri("bob")))
        while not any(message.verb == "key" for _, _, message in world.sent):
            await asyncio.sleep(0)
        world.lost = lambda sender, message: sender == "carol"
        key = next(message for _, _, message in world.sent if message.verb == "key")
        await carol.take(uri("alice"), key)
        taken = next(message for sender, _, message in world.sent if sender == "carol")
        assert taken.verb == "taken"
        await world.chair.take(uri("bob"), taken)
        with pytest.raises(Exception, match=r"sip:carol@\S+ answered in the place of sip:bob"):
            await invited
        assert world.chair.members == ()

    play(scene, answer_s=1.0)


def test_forged_answers_put_nobody_out(play: Play) -> None:
    """Anybody may send SIP in bob's name: what does not verify leaves the chair waiting for bob."""

    async def scene(world: World) -> None:
        bob = await world.joins("bob")

        def forge(sender: str, message: GroupMessage) -> bool:
            if (sender, message.verb) == ("alice", "key"):
                taken = GroupMessage(group=GROUP, verb="taken", octets=bytes(40))
                refused = GroupMessage(group=GROUP, verb="refused", reason="not-authorized")
                stolen = GroupMessage(group=GROUP, verb="refused", proof=bytes(60))
                for forged in (taken, refused, stolen):
                    world.carry("bob", uri("alice"), forged.encode())
            return False

        world.lost = forge
        await world.chair.rekey()
        await world.settled()
        assert world.chair.members == (uri("bob"),)
        assert bob.talk.number == world.chair.talk.number == 2

    play(scene)


def test_a_forged_key_neither_ends_a_session_nor_asks_the_kms(play: Play) -> None:
    """What comes in the chair's name within a session is under its present key, or not the chair's."""

    async def scene(world: World) -> None:
        bob = await world.joins("bob")
        key = next(message for _, _, message in world.sent if message.verb == "key")
        asked, sent = len(world.asked), len(world.sent)
        world.down = True
        for proof in (b"", bytes(60), bob.talk.say("next 00")):
            forged = replace(key, octets=key.octets[:-1] + b"x", proof=proof)
            await bob.take(uri("alice"), forged)
        assert (len(world.asked), len(world.sent)) == (asked, sent)
        assert not bob.over
        assert world.said("bob", "ended") == []

    play(scene)


def test_a_forged_wish_to_join_does_not_take_a_members_answer(play: Play) -> None:
    """Somebody asks to join in bob's name just before a new key: bob keeps his place."""

    async def scene(world: World) -> None:
        bob = await world.joins("bob")
        join = GroupMessage(group=GROUP, verb="join", contact=f"{uri('carol')};forged").encode()
        world.lost = lambda sender, message: sender == "carol" or message.verb == "refused"
        world.carry("bob", uri("alice"), join)
        await world.chair.rekey()
        await world.settled()
        assert world.chair.members == (uri("bob"),)
        assert bob.talk.number == world.chair.talk.number == 2

    play(scene, answer_s=1.0)


def test_the_floor_goes_back_when_its_time_is_up(play: Play) -> None:
    """As of a member whose program died while it talked."""

    async def scene(world: World) -> None:
        world.chair = world.chairs(floor_s=0.05)
        bob, carol = await world.joins("bob"), await world.joins("carol")
        bob.ask_floor()
        await world.settled()
        while world.chair.holder:
            await asyncio.sleep(0.01)
        await world.settled()
        assert (bob.may_talk, world.said("bob", "floor")[-1].reason) == (False, "floor-timeout")
        assert not carol.may_be_heard(bob.talk.ssrc)
        # The chair is not timed.
        assert world.chair.ask_floor()
        carol.ask_floor()
        await world.settled()
        assert world.chair.may_talk

    play(scene)


def test_the_chair_takes_the_floor_away(play: Play) -> None:
    async def scene(world: World) -> None:
        bob, carol = await world.joins("bob"), await world.joins("carol")
        bob.ask_floor()
        await world.settled()
        world.chair.take_floor_away()
        await world.settled()
        assert (bob.may_talk, world.said("bob", "floor")[-1].reason) == (False, "floor-taken")
        # He talks on, and nobody hears him.
        packet = world.chair.talk.open(bob.talk.protect(FRAME, 160))
        assert world.chair.heard(packet.ssrc) == ""
        assert not carol.may_be_heard(packet.ssrc)
        assert world.chair.ask_floor()
        world.chair.take_floor_away()
        assert world.chair.may_talk

    play(scene)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "body"),
        (b"{", "body"),
        (b'{"group": "sip:g@h"}', "verb"),
        (b'{"group": 1, "verb": "join"}', "group"),
        (b'{"group": "sip:g@h", "verb": "join", "contact": "sip:a@b>;x"}', "contact"),
        (b'{"group": "sip:g@h", "verb": "join", "contact": "sip:a\\r\\nX: y"}', "contact"),
        (b'{"group": "sip:g@h", "verb": "key", "octets": "?"}', "octets"),
        (b'{"group": "sip:g@h", "verb": "key", "octets": 1234}', "octets"),
        (b'{"group": "sip:g@h", "verb": "key", "proof": ["AAAA"]}', "proof"),
        (b" " * 20000, "body"),
    ],
)
def test_a_malformed_message_names_its_field(body: bytes, field: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        GroupMessage.decode(body)
    assert refused.value.field == field


def test_a_packet_is_not_heard_twice_however_many_sources_there_are(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member makes up sources until no more are remembered: who comes then is refused, not unguarded."""
    monkeypatch.setattr("sipmikey.media.talk.MOST_SOURCES", 1)

    async def scene(world: World) -> None:
        bob, carol = await world.joins("bob"), await world.joins("carol")
        first = bob.talk.protect(FRAME, 160)
        assert world.chair.talk.open(first).payload == FRAME
        for packet in (first, carol.talk.protect(FRAME, 160)):
            with pytest.raises(PacketRefused):
                world.chair.talk.open(packet)
        assert world.chair.talk.open(bob.talk.protect(FRAME, 320)).payload == FRAME

    play(scene)


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1:5004",
        "[ff15::1]",
        "[fe80::1]:5004",
        "ff15::1:5004",
        "239.1.2.3",
        "239.1.2.3:0",
        "x:1",
        "239.1.2.3:99999",
    ],
)
def test_media_goes_to_a_multicast_address_only(text: str) -> None:
    with pytest.raises(MalformedMessage):
        media_address(text)


def test_multicast_addresses_of_both_families_are_read() -> None:
    assert media_address("239.1.2.3:5004") == ("239.1.2.3", 5004)
    assert media_address("[ff15::60:43]:5004") == ("ff15::60:43", 5004)
