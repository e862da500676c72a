"""The media in Python sends SRTCP to the address of the peer only, even if others send to its port."""

from __future__ import annotations

from sipmikey.media.endpoint import MediaLoop, udp_socket
from tests.media.test_endpoint import HOST, PATIENCE_S, make_call


def test_datagrams_of_others_divert_no_report() -> None:
    with MediaLoop() as loop, udp_socket(HOST) as stranger:
        one, other = make_call(loop, 1)
        assert one.rtcp is not None
        for _ in range(10):
            stranger.sendto(bytes(range(40)), one.rtcp.getsockname())
            stranger.sendto(bytes(range(40)), one.rtp.getsockname())
        loop.when(lambda: other.stream.statistics().round_trip_ms is not None).result(PATIENCE_S)
        assert one.remote_rtcp == (HOST, other.local[1] + 1)
        stranger.setblocking(False)
        try:
            diverted = stranger.recv(2048)
        except BlockingIOError:
            diverted = b""
    assert not diverted
