"""Keys into pjmedia's own SRTP, and silence, through the public C functions that SWIG does not wrap.

The extension module of pjsua2 exports the C interface of pjmedia; ``ctypes`` calls it. All of this runs in
the engine's thread, where the stream given is alive.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from sipmikey.agent.stack import SrtpKeys, StackError

_ENCODING = 1  # PJMEDIA_DIR_ENCODING


class _Text(ctypes.Structure):
    """pj_str_t."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_ssize_t))


class _Crypto(ctypes.Structure):
    """pjmedia_srtp_crypto."""

    _fields_ = (("key", _Text), ("name", _Text), ("flags", ctypes.c_uint))


class NativeSrtp:
    """The SRTP transport under a pjmedia stream.

    *library*: path of pjsua2's extension module. Streams are given as the address of their
    ``pjmedia_stream``.
    """

    def __init__(self, library: str) -> None:
        try:
            c = ctypes.CDLL(library)
            self._transport = c.pjmedia_stream_get_transport
            self._start = c.pjmedia_transport_srtp_start
            self._stop = c.pjmedia_transport_srtp_stop
            self._pause = c.pjmedia_stream_pause
            self._resume = c.pjmedia_stream_resume
        except (OSError, AttributeError) as error:
            raise StackError(
                f"this build of pjsua2 does not export pjmedia's SRTP functions ({error}); "
                "use the wheel pjsua2-python"
            ) from None
        self._transport.argtypes = (ctypes.c_void_p,)
        self._transport.restype = ctypes.c_void_p
        self._start.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Crypto), ctypes.POINTER(_Crypto))
        self._start.restype = ctypes.c_int
        self._stop.argtypes = (ctypes.c_void_p,)
        self._stop.restype = ctypes.c_int
        for function in (self._pause, self._resume):
            function.argtypes = (ctypes.c_void_p, ctypes.c_int)
            function.restype = ctypes.c_int

    def start(self, stream: int, keys: SrtpKeys) -> None:
        """Start SRTP and SRTCP with *keys*, replacing those in use. Raises ``StackError``.

        pjmedia copies the keys. A name it does not know, or a key of another length than the suite's, is
        refused; then the transport has no keys and drops every packet.
        """
        name = keys.suite.encode()
        send, receive = (
            _Crypto(_Text(key, len(key)), _Text(name, len(name)), 0)
            for key in (keys.send.reveal(), keys.receive.reveal())
        )
        status = self._start(self._of(stream), ctypes.byref(send), ctypes.byref(receive))
        if status != 0:
            self.stop(stream)
            raise StackError(f"pjmedia refused the keys for {keys.suite}", status)

    def stop(self, stream: int) -> None:
        """Take the keys away: the transport drops every packet, both ways, until it is given new ones."""
        status = self._stop(self._of(stream))
        if status != 0:
            raise StackError("pjmedia could not stop SRTP", status)

    def hush(self, stream: int) -> None:
        """Send no RTP until `speak`; RTCP goes on. Keys and packet indices stay as they are."""
        self._switch(self._pause, stream)

    def speak(self, stream: int) -> None:
        """Send RTP again."""
        self._switch(self._resume, stream)

    def _switch(self, function: Callable[[int, int], int], stream: int) -> None:
        status = function(stream, _ENCODING)
        if status != 0:
            raise StackError("pjmedia could not switch the stream", status)

    def _of(self, stream: int) -> int:
        transport: int | None = self._transport(stream)
        if not transport:
            raise StackError("the stream has no transport")
        return transport
