"""Programs that decrypt SRTP and share no code with this package."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipmikey.media.keying import StreamKey

PATIENCE_S = 20.0
_POLL_S = 0.005

GST_CIPHERS = {
    "AES_CM_128_HMAC_SHA1_80": ("aes-128-icm", "hmac-sha1-80", "hmac-sha1-80"),
    "AES_CM_128_HMAC_SHA1_32": ("aes-128-icm", "hmac-sha1-32", "hmac-sha1-80"),
    "AES_256_CM_HMAC_SHA1_80": ("aes-256-icm", "hmac-sha1-80", "hmac-sha1-80"),
    "AES_256_CM_HMAC_SHA1_32": ("aes-256-icm", "hmac-sha1-32", "hmac-sha1-80"),
    "AEAD_AES_128_GCM": ("aes-128-gcm", "null", "null"),
    "AEAD_AES_256_GCM": ("aes-256-gcm", "null", "null"),
}


def need(program: str) -> str:
    """Path of a program; skips the test without it (fails it in CI)."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed: run tools/install-peers")
    return path


class Ffmpeg:
    """ffmpeg, which has an SRTP of its own, writing the A-law octets that authenticate to a file."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self._process = process
        self.port = port
        self._output = output

    def wait_for(self, octets: int) -> bytes:
        """Return what it has written once that is at least *octets*; fail after a while."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            written = self._output.read_bytes() if self._output.exists() else b""
            if len(written) >= octets:
                return written
            time.sleep(_POLL_S)
        raise AssertionError(f"ffmpeg wrote {len(written)} of {octets} octets; exit {self._process.poll()}")


@contextmanager
def ffmpeg(key: StreamKey, port: int, directory: Path) -> Iterator[Ffmpeg]:
    """Run ffmpeg as the receiver of PCMA under *key* on a local UDP *port* (and the next)."""
    description, output = directory / "receiver.sdp", directory / "received.al"
    description.write_text(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/SAVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
        f"a=crypto:1 {key.profile.name} {key.sdes_inline().reveal().decode()}\r\n"
    )
    argv = [need("ffmpeg"), "-hide_banner", "-loglevel", "error", "-reorder_queue_size", "0"]
    argv += ["-analyzeduration", "0", "-probesize", "32", "-protocol_whitelist", "file,udp,rtp,srtp,crypto"]
    argv += ["-i", str(description), "-c", "copy", "-f", "alaw", "-flush_packets", "1", "-y", str(output)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await_listener(port)
            yield Ffmpeg(process, port, output)
        finally:
            process.send_signal(signal.SIGKILL)


def gstreamer(key: StreamKey, packets: Iterable[bytes], directory: Path) -> bytes:
    """Return the A-law octets that GStreamer's srtpdec gets out of *packets* under *key*."""
    stream, output = directory / "received.stream", directory / "received.al"
    # Framed in a file (RFC 4571), so that the pipeline ends by itself.
    stream.write_bytes(b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets))
    output.unlink(missing_ok=True)
    cipher, auth, rtcp_auth = GST_CIPHERS[key.profile.name]
    caps = (
        "application/x-srtp-stream,media=audio,clock-rate=8000,encoding-name=PCMA,payload=8,"
        f"ssrc=(uint){key.ssrc},srtp-key=(buffer){key.keying().reveal().hex()},roc=(uint)0,"
        f"srtp-cipher=(string){cipher},srtp-auth=(string){auth},"
        f"srtcp-cipher=(string){cipher},srtcp-auth=(string){rtcp_auth}"
    )
    argv = [need("gst-launch-1.0"), "-q", "filesrc", f"location={stream}", "!", caps, "!", "rtpstreamdepay"]
    argv += ["!", "srtpdec", "!", "rtppcmadepay", "!", "filesink", f"location={output}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return output.read_bytes()


def _await_listener(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        rows = Path("/proc/net/udp").read_text().splitlines()[1:]
        if any(row.split()[1].endswith(f":{port:04X}") for row in rows):
            return
        time.sleep(_POLL_S)
    raise AssertionError(f"nobody listens on UDP {port}")
