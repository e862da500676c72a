"""Legs of a conference whose peers send as they like: each is heard by the others afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from sipmikey.media.g711 import PCMA
from sipmikey.media.g711 import RATE as CODEC_RATE
from sipmikey.media.voice.party import StreamParty
from sipmikey.media.voice.settings import JitterSettings
from sipmikey.sound.room import RATE, SAMPLES, Room
from sipmikey.sound.samples import Samples, from_octets, to_octets

TONES = (400, 700, 1100)


class Peer:
    """A peer that says a tone in packets of *ptime_ms*, and keeps what it hears."""

    def __init__(self, hertz: int, ptime_ms: int = 20) -> None:
        self._hertz = hertz
        self._size = CODEC_RATE * ptime_ms // 1000
        self._said = self._sent = 0
        self._first = 0xFFFF_F000
        self.heard: list[Samples] = []
        self.leg = StreamParty(PCMA, rate=RATE, settings=JitterSettings(), say=self._hear)

    def _hear(self, payload: bytes) -> None:
        self.heard.append(from_octets(PCMA.decode(payload)))

    def begin_again(self) -> None:
        """Send with other timestamps from now on, as after a change of the SSRC."""
        self._first = 0x1234_5678

    def pass_20_ms(self) -> None:
        self._said += CODEC_RATE // 50
        while self._sent + self._size <= self._said:
            time = (self._sent + np.arange(self._size)) / CODEC_RATE
            tone = (0.2 * np.sin(2 * np.pi * self._hertz * time)).astype(np.float32)
            self.leg.ear.put((self._first + self._sent) & 0xFFFF_FFFF, PCMA.encode(to_octets(tone)))
            self._sent += self._size

    def loudness(self, hertz: int) -> float:
        """Return how loud a tone was in each of the last seconds' 100 ms, at the least."""
        sound = np.concatenate(self.heard[-100:]).reshape(20, -1)
        wave = np.exp(-2j * np.pi * hertz * np.arange(sound.shape[1]) / CODEC_RATE)
        return float((2 * np.abs(sound @ wave) / sound.shape[1]).min())


def talk(peers: list[Peer], room: Room, seconds: float) -> None:
    for _ in range(int(seconds * 50)):
        for peer in peers:
            peer.pass_20_ms()
        room.tick(SAMPLES)


def hear_each_other(peers: list[Peer]) -> bool:
    return all(
        (listener.loudness(hertz) > 0.1) == (listener is not speaker)
        for listener in peers
        for speaker, hertz in zip(peers, TONES, strict=True)
    )


@pytest.mark.parametrize("ptime_ms", [10, 30, 60])
def test_a_leg_with_other_packets_is_heard_and_hears(ptime_ms: int) -> None:
    peers = [Peer(TONES[0]), Peer(TONES[1], ptime_ms), Peer(TONES[2])]
    room = Room()
    for peer in peers:
        room.enter(peer.leg, table="1")
    talk(peers, room, 4)
    assert hear_each_other(peers)


def test_a_leg_that_begins_again_with_another_source_is_heard_afterwards() -> None:
    peers = [Peer(hertz) for hertz in TONES]
    room = Room()
    for peer in peers:
        room.enter(peer.leg, table="1")
    talk(peers, room, 3)
    assert hear_each_other(peers)
    peers[1].begin_again()
    talk(peers, room, 3)
    assert hear_each_other(peers)
