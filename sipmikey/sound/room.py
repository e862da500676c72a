"""Where calls and sound devices meet: what is said in a room, and who hears it. No clock."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sipmikey.sound.samples import Samples, from_octets, silence, to_octets

_log = logging.getLogger("sipmikey.sound.room")

RATE = 16000
"""Samples per second of the rooms where calls meet; also pjsua's own default."""

PERIOD_MS = 20
"""Milliseconds from one tick of a room to the next."""

SAMPLES = RATE * PERIOD_MS // 1000
"""What one tick moves."""


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


@dataclass(frozen=True, slots=True)
class _Seat:
    table: str
    with_user: bool


class Room:
    """The user at the *devices* and the parties. Parties at one table hear each other.

    Without *devices* the user is silent. Parties come, go and change their seats in any thread.
    """

    def __init__(self, devices: Exchange | None = None) -> None:
        self._devices = devices
        self._lock = threading.Lock()
        self._seats: dict[Party, _Seat] = {}

    def enter(self, party: Party, *, table: str = "", with_user: bool = True) -> None:
        """Let *party* take a seat, or another one, from the next tick on.

        *table*: it hears those at the same table, and they hear it; "" for none. *with_user*: it hears the
        user, and the user hears it.
        """
        with self._lock:
            self._seats = {**self._seats, party: _Seat(table, with_user)}

    def leave(self, party: Party) -> None:
        """Forget *party*."""
        with self._lock:
            self._seats = {one: seat for one, seat in self._seats.items() if one is not party}

    def tick(self, count: int) -> None:
        """Move *count* samples from everybody to all who hear them."""
        seats = self._seats
        said = dict.fromkeys(seats, silence(count))
        for party in seats:
            with self._or_it_leaves(party):
                said[party] = party.speak(count)
        microphone = self._user([said[party] for party, seat in seats.items() if seat.with_user], count)
        for party, seat in seats.items():
            heard = microphone if seat.with_user else silence(count)
            for other, place in seats.items():
                if other is not party and place.table == seat.table != "":
                    heard = heard + said[other]
            with self._or_it_leaves(party):
                party.listen(heard)

    @contextlib.contextmanager
    def _or_it_leaves(self, party: Party) -> Iterator[None]:
        """Let *party* leave where it fails, so that the others hear each other still."""
        try:
            yield
        except Exception:  # noqa: BLE001 - what one peer does must not silence the others
            _log.exception("a party of the room failed, and left it")
            self.leave(party)

    def _user(self, said: list[Samples], count: int) -> Samples:
        """Let the user hear it all; return what the microphone took up."""
        if self._devices is None:
            return silence(count)
        heard = said[0] if len(said) == 1 else sum(said, silence(count))
        return from_octets(self._devices.exchange(to_octets(heard)))
