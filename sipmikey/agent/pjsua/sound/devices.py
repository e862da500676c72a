"""The sound devices of an agent, and pjmedia's conference bridge as one of their users.

The published wheels of pjsua2 have no sound device of their own. pjmedia hands out the master port of its
conference bridge instead; a clock of ours takes from it what is to be heard and gives it what the microphone
took up, through the public C functions that SWIG does not wrap: SWIG copies octet by octet.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from sipmikey.agent.pjsua.library import pj
from sipmikey.agent.pjsua.native.functions import Frame, c_function
from sipmikey.agent.stack import StackError
from sipmikey.sound.device_room import DeviceRoom
from sipmikey.sound.room import RATE, SAMPLES
from sipmikey.sound.samples import Samples, from_octets, silence, to_octets
from sipmikey.sound.settings import News, SoundSettings

_OCTETS = 2 * SAMPLES
_AUDIO = 1  # PJMEDIA_FRAME_TYPE_AUDIO
_SPEEX = 1  # PJMEDIA_ECHO_SPEEX


def device_room(settings: SoundSettings, tell: Callable[[News], None]) -> DeviceRoom:
    """Return the room of the devices, with all calls of pjmedia in it.

    In the engine's thread, after the library was started. *tell* is called with news of the devices, in any
    thread.
    """
    endpoint = pj.Endpoint.instance()
    made = DeviceRoom(
        settings,
        tell,
        echo=PjmediaEcho(settings.echo_tail_ms) if settings.echo_tail_ms else None,
        prepare=lambda: endpoint.libRegisterThread("sipmikey-sound"),
    )
    made.room.enter(ConferenceBridge())
    return made


class ConferenceBridge:
    """Port 0 of pjmedia's conference bridge, as the party of a room that speaks for all calls in pjmedia."""

    def __init__(self) -> None:
        self._get = c_function("pjmedia_port_get_frame")
        self._put = c_function("pjmedia_port_put_frame")
        self._port = int(pj.Endpoint.instance().audDevManager().setNoDev())
        self._buffer = ctypes.create_string_buffer(_OCTETS)
        self._at = ctypes.cast(self._buffer, ctypes.c_void_p)
        self._time = 0

    def speak(self, count: int) -> Samples:
        """Return what the calls say. *count*: 20 ms, here and below."""
        return from_octets(self._buffer.raw) if self._move(self._get) else silence(count)

    def listen(self, samples: Samples) -> None:
        """Give the calls what they hear."""
        ctypes.memmove(self._buffer, to_octets(samples), _OCTETS)
        self._move(self._put)
        self._time += SAMPLES

    def _move(self, function: Callable[..., int]) -> bool:
        """Move a frame; return whether there was sound in it."""
        frame = Frame(_AUDIO, self._at, _OCTETS, self._time, 0)
        return bool(function(self._port, ctypes.byref(frame)) == 0 and frame.type == _AUDIO)


class PjmediaEcho:
    """The Speex canceller compiled into pjmedia; implements ``EchoCanceller``."""

    def __init__(self, tail_ms: int, rate: int = RATE, samples: int = SAMPLES) -> None:
        self._cancel = c_function("pjmedia_echo_cancel")
        self._destroy = c_function("pjmedia_echo_destroy")
        self._release = c_function("pj_pool_release")
        self._pool = c_function("pjsua_pool_create")(b"sipmikey-echo", 4000, 4000)
        self._state = ctypes.c_void_p()
        create = c_function("pjmedia_echo_create2")
        status = create(self._pool, rate, 1, samples, tail_ms, 0, _SPEEX, ctypes.byref(self._state))
        if status != 0:
            raise StackError("pjmedia has no echo canceller for these settings", status)

    def cancel(self, heard: bytes, played: bytes) -> bytes:
        """Return the block *heard* without the echo of the block *played*, of 20 ms each."""
        block = ctypes.create_string_buffer(heard, len(heard))
        if self._cancel(self._state, block, played, 0, None) != 0:
            return heard
        return block.raw

    def close(self) -> None:
        """Free it."""
        if self._state:
            self._destroy(self._state)
            self._release(self._pool)
            self._state = ctypes.c_void_p()
