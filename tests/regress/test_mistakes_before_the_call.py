"""A user's mistake is named before anybody is called, with exit code 2; it is never a bug of sipmikey."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.media.g711 import PCMA
from sipmikey.media.wav import read_frames, read_wav, to_16_bits
from sipmikey.mikey.errors import LocalError
from tests.cli.commands import Start
from tests.interop.lab.peer import SipPeer

ALICE = ["--identity", "sip:alice@example.com", "--listen", "127.0.0.1:0", "--null-audio"]
IN_CLEAR = [*ALICE, "--security", "off"]
WITH_KMS = [*ALICE, "--kms-identity", "sip:kms@example.com"]
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def wav(
    data: bytes, *, coding: int = 1, bits: int = 16, rate: int = 8000, channels: int = 1,
    before: bytes = b"", extensible: bool = False,
) -> bytes:  # fmt: skip
    """A WAV file. *before*: chunks in front of the audio."""
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else coding, channels, rate, rate * block, block, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 4, coding) + GUID_TAIL
    chunks = (
        b"fmt " + struct.pack("<I", len(form)) + form + before + b"data" + struct.pack("<I", len(data)) + data
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


HALF_SECOND = struct.pack("<4000h", *((number * 97) % 20000 - 10000 for number in range(4000)))
PLAYED = {
    "extensible": wav(HALF_SECOND, extensible=True),
    "float": wav(struct.pack("<4000f", *(number / 4000 for number in range(4000))), coding=3, bits=32),
    "24 bits": wav(HALF_SECOND + HALF_SECOND[:4000], bits=24),
    "8 bits": wav(HALF_SECOND, bits=8),
    "odd chunk": wav(HALF_SECOND, before=b"bext\x05\x00\x00\x00abcde\x00"),
    "stereo": wav(HALF_SECOND, channels=2, rate=44100),
    "unfinished": wav(HALF_SECOND)[:40] + b"\xff\xff\xff\xff" + HALF_SECOND,
}
NOT_PLAYED = {
    "empty": b"",
    "text": b"play me",
    "mp3": b"ID3" + bytes(40),
    "no audio": wav(b""),
    "adpcm": wav(HALF_SECOND, coding=2, bits=16),
    "six channels": wav(HALF_SECOND[:4800], channels=6),
    "cut in its format": wav(HALF_SECOND)[:30],
    "no data": wav(HALF_SECOND)[:36],
}


@pytest.mark.parametrize("name", PLAYED)
def test_wav_files_of_linear_pcm_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(PLAYED[name])
    audio = read_wav(path)
    assert not audio.plain or name == "stereo"
    assert len(to_16_bits(audio)) >= 4000
    assert read_frames(path, PCMA)


@pytest.mark.parametrize("name", ["extensible", "odd chunk", "float"])
def test_a_call_plays_them(name: str, command: Start, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(PLAYED[name])
    bob = command("answer", "--auto", "--once", *IN_CLEAR, "--json", "--identity", "sip:bob@example.com")
    contact = bob.until("agent.ready")["contact"]
    words = ["--via", contact, "--play", str(path), "--json"]
    alice = command("call", "sip:bob@example.com", *IN_CLEAR, *words)
    alice.until("audio.played")
    alice.process.terminate()
    assert alice.finish() == 0, alice.stderr
    assert bob.finish() == 0, bob.stderr


@pytest.mark.parametrize("name", NOT_PLAYED)
def test_what_cannot_be_played_is_named_before_the_call(name: str, command: Start, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(NOT_PLAYED[name])
    with pytest.raises(LocalError, match=r"x\.wav"):
        read_wav(path)
    if name in ("text", "no audio"):
        assert refused(command, "--play", str(path)).startswith("sipmikey: media.play:")


def refused(command: Start, *words: str, to: str = "sip:bob@example.com") -> str:
    """Call with a mistake in *words*: nobody is called, the exit code is 2; return what was said."""
    with SipPeer("bob") as peer:
        alice = command("call", to, "--via", f"sip:{peer.hostport}", *IN_CLEAR, *words)
        assert alice.process.wait(timeout=60) == 2
        assert alice.process.stdout is not None
        assert alice.process.stdout.read() == ""
        assert peer.received == []
    errors = [line for line in alice.errors().splitlines() if not line.startswith("warning:")]
    assert "bug" not in errors[-1]
    return errors[-1]


@pytest.mark.parametrize(
    ("words", "to", "said"),
    [
        (["--via", "tel:1"], "sip:bob@example.com", "via: 'tel:1'"),
        (["--via", "127.0.0.1"], "sip:bob@example.com", "via: '127.0.0.1'"),
        (["--via", "sip:127.0.0.1:99999"], "sip:bob@example.com", "port"),
        (["--registrar", "sip:127.0.0.1:99999"], "sip:bob@example.com", "sip.registrar"),
        ([], 'sip:b"b@example.com', "not a SIP URI"),
        ([], "sips:bob@example.com", "add tls to sip.transports"),
    ],
)
def test_what_nothing_can_be_sent_to_is_named(words: list[str], to: str, said: str, command: Start) -> None:
    assert said in refused(command, *words, to=to)


def test_files_that_cannot_be_played_or_written_over_are_named(command: Start, tmp_path: Path) -> None:
    played = tmp_path / "x.wav"
    played.write_bytes(wav(HALF_SECOND))
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe, not a file" in refused(command, "--play", str(tmp_path / "pipe"))
    for record in (tmp_path, tmp_path / "pipe"):
        assert "media.record" in refused(command, "--record", str(record))
    assert "media.play plays" in refused(command, "--play", str(played), "--record", str(played))


@pytest.mark.parametrize("codec", ["opus9", "L16", "l16"])
def test_codecs_that_cannot_be_had_are_refused_at_start(codec: str, command: Start, tmp_path: Path) -> None:
    file = tmp_path / "alice.toml"
    file.write_text(f'[media]\ncodecs = ["PCMA", "{codec}"]\n')
    assert f"no codec {codec.upper()}" in refused(command, "--config", str(file))


@pytest.mark.parametrize("port", ["99999", "abc", "0", "-1"])
def test_a_bad_port_in_the_url_of_the_kms(port: str, command: Start, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("00" * 32)
    key.chmod(0o600)
    with SipPeer("bob") as peer:
        words = ["--via", f"sip:{peer.hostport}", "--kms", f"http://127.0.0.1:{port}", "--psk-file", str(key)]
        alice = command("call", "sip:bob@example.com", *WITH_KMS, *words)
        assert alice.process.wait(timeout=60) == 2
        assert peer.received == []
    assert "URL" in alice.errors()


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda end: wav(HALF_SECOND[:64])[:44] + end))
def test_any_file_is_read_or_refused_with_a_typed_error(octets: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(octets)
        file.flush()
        with contextlib.suppress(LocalError):
            to_16_bits(read_wav(file.name))
