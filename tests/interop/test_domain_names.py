"""A SIP domain that has SRV records only (RFC 3263 section 4.2), looked up at a DNS server of our own."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.peer import SipPeer

A, SRV = 1, 33
ANSWER, NO_SUCH_NAME = 0x8180, 0x8183


class NameServer:
    """Answers with *records*, data by name and type. ``asked``: the names and types, in order."""

    def __init__(self, records: dict[tuple[str, int], bytes]) -> None:
        self._records = records
        self.asked: list[tuple[str, int]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(2048)
            if not query:
                return
            end, labels = 12, []
            while query[end]:
                labels.append(query[end + 1 : end + 1 + query[end]].decode())
                end += query[end] + 1
            asked = ".".join(labels).lower(), int.from_bytes(query[end + 1 : end + 3], "big")
            self.asked.append(asked)
            data = self._records.get(asked)
            head = struct.pack("!HHHHH", NO_SUCH_NAME if data is None else ANSWER, 1, data is not None, 0, 0)
            found = b"" if data is None else struct.pack("!HHHIH", 0xC00C, asked[1], 1, 60, len(data)) + data
            self._socket.sendto(query[:2] + head + query[12 : end + 5] + found, sender)

    def close(self) -> None:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


def name(text: str) -> bytes:
    """A domain name as DNS writes it."""
    return b"".join(bytes((len(label),)) + label.encode() for label in text.split(".")) + b"\0"


@contextmanager
def serving(port: int) -> Iterator[NameServer]:
    server = NameServer(
        {
            ("_sip._udp.prov.test", SRV): struct.pack("!HHH", 10, 10, port) + name("pbx.prov.test"),
            ("pbx.prov.test", A): bytes((127, 0, 0, 1)),
        }
    )
    try:
        yield server
    finally:
        server.close()


@pytest.mark.usefixtures("network")
def test_a_domain_with_srv_records_only_is_registered_at(network: Namespace) -> None:
    with SipPeer("registrar") as registrar, serving(registrar.port) as names:
        sip = {"registrar": "sip:prov.test", "transports": ["udp"], "name_servers": ["127.0.0.1"]}
        with Agent("alice", settings("alice", None, sip=sip)) as alice:
            job = alice.start("register")
            asked = registrar.request("REGISTER")
            registrar.respond(
                asked, 200, "OK", tag="x", headers={"Expires": "300", "Contact": asked["Contact"]}
            )
            alice.finish(job)
    assert asked.request_uri == "sip:prov.test"
    assert ("_sip._udp.prov.test", SRV) in names.asked
