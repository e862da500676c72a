"""Keys into pjmedia's own SRTP, and silence, through the public C functions that SWIG does not wrap.

The extension module of pjsua2 exports the C interface of pjmedia; ``ctypes`` calls it. All of this runs in
the engine's thread, where the stream given is alive.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from sipmikey.agent.pjsua.native.functions import Crypto, Text, c_function
from sipmikey.agent.stack import SrtpKeys, StackError

_ENCODING = 1  # PJMEDIA_DIR_ENCODING


class NativeSrtp:
    """The SRTP transport under a pjmedia stream.

    Streams are given as the address of their ``pjmedia_stream``. Raises ``StackError`` where this build of
    pjsua2 does not export what is needed.
    """

    def __init__(self) -> None:
        self._transport = c_function("pjmedia_stream_get_transport")
        self._start = c_function("pjmedia_transport_srtp_start")
        self._stop = c_function("pjmedia_transport_srtp_stop")
        self._pause = c_function("pjmedia_stream_pause")
        self._resume = c_function("pjmedia_stream_resume")

    def start(self, stream: int, keys: SrtpKeys) -> None:
        """Start SRTP and SRTCP with *keys*, replacing those in use. Raises ``StackError``.

        pjmedia copies the keys. A name it does not know, or a key of another length than the suite's, is
        refused; then the transport has no keys and drops every packet.
        """
        name = keys.suite.encode()
        send, receive = (
            Crypto(Text.of(key), Text.of(name), 0) for key in (keys.send.reveal(), keys.receive.reveal())
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
            raise StackError("pjmedia could not pause or resume the stream", status)

    def _of(self, stream: int) -> int:
        transport: int | None = self._transport(stream)
        if not transport:
            raise StackError("the stream has no transport")
        return transport
