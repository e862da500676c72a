"""Where calls and sound devices meet: what is said in a room, and who hears it. No clock."""

from __future__ import annotations

import threading
from typing import Protocol

from sipmikey.sound.samples import Samples, from_octets, silence, to_octets


class Party(Protocol):
    """One end of a call, or whatever else talks and listens. Called in the thread that ticks the room."""

    def speak(self, count: int) -> Samples:
        """Return the next *count* samples of what this party says."""
        ...

    def listen(self, samples: Samples) -> None:
        """Take as many samples of what this party hears."""
        ...


class Exchange(Protocol):
    """Microphone and speaker: `sipmikey.sound.bridge.SoundBridge`, or what stands for one."""

    def exchange(self, heard: bytes) -> bytes:
        """Take a block of 16-bit samples for the speaker and return as much of the microphone."""
        ...


class Room:
    """The user at the *devices* and each party hear each other; parties hear one another once joined.

    Without *devices* the user is silent. Parties come, go and are joined in any thread.
    """

    def __init__(self, devices: Exchange | None = None) -> None:
        self._devices = devices
        self._lock = threading.Lock()
        self._parties: tuple[Party, ...] = ()
        self._joined: frozenset[frozenset[int]] = frozenset()

    @property
    def parties(self) -> tuple[Party, ...]:
        """Those that are in the room."""
        return self._parties

    def enter(self, party: Party) -> None:
        """Let *party* be heard and hear, from the next tick on."""
        with self._lock:
            if party not in self._parties:
                self._parties = (*self._parties, party)

    def leave(self, party: Party) -> None:
        """Forget *party*, and with whom it was joined."""
        with self._lock:
            self._parties = tuple(one for one in self._parties if one is not party)
            self._joined = frozenset(pair for pair in self._joined if id(party) not in pair)

    def join(self, one: Party, other: Party) -> None:
        """Let two parties hear each other."""
        with self._lock:
            self._joined |= {frozenset((id(one), id(other)))}

    def part(self, one: Party, other: Party) -> None:
        """Let two parties no longer hear each other."""
        with self._lock:
            self._joined -= {frozenset((id(one), id(other)))}

    def tick(self, count: int) -> None:
        """Move *count* samples from everybody to all who hear them."""
        parties, joined = self._parties, self._joined
        said = [party.speak(count) for party in parties]
        microphone = self._user(said, count)
        for party in parties:
            heard = microphone
            for other, theirs in zip(parties, said, strict=True):
                if other is not party and frozenset((id(party), id(other))) in joined:
                    heard = heard + theirs
            party.listen(heard)

    def _user(self, said: list[Samples], count: int) -> Samples:
        """Let the user hear it all; return what the microphone took up."""
        if self._devices is None:
            return silence(count)
        heard = said[0] if len(said) == 1 else sum(said, silence(count))
        return from_octets(self._devices.exchange(to_octets(heard)))
