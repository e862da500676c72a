"""The sound devices of calls whose media runs in Python, where no other library has them."""

from __future__ import annotations

from sipmikey.agent.config import Audio
from sipmikey.agent.devices import AgentDevices
from sipmikey.agent.stack import StackError

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


class PythonDevices(AgentDevices):
    """The devices, unless the settings say ``null``. Raises ``StackError`` where there are none."""

    def __init__(self, audio: Audio) -> None:
        super().__init__()
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
        self.devices = DeviceRoom(audio.sound, self.heard_news, echo=echo)
