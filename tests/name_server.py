"""A small DNS server on loopback for tests."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

import dns.message
import dns.rcode
import dns.rrset

Records = dict[tuple[str, str], list[str]]
"""Data as zone files write it, by name without the final dot and type."""


class NameServer:
    """Answers with *records*; NXDOMAIN for the rest, and nothing at all where it is *silent*.

    ``asked``: the names and types, in order. *port* 0: any. A context manager.
    """

    def __init__(self, records: Records, *, port: int = 0, silent: bool = False) -> None:
        self._records = records
        self._silent = silent
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            octets, sender = self._socket.recvfrom(2048)
            if not octets:
                return
            query = dns.message.from_wire(octets)
            (question,) = query.question
            name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
            self.asked.append((name, kind))
            if self._silent:
                continue
            answer = dns.message.make_response(query)
            data = self._records.get((name, kind))
            if data is not None:
                answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, data))
            elif not any(known == name for known, _ in self._records):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self._socket.sendto(answer.to_wire(), sender)
