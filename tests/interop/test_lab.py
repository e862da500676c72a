"""The lab itself: its referees say yes to what is right, and no to what is wrong."""

from __future__ import annotations

import math
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from sipmikey.testing.process import PeerFailed, Process
from tests.interop.lab import sipp
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.namespace import Namespace, PacketLoss, read_interface_packets
from tests.interop.lab.packets import srtp
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.relay import Network, UdpRelay, sip_hook
from tests.interop.lab.sip import SipMessage
from tests.interop.lab.speech import compare, read_wav

Pair = tuple[socket.socket, socket.socket]
KEY_128, SALT = bytes(range(16)), bytes(range(100, 114))
PACKETS = 100


@pytest.fixture
def pair(network: Namespace) -> Iterator[Pair]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for end in (one, two):
            end.bind(("127.0.0.1", 0))
            end.settimeout(5.0)
        yield one, two


def _send_srtp(speech: Path, key: bytes, sender: socket.socket, to: tuple[str, int]) -> None:
    """PCMU frames of *speech* under AES-CM-128; the sequence number rolls over on the way."""
    samples = read_wav(speech)
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
    for number in range(PACKETS):
        frame = bytes(_mulaw(int(value)) for value in samples[number * 160 : (number + 1) * 160])
        header = struct.pack("!BBHII", 0x80, 0, (65500 + number) & 0xFFFF, number * 160, 0xCAFEBABE)
        sender.sendto(session.protect(header + frame), to)


def _mulaw(sample: int) -> int:
    sign, level = (0x80, min(-sample, 32635)) if sample < 0 else (0, min(sample, 32635))
    level += 132
    exponent = int(math.log2(level)) - 7
    return ~(sign | exponent << 4 | level >> (exponent + 3) & 0xF) & 0xFF


def test_the_private_network_is_private(network: Namespace) -> None:
    before = read_interface_packets()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))
        assert read_interface_packets() > before
        with pytest.raises(OSError, match="unreachable"):
            sender.sendto(b"x", ("192.0.2.1", 9))


def test_decryption_needs_the_key_with_ffmpeg_and_gstreamer(
    capture: Capture, pair: Pair, speech: Path, other_speech: Path, tmp_path: Path
) -> None:
    one, two = pair
    _send_srtp(speech, KEY_128 + SALT, one, two.getsockname())
    packets = capture.rtp()
    assert len(packets) == PACKETS
    heard = srtp.decrypt_with_ffmpeg(packets, KEY_128, SALT, tmp_path)
    assert len(heard) == PACKETS * 320
    assert compare(speech, heard).correlation > 0.95
    assert compare(other_speech, heard).correlation < 0.5
    octets = srtp.decrypt_with_gstreamer(packets, KEY_128, SALT, tmp_path)
    assert srtp.decode_g711(octets, 0) == heard
    wrong = os.urandom(16)
    assert srtp.decrypt_with_ffmpeg(packets, wrong, SALT, tmp_path) == b""
    assert srtp.decrypt_with_gstreamer(packets, wrong, SALT, tmp_path) == b""


