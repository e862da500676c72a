"""The room where the user at the sound devices meets the calls, while there are any."""

from __future__ import annotations

from collections.abc import Callable

from sipmikey.sound.bridge import EchoCanceller, SoundBridge
from sipmikey.sound.commands import Command, PlayTone, StopTones
from sipmikey.sound.room import RATE, Room
from sipmikey.sound.settings import News, SoundSettings
from sipmikey.sound.ticked_room import TickedRoom
from sipmikey.sound.tones import tone_of

_TONES = -1
"""The number of the tones, among the numbers of calls that use the sound."""


class DeviceRoom(TickedRoom):
    """Microphone and speaker, open while a call uses them.

    *tell* is called with news of the devices, in any thread. *echo* takes the echo out of the microphone.
    *prepare* is called in the thread that ticks the room, before the first tick.
    """

    def __init__(
        self,
        settings: SoundSettings,
        tell: Callable[[News], None],
        *,
        echo: EchoCanceller | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._echo = echo
        self._bridge = SoundBridge(settings, rate=RATE, tell=tell, echo=echo)
        super().__init__(Room(self._bridge), prepare)

    def use(self, user: int) -> None:
        """Let the call with number *user* have the devices."""
        self._bridge.begin()
        super().use(user)

    def release(self, user: int) -> None:
        """The call with number *user* is over; after the last one the devices are given back."""
        if user in self._users:
            super().release(user)
            if not self._users:
                self._bridge.end()

    def obey(self, command: Command) -> None:
        """Carry out *command*."""
        self._bridge.obey(command)
        if isinstance(command, PlayTone) and tone_of(command.tone).repeat:
            # The tone of a key is heard in a call, and keeps no device open after it.
            self.use(_TONES)
        elif isinstance(command, StopTones):
            self.release(_TONES)

    def close(self) -> None:
        """Close the devices."""
        super().close()
        self._bridge.close()
        if self._echo is not None:
            self._echo.close()
