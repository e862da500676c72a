"""SIP domains that are known by their DNS records only (RFC 3263), looked up at a DNS server of our own."""

from __future__ import annotations

import socket

import pytest

from sipmikey.sip import SipMessage
from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.peer import SipPeer
from tests.name_server import NameServer

pytestmark = pytest.mark.usefixtures("network")
NAMES = {"name_servers": ["127.0.0.1"]}


def test_a_domain_with_srv_records_only_is_registered_at(network: Namespace) -> None:
    with SipPeer("registrar") as registrar:
        records = {
            ("_sip._udp.prov.test", "SRV"): [f"10 10 {registrar.port} pbx.prov.test."],
            ("pbx.prov.test", "A"): ["127.0.0.1"],
        }
        sip = {"registrar": "sip:prov.test", "transports": ["udp"], **NAMES}
        with NameServer(records, port=53) as names, Agent("alice", settings("alice", None, sip=sip)) as alice:
            job = alice.start("register")
            asked = registrar.request("REGISTER")
            registrar.respond(
                asked, 200, "OK", tag="x", headers={"Expires": "300", "Contact": asked["Contact"]}
            )
            alice.finish(job)
    assert asked.request_uri == "sip:prov.test"
    assert ("_sip._udp.prov.test", "SRV") in names.asked


def test_a_domain_whose_naptr_records_want_tcp_is_registered_at_and_called_over_tcp(
    network: Namespace,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(15.0)
        records = {
            ("prov.test", "NAPTR"): [
                '50 50 "s" "SIP+D2U" "" _sip._udp.prov.test.',
                '10 50 "s" "SIP+D2T" "" _sip._tcp.prov.test.',
            ],
            ("_sip._tcp.prov.test", "SRV"): [f"10 10 {server.getsockname()[1]} pbx.prov.test."],
            ("_sip._udp.prov.test", "SRV"): ["10 10 9 pbx.prov.test."],
            ("pbx.prov.test", "A"): ["127.0.0.1"],
        }
        made = settings(
            "alice", None, sip={"registrar": "sip:prov.test", **NAMES}, policy={"security": "off"}
        )
        with NameServer(records, port=53), Agent("alice", made) as alice:
            job = alice.start("register")
            connection, _ = server.accept()
            with connection:
                connection.settimeout(15.0)
                asked = read(connection)
                connection.sendall(granted(asked))
                alice.finish(job)
                alice.start("call", uri="sip:bob@prov.test")
                while not (invite := read(connection)).start_line.startswith("INVITE"):
                    connection.sendall(granted(invite))
    assert asked.start_line.startswith("REGISTER sip:prov.test")
    assert asked.transport == invite.transport == "tcp"
    assert invite.uri("to") == "sip:bob@prov.test"


def read(connection: socket.socket) -> SipMessage:
    """The next message of a connection on which one comes at a time."""
    octets = b""
    while True:
        octets = (octets + connection.recv(65535)).lstrip(b"\r\n")
        _, found, body = octets.partition(b"\r\n\r\n")
        if found:
            message = SipMessage.parse(octets.decode())
            if len(body) >= int(message.first("content-length") or 0):
                return message


def granted(request: SipMessage) -> bytes:
    """A 200 to a REGISTER."""
    same = "".join(f"{name}: {request.first(name)}\r\n" for name in ("Via", "From", "Call-ID", "CSeq"))
    return (
        f"SIP/2.0 200 OK\r\n{same}To: {request.first('To')};tag=x\r\n"
        f"Contact: {request.first('Contact')};expires=300\r\nContent-Length: 0\r\n\r\n"
    ).encode()
