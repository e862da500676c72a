"""What an IMS network wants of a user agent: headers as configured, and a clear no to preconditions."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from sipmikey.sip import SipMessage
from tests.cli.commands import ALICE, AS_ALICE, Start
from tests.cli.commands import command as command

ACCESS = "3GPP-E-UTRAN-FDD;utran-cell-id-3gpp=2620100010000001"
MEDIASEC = "sdes-srtp;mediasec"
IN_CLEAR = ("--security", "off", "--json", "--null-audio", "--listen", "127.0.0.1:0")
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8\r\n"
    "a=curr:qos local none\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\n"
    "a=des:qos none remote sendrecv\r\n"
)


@contextlib.contextmanager
def answering() -> Iterator[tuple[int, list[SipMessage]]]:
    """A SIP peer on a UDP port that takes every REGISTER and declines every call; what came to it."""
    came: list[SipMessage] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, source = sock.recvfrom(65_535)
                if data == b"stop":
                    return
                if not data.strip():
                    continue
                request = SipMessage.parse(data)
                came.append(request)
                if request.method == "ACK":
                    continue
                kept = [
                    (name, value)
                    for name, value in request.headers
                    if name in ("Via", "From", "Call-ID", "CSeq")
                ]
                to = f"{request.first('to')};tag=peer"
                more = [("Contact", f"{request.first('contact')};expires=300")]
                register = request.method == "REGISTER"
                answer = SipMessage(
                    start_line=f"SIP/2.0 {'200 OK' if register else '603 Decline'}",
                    headers=(*kept, ("To", to), *(more if register else ())),
                )
                sock.sendto(answer.encode(), source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1], came
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"stop", sock.getsockname())
            thread.join()


def test_headers_of_the_access_network_go_out_as_configured(command: Start) -> None:
    """In REGISTER and INVITE, each as its own table says."""
    with answering() as (port, came):
        where = {
            "SIPMIKEY_SIP_REGISTRAR": f"sip:127.0.0.1:{port}",
            "SIPMIKEY_SIP_REGISTER_HEADERS": f"P-Access-Network-Info={ACCESS},Security-Client={MEDIASEC}",
            "SIPMIKEY_SIP_HEADERS": f"P-Access-Network-Info={ACCESS},Security-Verify={MEDIASEC}",
        }
        words = ("--via", f"sip:127.0.0.1:{port}", *AS_ALICE, *IN_CLEAR)
        caller = command("call", "sip:bob@example.com", *words, environment=where)
        assert caller.finish() == 1, caller.stderr
    register = next(one for one in came if one.method == "REGISTER")
    invite = next(one for one in came if one.method == "INVITE")
    assert register.first("P-Access-Network-Info") == invite.first("P-Access-Network-Info") == ACCESS
    assert (register.first("Security-Client"), register.first("Security-Verify")) == (MEDIASEC, None)
    assert (invite.first("Security-Client"), invite.first("Security-Verify")) == (None, MEDIASEC)


def test_a_call_that_requires_preconditions_is_refused_as_rfc_3312_says(command: Start) -> None:
    agent = command("answer", "--auto", *AS_ALICE, *IN_CLEAR)
    port = int(agent.until("agent.ready")["contact"].rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(20)
        own = f"127.0.0.1:{sock.getsockname()[1]}"
        headers = (
            ("Via", f"SIP/2.0/UDP {own};branch=z9hG4bKprecondition"),
            ("Max-Forwards", "70"),
            ("From", "<sip:phone@example.com>;tag=phone"),
            ("To", f"<{ALICE}>"),
            ("Call-ID", "preconditions"),
            ("CSeq", "1 INVITE"),
            ("Contact", f"<sip:phone@{own}>"),
            ("Require", "precondition"),
            ("Content-Type", "application/sdp"),
        )
        invite = SipMessage(start_line=f"INVITE {ALICE} SIP/2.0", headers=headers, content=SDP.encode())
        sock.send(invite.encode())
        answer = SipMessage.parse(sock.recv(65_535))
        while answer.status < 200:
            answer = SipMessage.parse(sock.recv(65_535))
    assert answer.status == 420
    assert answer.first("Unsupported") == "precondition"
