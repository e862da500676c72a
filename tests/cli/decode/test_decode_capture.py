"""`sipmikey decode` of capture files, and the ladders drawn from them."""

from __future__ import annotations

from pathlib import Path

import dpkt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipmikey.cli.decode.ladder import capture_steps
from sipmikey.cli.main import main
from sipmikey.decode.capture import Message as Captured
from sipmikey.decode.sources import TextMessage
from tests.cli.decode.decoding import (
    MEDIA_LEVEL,
    MESSAGES,
    SESSION_LEVEL,
    TRANSFER_INIT,
    as_json,
    decode,
    sip,
)


def packet(payload: bytes, *, tcp: int | None = None, fragment: tuple[int, bool] | None = None) -> bytes:
    """Return an Ethernet frame with a datagram, a segment of a TCP stream, or a fragment."""
    if tcp is None:
        inner: object = dpkt.udp.UDP(sport=5060, dport=5060, ulen=8 + len(payload), data=payload)
        protocol = dpkt.ip.IP_PROTO_UDP
    else:
        inner = dpkt.tcp.TCP(sport=5060, dport=5061, seq=tcp, flags=dpkt.tcp.TH_ACK, data=payload)
        protocol = dpkt.ip.IP_PROTO_TCP
    if fragment is not None:
        inner, protocol = payload, dpkt.ip.IP_PROTO_UDP
    ip = dpkt.ip.IP(src=b"\xc0\0\2\1", dst=b"\xc0\0\2\2", p=protocol, id=77, data=inner)
    if fragment is not None:
        offset, more = fragment
        ip._flags_offset = (0x2000 if more else 0) | offset >> 3
    ip.len = len(ip)
    return bytes(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, type=0x0800, data=ip))


def capture(path: Path, frames: list[bytes], *, next_generation: bool = False) -> str:
    with path.open("wb") as file:
        writer = (dpkt.pcapng if next_generation else dpkt.pcap).Writer(file)
        for second, frame in enumerate(frames):
            writer.writepkt(frame, ts=1000.0 + second)
    return str(path)