def test_kamailio_authenticates_registers_and_forks(kamailio: Kamailio, tmp_path: Path) -> None:
    register = sipp.scenario(
        '<send retrans="500"><![CDATA[\nREGISTER sip:example.test SIP/2.0\n'
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70\n"
        "From: <sip:bob@example.test>;tag=[pid]\nTo: <sip:bob@example.test>\nCall-ID: [call_id]\n"
        "CSeq: 1 REGISTER\nContact: <sip:bob@127.0.0.1:5071>\nContent-Length: 0\n\n]]></send>",
        sipp.receive_response(401, auth=True),
        '<send retrans="500"><![CDATA[\nREGISTER sip:example.test SIP/2.0\n'
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70\n"
        "From: <sip:bob@example.test>;tag=[pid]\nTo: <sip:bob@example.test>\nCall-ID: [call_id]\n"
        "CSeq: 2 REGISTER\nContact: <sip:bob@127.0.0.1:5071>\n"
        "[authentication username=bob password=bob-sip-password]\nContent-Length: 0\n\n]]></send>",
        sipp.receive_response(200),
    )
    with sipp.Sipp(tmp_path, register, port=5080, target="127.0.0.1:5060") as client:
        client.finish()
    assert kamailio.contacts("bob") == ["sip:bob@127.0.0.1:5071"]
    kamailio.bind("bob", "sip:bob@127.0.0.1:5072", q=0.5)
    assert len(kamailio.contacts("bob")) == 2
    wrong = register.replace("bob-sip-password", "guess").replace('response="200"', 'response="401"')
    with sipp.Sipp(tmp_path, wrong, port=5081, target="127.0.0.1:5060") as client:
        client.finish()


def test_a_failed_sipp_scenario_is_reported(kamailio: Kamailio, tmp_path: Path) -> None:
    ask = sipp.scenario(
        "<send><![CDATA[\nINVITE sip:nobody@example.test SIP/2.0\nVia: SIP/2.0/UDP [local_ip]:[local_port];"
        "branch=[branch]\nMax-Forwards: 70\nFrom: <sip:mallory@example.test>;tag=1\n"
        "To: <sip:nobody@example.test>\nCall-ID: [call_id]\nCSeq: 1 INVITE\n"
        "Contact: <sip:m@[local_ip]:[local_port]>\nContent-Length: 0\n\n]]></send>",
        sipp.receive_response(200),
    )
    client = sipp.Sipp(tmp_path, ask, port=5082, target="127.0.0.1:5060")
    with client, pytest.raises(PeerFailed, match="403"):
        client.finish()


def test_the_relay_changes_delays_and_reorders(pair: Pair) -> None:
    one, two = pair
    request = b"INVITE sip:b SIP/2.0\r\nCSeq: 1 INVITE\r\nTo: <sip:b>\r\nContent-Length: 2\r\n\r\nv="

    def strip(message: SipMessage, way: str) -> SipMessage:
        return (
            message.with_content(b"changed") if message.method == "INVITE" and way == "forward" else message
        )

    with UdpRelay(two.getsockname(), hook=sip_hook(strip)) as relay:
        one.sendto(request, relay.address)
        data, back = two.recvfrom(2000)
        assert data.endswith(b"Content-Length: 7\r\n\r\nchanged")
        two.sendto(request, back)
        assert one.recv(2000) == request
    with UdpRelay(two.getsockname(), network=Network(jitter=0.05), seed=1) as relay:
        for number in range(50):
            one.sendto(bytes([number]), relay.address)
        received = [two.recv(10)[0] for _ in range(50)]
    assert sorted(received) == list(range(50))
    assert received != sorted(received)


def test_a_failing_hook_fails_the_test(pair: Pair) -> None:
    one, two = pair

    def broken(data: bytes, way: str) -> bytes:
        raise ZeroDivisionError

    relay = UdpRelay(two.getsockname(), hook=broken).__enter__()
    one.sendto(b"x", relay.address)
    assert two.recv(10) == b"x"
    with pytest.raises(ZeroDivisionError):
        relay.__exit__()


def test_packet_loss_loses_packets(pair: Pair) -> None:
    one, two = pair
    with PacketLoss(100.0, str(two.getsockname()[1])) as loss:
        for _ in range(10):
            one.sendto(b"lost", two.getsockname())
        assert loss.lost() == 10
    one.sendto(b"kept", two.getsockname())
    assert two.recv(10) == b"kept"


def test_a_peer_that_ends_early_is_reported_with_its_output() -> None:
    with Process(["sh", "-c", "echo first; echo last"]) as peer:
        assert peer.wait_for("last") == 1
        with pytest.raises(PeerFailed, match="last"):
            peer.wait_for("never")
        assert peer.wait() == 0
