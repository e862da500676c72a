"""The sound devices of calls whose media runs in Python, where no other library has them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sipmikey.agent.config import Audio
from sipmikey.agent.stack import StackError
from sipmikey.sound.commands import Command
from sipmikey.sound.settings import News

if TYPE_CHECKING:
    from sipmikey.sound.device_room import DeviceRoom

NO_SOUND_DEVICE = "no-sound-device"
"""Begins the text of the error where there is no sound device."""


def check_devices() -> None:
    """Raise ``StackError`` where there is no sound system, or the packages that use it are missing."""
    try:
        from sipmikey.sound.devices import Devices
        from sipmikey.sound.errors import NoSoundDevice
    except ImportError as error:
        raise StackError(f"sound needs {error.name}: pip install 'sipmikey[sound]'") from None
    try:
        Devices()
    except NoSoundDevice as error:
        raise StackError(f"{NO_SOUND_DEVICE}: {error}") from None


class PythonDevices:
    """``devices``: the room where the user and the calls meet; None where the settings say ``null``.

    Raises ``StackError`` where there are none, though the settings ask for them.
    """

    def __init__(self, audio: Audio) -> None:
        self._news: deque[News] = deque()
        self.devices: DeviceRoom | None = None
        if audio.device == "null":
            return
        check_devices()
        from sipmikey.sound.device_room import DeviceRoom

        echo = None
        if audio.sound.echo_tail_ms:
            try:
                from sipmikey.sound.webrtc_echo import WebrtcEcho
            except ImportError as error:
                raise StackError(
                    f"an echo canceller needs {error.name}: pip install 'sipmikey[echo]', or choose the "
                    "echo-cancel source of PulseAudio or PipeWire as media.input and set media.echo_tail = 0"
                ) from None
            echo = WebrtcEcho()
        self.devices = DeviceRoom(audio.sound, self._news.append, echo=echo)

    def obey(self, command: Command) -> None:
        """Do what *command* says to the devices; without devices there is nothing to do."""
        if self.devices is not None:
            self.devices.obey(command)

    def take_news(self) -> Iterator[News]:
        """Yield what the devices told, from whatever thread, since this was asked last."""
        while self._news:
            yield self._news.popleft()

    def close(self) -> None:
        """Give the devices back."""
        if self.devices is not None:
            self.devices.close()
