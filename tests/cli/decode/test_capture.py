"""The loopback capture, in a network of its own: this needs no privilege that an ordinary user lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sipmikey.capture import MAX_PORTS, _program

SCRIPT = """
import socket, sys
from pathlib import Path
from sipmikey.capture import LoopbackCapture, enter_private_network

if not enter_private_network():
    sys.exit(77)
one, two, three, other, stranger = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(5))
for end in (one, two, three, other, stranger):
    end.bind(("127.0.0.1", 0))
everything, ours = LoopbackCapture(), LoopbackCapture([one.getsockname()[1]])
everything.start()
ours.start()

def send(source, target, octets):
    source.sendto(octets, target.getsockname())
    target.recv(1000)

send(stranger, stranger, b"stranger")
send(one, two, b"v=0\\r\\nm=audio %d RTP/SAVP 8\\r\\n" % other.getsockname()[1])
send(two, one, b"answer")
while other.getsockname()[1] not in ours._ports:
    pass
send(other, other, b"media")
send(three, stranger, b"early")
ours.watch(three.getsockname()[1])
send(three, stranger, b"watched")
folder = Path(sys.argv[1])
print(everything.save(folder / "all.pcap"), everything.dropped)
print(ours.save(folder / "ours.pcap"), ours.dropped)
"""


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: apt-get install tshark")
def test_every_packet_is_kept_once_and_those_of_others_can_be_left_out(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    if result.returncode == 77 and os.getuid() != 0 and not os.environ.get("CI"):
        pytest.skip("this system allows no user namespaces")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["6", "0", "4", "0"]
    everything, ours = (tmp_path / "all.pcap").read_bytes(), (tmp_path / "ours.pcap").read_bytes()
    for text in (b"answer", b"media", b"m=audio", b"watched"):
        assert everything.count(text) == ours.count(text) == 1
    for text in (b"stranger", b"early"):
        assert (everything.count(text), ours.count(text)) == (1, 0)
    assert (tmp_path / "all.pcap").stat().st_mode & 0o077 == 0
    with_tshark = subprocess.run(
        ["tshark", "-r", str(tmp_path / "all.pcap"), "-T", "fields", "-e", "udp.payload"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert bytes.fromhex(with_tshark.stdout.split()[2]) == b"answer"


def test_more_ports_than_the_kernel_can_look_for_are_no_error() -> None:
    assert len(_program(range(1, MAX_PORTS + 1))) == 8 * (10 + 2 * MAX_PORTS)
    assert len(_program(range(1, MAX_PORTS + 2))) == 8
