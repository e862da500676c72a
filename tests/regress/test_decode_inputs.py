"""`sipmikey decode` reads what people have at hand, says one sentence about the rest, and is linear."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.cli.main import main
from sipmikey.decode.hexdump import read_octets
from sipmikey.decode.packets import Reassembly, network_layer
from sipmikey.decode.sources import find
from tests.cli.decode.decoding import B64, MEDIA_LEVEL, SESSION_LEVEL, TRANSFER_INIT, as_json, sip
from tests.cli.decode.test_decode_capture import capture, packet

MESSAGE = TRANSFER_INIT


def _rows(octets: bytes, width: int = 16) -> list[tuple[int, bytes]]:
    return [(at, octets[at : at + width]) for at in range(0, len(octets), width)]


def _text(piece: bytes) -> str:
    return "".join(chr(octet) if 32 <= octet < 127 else "." for octet in piece)


def xxd(octets: bytes) -> str:
    return "\n".join(
        f"{at:08x}: {' '.join(piece[n : n + 2].hex() for n in range(0, len(piece), 2)):39}  {_text(piece)}"
        for at, piece in _rows(octets)
    )


def hexdump_c(octets: bytes) -> str:
    lines = [
        f"{at:08x}  {piece[:8].hex(' '):23}  {piece[8:].hex(' '):23}  |{_text(piece)}|"
        for at, piece in _rows(octets)
    ]
    return "\n".join([*lines, f"{len(octets):08x}"])


def hexdump(octets: bytes) -> str:
    even = octets + bytes(len(octets) % 2)
    lines = [
        f"{at:07x} {' '.join(piece[n : n + 2][::-1].hex() for n in range(0, len(piece), 2))}"
        for at, piece in _rows(even)
    ]
    return "\n".join([*lines, f"{len(octets):07x}"])


def od(octets: bytes) -> str:
    lines = [f"{at:07o} {piece.hex(' ')}" for at, piece in _rows(octets)]
    return "\n".join([*lines, f"{len(octets):07o}"])


def wireshark(octets: bytes) -> str:
    return "\n".join(f"{at:04x}   {piece.hex(' '):47}   {_text(piece)}" for at, piece in _rows(octets))


def wireshark_bare(octets: bytes) -> str:
    return "\n".join(f"{at:04x}   {piece.hex(' ')}" for at, piece in _rows(octets))


def tcpdump(octets: bytes) -> str:
    lines = [f"\t0x{line[4:]}".replace(": ", ":  ", 1) for line in xxd(octets).splitlines()]
    return "\n".join(["12:00:00.000000 IP 192.0.2.1.5060 > 192.0.2.2.5060: SIP", *lines])


def c_array(octets: bytes) -> str:
    numbers = ", ".join(f"0x{octet:02x}" for octet in octets)
    return f"/* Frame (552 bytes) */\nstatic const unsigned char pkt1[552] = {{\n{numbers}\n}};\n"


def escaped(octets: bytes) -> str:
    lines = ["".join(f"\\x{octet:02x}" for octet in piece) for _, piece in _rows(octets)]
    return "\n".join(f'"{line}" \\' for line in lines)


DUMPS = (xxd, hexdump_c, od, wireshark, wireshark_bare, c_array, escaped)


@pytest.mark.parametrize("write", [*DUMPS, hexdump, lambda octets: repr(octets), lambda o: str(list(o))])
def test_hex_dumps_as_people_paste_them(write: Callable[[bytes], str]) -> None:
    (found,) = find(write(MESSAGE).encode())
    assert found.data[: len(MESSAGE)] == MESSAGE
    assert len(found.data) <= len(MESSAGE) + 1


@pytest.mark.parametrize("write", [xxd, hexdump_c, wireshark, c_array, tcpdump])
def test_dumps_of_whole_frames(write: Callable[[bytes], str]) -> None:
    frame = packet(sip(SESSION_LEVEL))
    octets = frame[14:] if write is tcpdump else frame
    assert [item.data for item in find(write(octets).encode())] == [MESSAGE]


def test_a_dump_of_a_sip_message_quoted_in_a_mail() -> None:
    quoted = "Hello,\n\n" + "\n".join(f"> {line}" for line in hexdump_c(sip(MEDIA_LEVEL)).splitlines())
    assert [item.data for item in find(quoted.encode())] == [MESSAGE]


def test_repeated_lines_of_hexdump_are_filled_in() -> None:
    octets = bytes.fromhex("010e0500") + bytes(76) + b"end."
    lines = hexdump_c(octets).splitlines()
    short = [*lines[:2], "*", *lines[5:]]
    assert read_octets("\n".join(short)) == octets


@given(st.sampled_from(DUMPS), st.binary(min_size=24, max_size=200))
def test_every_dump_gives_its_octets(write: Callable[[bytes], str], octets: bytes) -> None:
    assert read_octets(write(octets)) == octets


@given(st.binary(min_size=16, max_size=200))
def test_hex_and_base64_without_offsets_are_no_dump(octets: bytes) -> None:
    for text in (octets.hex(), octets.hex(" "), base64.b64encode(octets).decode()):
        assert read_octets(text) is None
    lines = "\n".join(piece.hex() for _, piece in _rows(octets, 7))
    assert read_octets(lines) in (None, octets)


@given(st.text(max_size=300))
def test_any_text_is_taken_or_not(text: str) -> None:
    read_octets(text)
    find(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", ["hexdump -C", "xxd", "od -An -tx1 -v", "od -t x1 -v"])
def test_what_the_tools_print(name: str) -> None:
    words = name.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, input=MESSAGE, capture_output=True, check=True)
    assert [item.data for item in find(done.stdout)] == [MESSAGE]


KEY_MGMT = f'KeyMgmt: prot=mikey;uri="rtsp://192.0.2.2/a";data="{B64}"'
SETUP = f"SETUP rtsp://192.0.2.2/a RTSP/1.0\r\nCSeq: 3\r\n{KEY_MGMT}\r\n\r\n"
DESCRIBED = (
    "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\n"
    f"Content-Length: {len(SESSION_LEVEL)}\r\n\r\n{SESSION_LEVEL}"
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (SETUP, 1),
        (DESCRIBED, 1),
        (SETUP + DESCRIBED, 2),
        (f"12:00:01 camera says: {SETUP}", 1),
        (KEY_MGMT, 1),
        (KEY_MGMT.replace(";data", ";\r\n data"), 1),
        (KEY_MGMT.replace("=mikey", '="mikey"').lower().replace(B64.lower(), B64), 1),
        (f'{KEY_MGMT}, prot=mikey;uri="x";data="{B64}"', 2),
    ],
)
def test_rtsp(text: str, count: int) -> None:
    assert [item.data for item in find(text.encode())] == [MESSAGE] * count


def test_a_broken_keymgmt_header_is_told() -> None:
    (found,) = find(b"KeyMgmt: prot=mikey; uri=x\r\n")
    assert found.problems


def test_rtsp_in_a_capture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    frames = [packet(SETUP.encode(), tcp=1), packet(DESCRIBED.encode(), tcp=1 + len(SETUP))]
    documents = as_json(capsys, capture(tmp_path / "c.pcap", frames))
    assert [item["name"] for item in documents] == ["TRANSFER_INIT"] * 2


@pytest.mark.parametrize(
    "document",
    [
        {"sdp": SESSION_LEVEL},
        {"type": "offer", "nested": [{"deep": {"jsep": MEDIA_LEVEL}}]},
        [B64],
        {"sip": sip(SESSION_LEVEL).decode()},
        {"message": MESSAGE.hex()},
    ],
)
def test_sdp_inside_json(document: object) -> None:
    for text in (json.dumps(document), json.dumps(document, indent=2), f"{json.dumps(document)}\n"):
        assert [item.data for item in find(text.encode())] == [MESSAGE]


def test_json_lines_and_escaped_text_in_a_log() -> None:
    lines = f"{json.dumps({'event': 'x'})}\nno json\n{json.dumps({'sdp': SESSION_LEVEL})}\n"
    assert [item.data for item in find(lines.encode())] == [MESSAGE]
    logged = f"DEBUG sending {json.dumps(SESSION_LEVEL)} to peer"
    assert [item.data for item in find(logged.encode())] == [MESSAGE]
    assert find(json.dumps({"word": "no message in here at all", "n": [1, None, True]}).encode()) == []


@pytest.mark.parametrize("next_generation", [False, True])
def test_a_capture_in_gzip_and_from_standard_input(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    next_generation: bool,
) -> None:
    plain = Path(capture(tmp_path / "c", [packet(sip(SESSION_LEVEL))], next_generation=next_generation))
    packed = tmp_path / "c.pcap.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()[:40]) + gzip.compress(plain.read_bytes()[40:]))
    assert as_json(capsys, str(packed))[0]["name"] == "TRANSFER_INIT"
    for path in (plain, packed):
        with path.open("rb") as file:
            monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": file}))
            assert as_json(capsys, "-")[0]["name"] == "TRANSFER_INIT"
    packed.write_bytes(gzip.compress(plain.read_bytes())[:-9])
    assert main(["decode", str(packed)]) == 0
    capsys.readouterr()


def _fragments6(payload: bytes, size: int = 1200) -> list[bytes]:
    """Return the datagram as IPv6 packets with a fragment header."""
    whole = bytes(dpkt.udp.UDP(sport=5060, dport=5060, ulen=8 + len(payload), sum=1, data=payload))
    frames = []
    for at in range(0, len(whole), size):
        piece = whole[at : at + size]
        more = at + size < len(whole)
        header = struct.pack(">BBHI", 17, 0, at | more, 77)
        length = len(header) + len(piece)
        frames.append(
            struct.pack(">IHBB", 6 << 28, length, 44, 64)
            + bytes(15)
            + b"\1"
            + bytes(15)
            + b"\2"
            + header
            + piece
        )
    return frames


@pytest.mark.parametrize("order", [1, -1])
def test_fragments_of_ipv6(capsys: pytest.CaptureFixture[str], tmp_path: Path, order: int) -> None:
    filler = "a=x:" + "y" * 3000 + "\r\n"
    frames = _fragments6(sip(SESSION_LEVEL.replace("t=0 0\r\n", "t=0 0\r\n" + filler)))
    assert len(frames) > 2
    path = tmp_path / "c.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=101)
        for second, frame in enumerate([frames[0], *frames][::order]):
            writer.writepkt(frame, ts=1000.0 + second)
    (document,) = as_json(capsys, str(path))
    assert document["name"] == "TRANSFER_INIT"
    assert "[::1]:5060 > [::2]:5060" in document["where"]


def test_fragments_that_overlap_give_the_datagram_and_hostile_ones_nothing() -> None:
    reassembly = Reassembly()
    first, second, *_ = _fragments6(b"x" * 2000)
    network = network_layer(101, first)
    assert reassembly.transport(network) is None
    assert reassembly.transport(network) is None
    whole = reassembly.transport(network_layer(101, second))
    assert whole is not None
    assert whole.data == b"x" * 2000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nosuch.pcap"], "nosuch.pcap: no such file"),
        (["./nosuch"], "./nosuch: no such file"),
        (["{folder}"], "is a directory"),
        (["{folder}/empty.txt"], "no MIKEY message in the input"),
        (["{folder}/picture.png"], "no MIKEY message in the input"),
        (["{folder}/archive.zip"], "no MIKEY message in the input"),
        (["{folder}/damaged.gz"], "damaged gzip data"),
        (["{folder}/cut.pcap"], "not a capture file that can be read"),
    ],
)
def test_odd_files_get_a_sentence_and_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], sentence: str
) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    (tmp_path / "archive.zip").write_bytes(b"PK\3\4" + bytes(200))
    (tmp_path / "damaged.gz").write_bytes(b"\x1f\x8b\x08" + b"\xff" * 50)
    (tmp_path / "cut.pcap").write_bytes(b"\xa1\xb2\xc3\xd4\0")
    assert main(["decode", *(word.format(folder=tmp_path) for word in words)]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_packed_bomb_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(300 << 20), 1))
    assert main(["decode", str(path)]) == 2
    assert "MiB unpacked" in capsys.readouterr().err


class _Steps:
    """Counts the lines of the package that run, which a quadratic reader multiplies."""

    def __init__(self) -> None:
        self.count = 0

    def trace(self, frame: object, event: str, _: object) -> object:
        self.count += event == "line"
        return self.trace

    def of(self, octets: bytes) -> int:
        self.count = 0
        sys.settrace(self.trace)  # type: ignore[arg-type]
        try:
            find(octets)
        finally:
            sys.settrace(None)
        return self.count


@pytest.mark.parametrize(
    "piece",
    [
        b"A a SIP/2.0\r\n\r\n",
        b"A a SIP/2.0\n\n",
        b"OPTIONS x RTSP/1.0\r\nKeyMgmt: prot=mikey;data=\r\n\r\n",
        b"a=key-mgmt:mikey AQsFAQAAAAA=\r\n",
        b'{"a": "key-mgmt:mikey AQsFAQAAAAAB"}\n',
        b"0x01, ",
        b"/* ",
        b"00000000  01 02 03 04\n",
        b'KeyMgmt: prot=mikey;uri="";data="AQ=="\r\n',
    ],
)
def test_the_work_grows_with_the_input_and_no_faster(piece: bytes) -> None:
    steps = _Steps()
    once, twice = steps.of(piece * 300), steps.of(piece * 600)
    assert twice <= 2.2 * once + 2000
