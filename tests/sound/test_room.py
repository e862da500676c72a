"""The parties of a room hear each other as they are seated."""

from __future__ import annotations

import numpy as np
import pytest

from sipmikey.sound.room import Room
from sipmikey.sound.samples import Samples, from_octets, silence, to_octets

COUNT = 320


class Somebody:
    """Says one loudness all the time, and remembers what was heard."""

    def __init__(self, loudness: float) -> None:
        self.loudness = loudness
        self.heard = 0.0

    def speak(self, count: int) -> Samples:
        return np.full(count, self.loudness, dtype=np.float32)

    def listen(self, samples: Samples) -> None:
        assert len(samples) == COUNT
        self.heard = float(samples[0])

    def exchange(self, heard: bytes) -> bytes:
        self.listen(from_octets(heard))
        return to_octets(self.speak(COUNT))


def test_the_user_hears_all_and_parties_hear_the_user_and_who_is_at_their_table() -> None:
    user, alice, bob, carol = (Somebody(loudness) for loudness in (0.125, 0.25, 0.5, 0.0625))
    room = Room(user)
    room.enter(carol)
    for party in (alice, bob):
        room.enter(party, table="1")
    room.tick(COUNT)
    assert [one.heard for one in (user, alice, bob, carol)] == [0.8125, 0.625, 0.375, 0.125]
    room.enter(bob)
    room.leave(carol)
    room.tick(COUNT)
    assert [one.heard for one in (user, alice, bob)] == [0.75, 0.125, 0.125]


def test_parties_go_on_without_the_user() -> None:
    user, alice, bob = (Somebody(loudness) for loudness in (0.125, 0.25, 0.5))
    room = Room(user)
    room.enter(alice, table="1", with_user=False)
    room.enter(bob, table="1")
    room.tick(COUNT)
    assert [one.heard for one in (user, alice, bob)] == [0.5, 0.5, 0.375]


def test_without_devices_the_user_is_silent() -> None:
    alice, bob = Somebody(0.25), Somebody(0.5)
    room = Room()
    room.enter(alice, table="1")
    room.enter(bob, table="1")
    room.tick(COUNT)
    assert (alice.heard, bob.heard) == (0.5, 0.25)


def test_together_they_are_not_louder_than_loudest() -> None:
    user = Somebody(0.0)
    room = Room(user)
    for _ in range(3):
        room.enter(Somebody(0.5))
    room.tick(COUNT)
    assert user.heard == pytest.approx(1.0, abs=1e-4)


class SpeaksBadly(Somebody):
    """Fails at each tick; ``ticks`` counts those it was asked at."""

    ticks = 0

    def speak(self, count: int) -> Samples:
        self.ticks += 1
        raise ValueError("what a peer sent")


class ListensBadly(SpeaksBadly):
    def speak(self, count: int) -> Samples:
        self.ticks += 1
        return silence(count)

    def listen(self, samples: Samples) -> None:
        raise ValueError("what its encoder says")


@pytest.mark.parametrize("kind", [SpeaksBadly, ListensBadly])
def test_a_party_that_fails_leaves_and_the_others_hear_each_other(kind: type[SpeaksBadly]) -> None:
    alice, broken, bob = Somebody(0.25), kind(0.0), Somebody(0.5)
    room = Room()
    for party in (alice, broken, bob):
        room.enter(party, table="1")
    for _ in range(2):
        alice.heard = bob.heard = 0.0
        room.tick(COUNT)
        assert (alice.heard, bob.heard) == (0.5, 0.25)
    assert broken.ticks == 1, "it left after the first"
