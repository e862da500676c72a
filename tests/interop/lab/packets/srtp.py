"""Capture-side decryption of SRTP by programs that share no code with the agents.

ffmpeg has an SRTP of its own (AES-CM-128 only); GStreamer's srtpdec uses the system's libsrtp.
"""

from __future__ import annotations

import base64
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pylibsrtp import Error, Policy, Session

from sipmikey.testing.process import PeerFailed, Process
from tests.interop.lab import programs
from tests.interop.lab.packets.capture import RtpPacket

G711_ENCODINGS = {0: "PCMU", 8: "PCMA"}
KEY_LENGTHS = {16: "aes-128-icm", 32: "aes-256-icm"}
END_MARKS = 5
G711_FRAME = 160
SAMPLE = 1
HALF = 1 << 15
"""Of the sequence numbers."""
PROBE_SECONDS = 0.005
BURST = 40
GSTREAMER_SECONDS = 30.0
FFMPEG_SECONDS = 20.0


def decrypt_with_ffmpeg(packets: Sequence[RtpPacket], key: bytes, salt: bytes, directory: Path) -> bytes:
    """Samples (16-bit little-endian, 8000 Hz) that ffmpeg reads out of G.711 *packets* of one SSRC.

    *key* is the 16-byte AES-CM-128 master key, *salt* the 14-byte master salt. The packets are played to
    ffmpeg's socket, then a few made here under the same key, by whose arrival in the output one knows that
    the others have been dealt with. Packets that do not authenticate add nothing to the result.
    """
    encoding = packets[0].payload_type
    target = _free_port_pair()
    description = directory / "received.sdp"
    inline = base64.b64encode(key + salt).decode()
    description.write_text(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {target} RTP/SAVP {encoding}\r\na=rtpmap:{encoding} {G711_ENCODINGS[encoding]}/8000\r\n"
        f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{inline}\r\n"
    )
    output = directory / "srtp.s16le"
    output.unlink(missing_ok=True)
    argv = [programs.need("ffmpeg"), "-hide_banner", "-loglevel", "error"]
    argv += ["-analyzeduration", "0", "-probesize", "32", "-reorder_queue_size", "0"]
    argv += ["-protocol_whitelist", "file,udp,rtp,srtp,crypto", "-i", str(description)]
    argv += ["-f", "s16le", "-c:a", "pcm_s16le", "-flush_packets", "1", "-y", str(output)]
    end = decode_g711(b"".join(_mark_payload(number) for number in range(END_MARKS)), encoding)
    with Process(argv, name="ffmpeg") as ffmpeg, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        played = [packet.raw for packet in packets] + _end_marks(packets, key + salt)
        for number, datagram in enumerate(played):
            if number % BURST == 0:
                _await_queue(target)
            sender.sendto(datagram, ("127.0.0.1", target))
        deadline = time.monotonic() + FFMPEG_SECONDS
        while time.monotonic() < deadline and ffmpeg.running:
            received = output.read_bytes() if output.exists() else b""
            if received.endswith(end):
                ffmpeg.stop(signal.SIGKILL)
                return received[: -len(end)]
            time.sleep(PROBE_SECONDS)
        raise PeerFailed(f"ffmpeg did not reach the end marks: {len(received)} bytes\n{ffmpeg.tail()}")