@pytest.mark.parametrize("next_generation", [False, True])
class TestCapture:
    def test_sip_over_udp(self, capsys, tmp_path, next_generation):
        path = capture(tmp_path / "c", [packet(sip(SESSION_LEVEL))], next_generation=next_generation)
        (document,) = as_json(capsys, path)
        assert document["name"] == "TRANSFER_INIT"
        assert "192.0.2.1:5060 > 192.0.2.2:5060" in document["where"]

    def test_sip_over_tcp_in_pieces_out_of_order_and_twice(self, capsys, tmp_path, next_generation):
        octets = sip(MEDIA_LEVEL) + sip(SESSION_LEVEL)
        pieces = [(at, octets[at : at + 300]) for at in range(0, len(octets), 300)]
        frames = [
            packet(piece, tcp=0xFFFFFF00 + at & 0xFFFFFFFF) for at, piece in [*pieces[:1], *pieces[:0:-1]]
        ]
        path = capture(tmp_path / "c", [*frames, frames[1]], next_generation=next_generation)
        documents = as_json(capsys, path)
        assert [item["name"] for item in documents] == ["TRANSFER_INIT"] * 2
        assert "media level" in documents[0]["where"]

    def test_datagram_in_fragments(self, capsys, tmp_path, next_generation):
        payload = sip(SESSION_LEVEL)
        whole = bytes(dpkt.udp.UDP(sport=5060, dport=5060, ulen=8 + len(payload), data=payload))
        cut = len(whole) // 2 & ~7
        frames = [
            packet(whole[cut:], fragment=(cut, False)),
            packet(whole[:cut], fragment=(0, True)),
        ]
        path = capture(tmp_path / "c", frames, next_generation=next_generation)
        assert as_json(capsys, path)[0]["name"] == "TRANSFER_INIT"

    def test_bare_mikey_and_http(self, capsys, tmp_path, next_generation):
        http = (
            b"POST /keymanagement?requesttype=ticketrequest HTTP/1.1\r\nHost: kms\r\n"
            b"Content-Type: application/mikey\r\nContent-Length: %d\r\n\r\n" % len(MESSAGES["request_init"])
        ) + MESSAGES["request_init"]
        frames = [packet(TRANSFER_INIT), packet(http, tcp=1)]
        path = capture(tmp_path / "c", frames, next_generation=next_generation)
        assert {item["name"] for item in as_json(capsys, path)} == {"TRANSFER_INIT", "REQUEST_INIT_PSK"}

    def test_a_request_after_a_body_that_ends_in_a_letter(self, capsys, tmp_path, next_generation):
        message = MESSAGES["request_init"][:-1] + b"K"
        http = (
            b"POST /keymanagement?requesttype=ticketrequest HTTP/1.1\r\nHost: kms\r\n"
            b"Content-Type: application/mikey\r\nContent-Length: %d\r\n\r\n" % len(message)
        ) + message
        path = capture(tmp_path / "c", [packet(http + http, tcp=1)], next_generation=next_generation)
        assert [item["name"] for item in as_json(capsys, path)] == ["REQUEST_INIT_PSK"] * 2

    def test_ladder(self, capsys, tmp_path, next_generation):
        frames = [packet(sip(SESSION_LEVEL)), packet(b"SIP/2.0 180 Ringing\r\n\r\n")]
        path = capture(tmp_path / "c", frames, next_generation=next_generation)
        out = decode(capsys, path, "--ladder")
        assert "INVITE [TRANSFER_INIT]" in out
        assert "180 Ringing" in out
        assert "192.0.2.1:5060" in out

    @given(data=st.data())
    @settings(
        max_examples=40,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    def test_damaged_captures_never_end_in_an_internal_error(self, capsys, tmp_path, next_generation, data):
        frames = [packet(sip(SESSION_LEVEL)), packet(sip(MEDIA_LEVEL), tcp=9), packet(TRANSFER_INIT)]
        path = Path(capture(tmp_path / "c", frames, next_generation=next_generation))
        octets = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            octets[data.draw(st.integers(4, len(octets) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(octets[: data.draw(st.integers(4, len(octets)))])
        assert main(["decode", str(path), "--ladder"]) in (0, 2, 5)
        assert main(["decode", str(path), "--json"]) in (0, 2, 5)
        capsys.readouterr()


class TestLadderNames:
    """Lanes of a capture: a party's ports share one, a proxy keeps its address."""

    def message(self, source: int, target: int, start: str, *, vias: int = 1, cseq: str = "1 INVITE"):
        headers = (
            *(("via", f"SIP/2.0/UDP 192.0.2.{n}") for n in range(vias)),
            ("from", '"A" <sip:alice@example.com>;tag=1'),
            ("to", "sip:bob@example.com;tag=2"),
            ("call-id", "x"),
            ("cseq", cseq),
        )
        content = TextMessage(start=start, headers=headers, body=b"")
        return Captured(
            time=0.0, source=("192.0.2.1", source), target=("192.0.2.1", target), label=start,
            content=content, found=(),
        )  # fmt: skip

    def lanes(self, *messages) -> list[tuple[str, str]]:
        return [(step.source, step.target) for step in capture_steps(messages)]

    def test_user_agents_are_called_by_their_identities(self):
        invite = "INVITE sip:bob@example.com SIP/2.0"
        assert self.lanes(self.message(1, 2, invite), self.message(2, 1, "SIP/2.0 200 OK")) == [
            ("sip:alice@example.com", "sip:bob@example.com"),
            ("sip:bob@example.com", "sip:alice@example.com"),
        ]

    def test_a_proxy_keeps_its_address(self):
        invite = "INVITE sip:bob@example.com SIP/2.0"
        lanes = self.lanes(
            self.message(1, 9, invite),
            self.message(9, 2, invite, vias=2),
            self.message(2, 9, "SIP/2.0 200 OK", vias=2),
            self.message(9, 1, "SIP/2.0 200 OK"),
        )
        assert lanes[0] == ("sip:alice@example.com", "192.0.2.1:9")
        assert lanes[1] == ("192.0.2.1:9", "192.0.2.1:2")

    def test_an_address_of_two_names_keeps_its_address(self):
        lanes = self.lanes(
            self.message(1, 2, "INVITE sip:bob@example.com SIP/2.0"),
            self.message(1, 3, "SIP/2.0 200 OK", cseq="7 OPTIONS"),
        )
        assert lanes[0][0] == "192.0.2.1:1"
