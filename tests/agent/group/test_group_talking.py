"""Push to talk in a group: who has the floor is heard at the speakers of the others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from sipmikey.agent.group.chair import Chair
from sipmikey.agent.group.media import GroupMedia
from sipmikey.agent.group.member import Member
from sipmikey.agent.group.push_to_talk import PushToTalk
from sipmikey.agent.group.sound import GroupSound
from sipmikey.media.talk import Talk
from sipmikey.mikey.errors import LocalError
from sipmikey.sound.samples import to_octets
from tests.agent.group.test_group_session import World

HERE = "127.0.0.1"
PATIENCE_S = 10.0
LOUD = 1000


@dataclass
class FakeParty:
    """Says what was asked of it."""

    may_talk: bool = False
    another_talks: bool = False
    asked: list[str] = field(default_factory=list)

    def ask_floor(self) -> None:
        self.asked.append("ask")

    def free_floor(self) -> None:
        self.asked.append("free")


def test_the_microphone_is_heard_from_the_floor_until_it_is_given_back() -> None:
    party = FakeParty()
    switch = PushToTalk(party)
    assert switch.press()
    assert not switch.may_talk
    party.may_talk = True
    switch.follow()
    assert switch.may_talk
    switch.release()
    assert not switch.may_talk
    assert party.asked == ["ask", "free"]


def test_nobody_asks_while_another_talks() -> None:
    party = FakeParty(another_talks=True)
    switch = PushToTalk(party)
    assert not switch.press()
    assert (switch.pressed, party.asked) == (False, [])


def test_a_floor_that_comes_too_late_is_given_back() -> None:
    party = FakeParty()
    switch = PushToTalk(party)
    switch.press()
    switch.release()
    party.may_talk = True
    switch.follow()
    assert not switch.may_talk
    assert party.asked == ["ask", "free", "free"]


def test_who_lost_the_floor_presses_again() -> None:
    party = FakeParty(may_talk=True)
    switch = PushToTalk(party)
    switch.press()
    party.may_talk, party.another_talks = False, True
    switch.follow()
    party.may_talk, party.another_talks = True, False
    assert not switch.may_talk


def test_who_had_the_floor_taken_away_presses_again() -> None:
    """Nobody talks: the microphone must not be heard by itself when the floor is free again."""
    party = FakeParty()
    switch = PushToTalk(party)
    switch.press()
    switch.follow()
    assert switch.pressed
    party.may_talk = True
    switch.follow()
    party.may_talk = False
    switch.follow()
    assert not switch.pressed


class FakeDevices:
    """A microphone that hears a tone of its own, and a speaker that is listened to."""

    def __init__(self, frequency: int) -> None:
        times = np.arange(160) / 8000
        self._tone = to_octets((0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32))
        self.frequency = frequency
        self.played = b""
        self.open = False

    def begin(self) -> None:
        self.open = True

    def exchange(self, heard: bytes) -> bytes:
        self.played += heard
        return self._tone

    def close(self) -> None:
        self.open = False

    def hears(self, frequency: int) -> bool:
        """True where a tone of that *frequency*, and no other, is in the last half second."""
        samples = np.frombuffer(self.played[-8000:], dtype=np.int16)
        if len(samples) < 4000 or np.abs(samples).max() < LOUD:
            return False
        return int(np.abs(np.fft.rfft(samples)).argmax()) * 2 == frequency

    @property
    def silent(self) -> bool:
        """True where the last half second was silence."""
        return np.abs(np.frombuffer(self.played[-8000:], dtype=np.int16)).max() == 0


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.02)


def talks_with(
    stack: ExitStack,
    party: Chair | Member,
    devices: FakeDevices,
    address: tuple[str, int],
    heard: Callable[[int], bool],
) -> tuple[PushToTalk, GroupMedia]:
    """Give *party* a switch, media and devices until the end of *stack*."""
    switch = PushToTalk(party)
    sound = GroupSound(devices, talks=lambda: switch.pressed, send=lambda frame, time: media.say(frame, time))
    media = GroupMedia(
        party.talk, address, interface=HERE, heard=heard, ear=sound.hear, may_talk=lambda: switch.may_talk
    )
    stack.enter_context(media)
    stack.enter_context(sound)
    return switch, media


@pytest.mark.parametrize("host", ["239.255.60.43", "ff15::60:43"])
def test_an_interface_that_is_not_there_is_named(host: str) -> None:
    media = GroupMedia(
        Talk(chairs=True), (host, 5004), interface="nowhere0", heard=bool, may_talk=lambda: False
    )
    with pytest.raises(LocalError, match="interface 'nowhere0'"):
        media.__enter__()


def test_two_talk_in_turn_with_their_devices(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        bob = await world.joins("bob")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HERE, 0))
            address = ("239.255.60.43", probe.getsockname()[1])
        alices, bobs = FakeDevices(400), FakeDevices(600)
        with ExitStack() as stack:
            alice, alices_media = talks_with(
                stack, world.chair, alices, address, lambda ssrc: bool(world.chair.heard(ssrc))
            )
            second, bobs_media = talks_with(stack, bob, bobs, address, bob.may_be_heard)
            assert alices.open
            assert bobs.open
            alice.press()
            await world.settled()
            await until(lambda: bobs.hears(400))
            assert alices.silent
            assert not second.press()
            alice.release()
            await world.settled()
            assert second.press()
            await world.settled()
            await until(lambda: alices.hears(600))
            second.release()
            await until(lambda: alices.silent and bobs.silent)
            assert alices_media.refused == bobs_media.refused == 0
        assert not alices.open
        assert not bobs.open

    async def all_of_it() -> None:
        world = World(tmp_path, answer_s=PATIENCE_S)
        try:
            await scene(world)
        finally:
            world.domain.close()

    asyncio.run(all_of_it())
