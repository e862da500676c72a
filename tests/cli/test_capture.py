"""The loopback capture, in a network of its own: this needs no privilege that an ordinary user lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import socket, sys
from pathlib import Path
from sipmikey.capture import LoopbackCapture, enter_private_network

if not enter_private_network():
    sys.exit(77)
capture = LoopbackCapture()
capture.start()
one, two, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
for end in (one, two, other):
    end.bind(("127.0.0.1", 0))
one.sendto(b"v=0\\r\\nm=audio %d RTP/SAVP 8\\r\\n" % other.getsockname()[1], two.getsockname())
two.recv(100)
two.sendto(b"answer", one.getsockname())
one.recv(100)
other.sendto(b"media", other.getsockname())
other.recv(100)
stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
stranger.bind(("127.0.0.1", 0))
stranger.sendto(b"stranger", stranger.getsockname())
stranger.recv(100)
folder = Path(sys.argv[1])
print(capture.save(folder / "all.pcap"), capture.dropped)
print(capture.save(folder / "ours.pcap", ports={one.getsockname()[1]}))
"""


def test_every_packet_is_kept_once_and_those_of_others_can_be_left_out(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    if result.returncode == 77 and os.getuid() != 0 and not os.environ.get("CI"):
        pytest.skip("this system allows no user namespaces")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["4", "0", "3"]
    everything, ours = (tmp_path / "all.pcap").read_bytes(), (tmp_path / "ours.pcap").read_bytes()
    for text in (b"answer", b"media", b"m=audio"):
        assert everything.count(text) == ours.count(text) == 1
    assert (everything.count(b"stranger"), ours.count(b"stranger")) == (1, 0)
    assert (tmp_path / "all.pcap").stat().st_mode & 0o077 == 0
    with_tshark = subprocess.run(
        ["tshark", "-r", str(tmp_path / "all.pcap"), "-T", "fields", "-e", "udp.payload"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert bytes.fromhex(with_tshark.stdout.split()[1]) == b"answer"
