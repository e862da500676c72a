"""What is wrong with a silent stream is what arrives now, not what was diagnosed once before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from sipmikey.agent.python_media.line import PythonLine
from sipmikey.media.endpoint import MediaPort
from tests.media.keys import SSRC, make_key
from tests.media.test_stream import MS, START, make_stream, packets


def test_only_what_was_refused_since_a_packet_verified_is_told() -> None:
    sender, _ = make_stream()
    sender.send_with(make_key())
    receiver, _ = make_stream(source=False)
    receiver.receive_with(make_key())
    line = PythonLine(cast(MediaPort, SimpleNamespace(stream=receiver)), ssrc=SSRC, ports=(0, 0))
    good = packets(sender, 3)
    for at, packet in enumerate(good):
        receiver.receive(packet, START + at * MS)
    receiver.receive(bytes(200), START)
    assert line.trouble().startswith("other-ssrc")
    assert line.trouble() == ""
    receiver.receive(good[0], START)
    assert line.trouble().startswith("other-ssrc"), "nothing verified since: the first diagnosis stays"
    receiver.receive(packets(sender, 1)[0], START + 4 * MS)
    assert line.trouble() == ""
    for packet in good:
        receiver.receive(packet, START)
    told = line.trouble()
    assert told.startswith("replayed")
    assert "other-ssrc" not in told
    assert line.trouble() == ""
