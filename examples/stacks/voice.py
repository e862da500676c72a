"""The media of a call in Python: G.711 under SRTP, and its description."""

from __future__ import annotations

import re

from sipmikey.call import SrtpKeys, inputs
from sipmikey.media.endpoint import MediaLoop, udp_pair
from sipmikey.media.g711 import PCMA
from sipmikey.media.stream import RtpStream, Sink, Source

_MIRRORED = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_DIRECTION = re.compile(r"(?m)^a=(sendonly|recvonly|inactive)\r?$")
_AUDIO = re.compile(r"(?m)^m=audio (\d+) ")
_ADDRESS = re.compile(r"(?m)^c=IN IP[46] (\S+)")


class Voice:
    """The media of one call: G.711 in Python. *source* is what is said, *sink* takes what is heard."""

    def __init__(self, loop: MediaLoop, host: str, *, source: Source, sink: Sink | None = None) -> None:
        self._loop = loop
        self._host = host
        self.stream = RtpStream(codec=PCMA, cname="sipmikey-example", source=source, sink=sink)
        self._port = loop.open(self.stream, *udp_pair(host))
        self._version = 0

    def description(self, remote: str = "", *, hold: bool = False) -> str:
        """Return our offer, or the answer to *remote*: plain RTP, no word of keys."""
        self._version += 1
        asked = _DIRECTION.search(remote)
        direction = "sendonly" if hold else _MIRRORED[asked[1]] if asked else "sendrecv"
        family = 6 if ":" in self._host else 4
        return (
            f"v=0\r\no=- 1 {self._version} IN IP{family} {self._host}\r\ns=-\r\n"
            f"c=IN IP{family} {self._host}\r\nt=0 0\r\n"
            f"m=audio {self._port.local[1]} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na={direction}\r\n"
        )

    def key(self, keys: SrtpKeys) -> None:
        """Run the stream on *keys*: from the next packet on, and with overlap where it ran on others."""
        assert keys.directions is not None, "a ticket gives keys for each direction"
        send, receive = keys.directions
        self._loop.call(lambda: self.stream.send_with(send)).result()
        self._loop.call(lambda: self.stream.receive_with(receive)).result()

    def unkey(self) -> None:
        """Send and open nothing until there are keys again."""
        self._loop.call(self.stream.pause).result()

    def send_to(self, sdp: str) -> None:
        """Send to the first audio stream of a description of the peer."""
        media, address = _AUDIO.search(sdp), _ADDRESS.search(sdp)
        if media is not None and address is not None and media[1] != "0":
            self._port.send_to((address[1], int(media[1])))

    def count(self) -> inputs.StreamCount:
        """Return how many packets were sent, and how many came and verified."""
        stream = self.stream
        return inputs.StreamCount(
            index=0, codec="PCMA", sent=stream.sent, received=stream.received, lost=stream.lost
        )

    def close(self) -> None:
        """End the stream."""
        self._loop.shut(self._port).result()
