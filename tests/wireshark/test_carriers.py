"""The dissector finds messages wherever they travel, and takes keys from a key file."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import dpkt
import pytest

from sipmikey.agent.group.wire import GroupMessage
from sipmikey.cli.main import main
from sipmikey.decode.capture import messages
from sipmikey.deferred.deposit import Deposit
from tests.cli.decode.decoding import B64, FULL, MEDIA_LEVEL, MESSAGES, SESSION_LEVEL, TRANSFER_INIT, sip
from tests.wireshark import sequences
from tests.wireshark.agreement import check_dissector
from tests.wireshark.reading import SCRIPT, dissected, tshark, write_capture

REQUEST = MESSAGES["request_init"]
KEY_MGMT = f'KeyMgmt: prot=mikey; uri="rtsp://192.0.2.2/a"; data="{B64}"'.encode()


def _udp(octets: bytes) -> bytes:
    inner = dpkt.udp.UDP(sport=5060, dport=5060, ulen=8 + len(octets), data=octets)
    return _frame(inner, dpkt.ip.IP_PROTO_UDP)


def _tcp(octets: bytes, port: int) -> bytes:
    inner = dpkt.tcp.TCP(
        sport=40000, dport=port, seq=1, flags=dpkt.tcp.TH_ACK | dpkt.tcp.TH_PUSH, data=octets
    )
    return _frame(inner, dpkt.ip.IP_PROTO_TCP)


def _frame(inner: dpkt.Packet, protocol: int) -> bytes:
    ip = dpkt.ip.IP(src=b"\xc0\0\2\1", dst=b"\xc0\0\2\2", p=protocol, id=77, data=inner)
    ip.len = len(ip)
    return bytes(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, type=0x0800, data=ip))


def _capture(path: Path, *frames: bytes) -> Path:
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for second, frame in enumerate(frames):
            writer.writepkt(frame, ts=1000.0 + second)
    return path


def _http(body: bytes) -> bytes:
    return (
        b"POST /keymanagement?requesttype=ticketrequest HTTP/1.1\r\nHost: kms\r\n"
        b"Content-Type: application/mikey\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def _rtsp(*headers: bytes, body: bytes = b"") -> bytes:
    kind = b"Content-Type: application/sdp\r\nContent-Length: %d\r\n" % len(body) if body else b""
    return b"\r\n".join((b"RTSP/1.0 200 OK", b"CSeq: 1", *headers)) + b"\r\n" + kind + b"\r\n" + body


def _deposit(transfer_init: bytes) -> bytes:
    srtp, report = b"\x80\x08" + bytes(30), b"\x80\xc8" + bytes(30)
    body = Deposit(transfer_init=transfer_init, packets=(srtp,), closing=report).encode()
    head = b"POST /mailbox/bob HTTP/1.1\r\nHost: box\r\nContent-Type: application/vnd.sipmikey.deposit\r\n"
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def _group(verb: str, octets: bytes) -> bytes:
    body = GroupMessage(group="sip:talk@example.com", verb=verb, octets=octets).encode().encode()
    return b"\r\n".join(
        (
            b"MESSAGE sip:bob@example.com SIP/2.0", b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            b"From: <sip:alice@example.com>;tag=a", b"To: <sip:bob@example.com>", b"Call-ID: 1",
            b"CSeq: 1 MESSAGE", b"Content-Type: application/vnd.sipmikey.group+json",
            b"Content-Length: %d" % len(body), b"", body,
        )
    )  # fmt: skip


CARRIERS = {
    "session level of SDP": (_udp(sip(SESSION_LEVEL)), TRANSFER_INIT),
    "media level of SDP": (_udp(sip(MEDIA_LEVEL)), TRANSFER_INIT),
    "HTTP": (_tcp(_http(REQUEST), 80), REQUEST),
    "HTTP in base64": (_tcp(_http(base64.b64encode(REQUEST)), 80), REQUEST),
    "HTTP in base64 with line breaks": (_tcp(_http(base64.encodebytes(REQUEST)), 80), REQUEST),
    "KeyMgmt of RTSP": (_tcp(_rtsp(KEY_MGMT), 554), TRANSFER_INIT),
    "folded KeyMgmt of RTSP": (_tcp(_rtsp(KEY_MGMT.replace(b"; data", b";\r\n data")), 554), TRANSFER_INIT),
    "the key of a group": (_udp(_group("key", TRANSFER_INIT)), TRANSFER_INIT),
    "a deposit": (_tcp(_deposit(TRANSFER_INIT), 80), TRANSFER_INIT),
    "SDP in RTSP": (_tcp(_rtsp(body=SESSION_LEVEL.encode()), 554), TRANSFER_INIT),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_message_is_found_and_every_octet_named(carrier: str, tmp_path: Path) -> None:
    frame, message = CARRIERS[carrier]
    (said,) = dissected(_capture(tmp_path / "c.pcap", frame))
    assert said.name == ("TRANSFER_INIT" if message is TRANSFER_INIT else "REQUEST_INIT_PSK")
    assert (said.wrong, said.unnamed) == ((), ())
    assert check_dissector(_capture(tmp_path / "c.pcap", frame)) == 1


def test_what_the_members_of_a_group_say_is_not_taken_for_mikey(tmp_path: Path) -> None:
    capture = _capture(tmp_path / "c.pcap", _udp(_group("said", TRANSFER_INIT)))
    assert (dissected(capture, filtered=True), messages(capture)[0].found) == ([], ())


def test_a_display_filter_finds_what_is_wrong(tmp_path: Path) -> None:
    broken = TRANSFER_INIT[:-1]
    capture = write_capture(tmp_path / "c.pcap", [TRANSFER_INIT, broken])
    assert tshark(capture, "-Y", "mikey_ticket.wrong", "-T", "fields", "-e", "frame.number").split() == ["2"]
    assert tshark(
        capture, "-Y", 'mikey_ticket.id == "sip:alice@example.com"', "-T", "fields", "-e", "frame.number"
    ).split() == ["1", "2"]


def test_keys_are_learnt_from_messages_that_come_later(tmp_path: Path) -> None:
    """A TRANSFER_INIT is sent before the KMS gives the callee its keys: the second look verifies it."""
    psks = [FULL["credentials"][party]["psk"] for party in ("initiator", "responder")]
    keys = tmp_path / "keys.txt"
    keys.write_text("".join(f"psk {key}\n" for key in psks))
    names = ("transfer_init", "request_init", "request_resp")
    found = dissected(write_capture(tmp_path / "c.pcap", [MESSAGES[name] for name in names]), keys)
    assert [len(said.proven) for said in found] == [2, 1, 1]


def test_decode_writes_the_key_file(tmp_path: Path) -> None:
    psk, keys = FULL["credentials"]["initiator"]["psk"], tmp_path / "keys.txt"
    words = ["decode", "--psk", psk, "--tpk", FULL["credentials"]["tpk"], "--kms", "sip:kms@example.com"]
    capture = write_capture(tmp_path / "c.pcap", [REQUEST, MESSAGES["request_resp"]])
    assert main([*words, "--wireshark-keys", str(keys), REQUEST.hex()]) == 0
    assert keys.stat().st_mode & 0o777 == 0o600
    assert [len(said.proven) for said in dissected(capture, keys)] == [1, 2]
    assert main([*words, "--wireshark-keys", str(keys), REQUEST.hex()]) == 2


def test_a_faulty_key_file_is_told_without_its_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("psk 00112233445566778899aabbccddeefg\n# a comment\n\ntpk abcd\n")
    shown = tshark(write_capture(tmp_path / "c.pcap", [REQUEST]), "-V", keys=keys)
    assert "key file: line 1 is not" in shown
    assert "key file: line 4 is not" in shown
    assert "00112233" not in shown
    absent = tshark(write_capture(tmp_path / "c.pcap", [REQUEST]), "-V", keys=tmp_path / "absent")
    assert "the key file cannot be opened" in absent


def test_it_works_from_the_folder_of_plugins(tmp_path: Path) -> None:
    plugins = tmp_path / ".local" / "lib" / "wireshark" / "plugins"
    shutil.copytree(SCRIPT.parent, plugins, ignore=shutil.ignore_patterns("*.md"))
    vector = sequences.exchanges(sequences.OWN)["full-256-forking"]
    capture = write_capture(tmp_path / "c.pcap", sequences.messages(vector))
    done = subprocess.run(
        ["tshark", "-n", "-r", str(capture), "-T", "fields", "-e", "mikey_ticket.verdict"],
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\n")[:-1] == ["well formed"] * 6
    assert "Lua" not in done.stderr