def decrypt_with_gstreamer(packets: Sequence[RtpPacket], key: bytes, salt: bytes, directory: Path) -> bytes:
    """G.711 octets that srtpdec reads out of *packets* of one SSRC.

    *key* is a 16- or 32-byte AES-CM master key, *salt* the 14-byte master salt, authentication
    HMAC-SHA1-80. The packets reach it framed (RFC 4571) in a file, so it ends by itself. Packets that
    do not authenticate add nothing to the result. They are put in order: its depayloader drops late ones.
    """
    first = packets[0]
    packets = sorted(packets, key=lambda packet: (packet.sequence - first.sequence + HALF) % (2 * HALF))
    cipher = KEY_LENGTHS[len(key)]
    encoding = G711_ENCODINGS[first.payload_type]
    stream = directory / "srtp.stream"
    stream.write_bytes(b"".join(len(packet.raw).to_bytes(2, "big") + packet.raw for packet in packets))
    output = directory / "srtp.g711"
    output.unlink(missing_ok=True)
    caps = (
        f"application/x-srtp-stream,media=audio,clock-rate=8000,encoding-name={encoding},"
        f"payload={first.payload_type},ssrc=(uint){first.ssrc},srtp-key=(buffer){(key + salt).hex()},"
        f"srtp-cipher=(string){cipher},srtp-auth=(string)hmac-sha1-80,"
        f"srtcp-cipher=(string){cipher},srtcp-auth=(string)hmac-sha1-80,roc=(uint)0"
    )
    argv = [programs.need("gst-launch-1.0"), "-q", "filesrc", f"location={stream}", "!", caps]
    argv += ["!", "rtpstreamdepay", "!", "srtpdec", "!", f"rtp{encoding.lower()}depay"]
    argv += ["!", "filesink", f"location={output}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=GSTREAMER_SECONDS)
    assert done.returncode == 0, done.stderr[:2000]
    return output.read_bytes()


def authentic(packets: Sequence[RtpPacket], key: bytes, salt: bytes) -> int:
    """How many of *packets*, of one SSRC, open with an AES-CM key of 16 or 32 bytes and its salt."""
    with tempfile.TemporaryDirectory() as directory:
        octets = decrypt_with_gstreamer(packets, key, salt, Path(directory))
    return len(octets) // G711_FRAME


def stream_under(packets: Sequence[RtpPacket], key: bytes, salt: bytes) -> list[RtpPacket]:
    """The packets of the one SSRC whose first packets open with the key."""
    found = []
    for ssrc in sorted({packet.ssrc for packet in packets}):
        stream = [packet for packet in packets if packet.ssrc == ssrc]
        if authentic(stream[:SAMPLE], key, salt) == len(stream[:SAMPLE]):
            found.append(stream)
    assert len(found) == 1, f"the key opens {len(found)} streams"
    return found[0]


def opens_rtcp(packet: bytes, key: bytes, salt: bytes) -> bool:
    """True where an SRTCP packet opens with an AES-CM-128 key."""
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    session = Session(Policy(key=key + salt, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
    try:
        session.unprotect_rtcp(packet)
    except Error:
        return False
    return True


def decode_g711(octets: bytes, payload_type: int) -> bytes:
    """16-bit little-endian samples of PCMU (0) or PCMA (8) octets, by ffmpeg."""
    form = {0: "mulaw", 8: "alaw"}[payload_type]
    argv = [programs.need("ffmpeg"), "-loglevel", "error", "-f", form, "-ar", "8000", "-ac", "1"]
    argv += ["-i", "-", "-f", "s16le", "-"]
    done = subprocess.run(argv, input=octets, capture_output=True, timeout=FFMPEG_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _end_marks(packets: Sequence[RtpPacket], key_and_salt: bytes) -> list[bytes]:
    """Packets that follow the last one. Where the sequence number rolled over they come twice.

    ffmpeg counts a roll-over only among packets that authenticate: it takes the marks of roll-over
    counter 1 after packets under this key, those of 0 after packets under another.
    """
    first, last = packets[0], packets[-1]
    marks = _marks(_sender(key_and_salt), last)
    if last.sequence < first.sequence:
        counting = _sender(key_and_salt)
        counting.protect(first.raw[:12])
        marks += _marks(counting, last)
    return marks


def _sender(key_and_salt: bytes) -> Session:
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    return Session(Policy(key=key_and_salt, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))


def _marks(session: Session, last: RtpPacket) -> list[bytes]:
    timestamp = int.from_bytes(last.raw[4:8], "big")
    marks = []
    for number in range(END_MARKS):
        sequence, time_of = last.sequence + 1 + number, timestamp + 160 * (1 + number)
        header = struct.pack(
            "!BBHII", 0x80, last.payload_type, sequence & 0xFFFF, time_of & 0xFFFFFFFF, last.ssrc
        )
        marks.append(session.protect(header + _mark_payload(number)))
    return marks


def _mark_payload(number: int) -> bytes:
    return bytes([number]) * 160


def _free_port_pair() -> int:
    """An even UDP port whose odd neighbour is free as well."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1]) & ~1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        return port


def _await_queue(port: int) -> None:
    """Return once some process of this network listens on UDP *port* and has read all that came."""
    address = f":{port:04X}"
    deadline = time.monotonic() + FFMPEG_SECONDS
    while time.monotonic() < deadline:
        rows = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
        columns = [row.split() for row in rows if row.split()[1].endswith(address)]
        if columns and all(column[4].endswith(":00000000") for column in columns):
            return
        time.sleep(PROBE_SECONDS)
    raise AssertionError(f"nothing reads UDP {port}")
