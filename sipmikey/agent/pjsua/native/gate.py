"""The screen in front of pjsip: a pjsip module, written with ctypes, ahead of its transaction layer.

pjsip hands each message it parsed to its modules in the order of their priorities. This one judges the text
of the message (`screen.examine`); a bad message is answered with 400 or dropped, and no other module sees it.
New calls beyond a rate are answered with 503 before pjsip opens anything for them. At the start, a message
to ourselves shows where text and source are in a ``pjsip_rx_data``.
"""

from __future__ import annotations

import ctypes
import logging
import secrets
import socket
import sys
import time
from collections.abc import Callable

from sipmikey.agent.pjsua.native.functions import Module, OnMessage, Text, c_function, endpoint, register
from sipmikey.agent.pjsua.native.passage import Passage
from sipmikey.agent.screening.arrivals import Arrivals, Connections, Verdict
from sipmikey.agent.screening.screen import examine
from sipmikey.agent.stack import StackError

_log = logging.getLogger("sipmikey.agent.pjsua.native.gate")

_BEFORE_TRANSACTIONS = 10
"""Between PJSIP_MOD_PRIORITY_TRANSPORT_LAYER (8) and PJSIP_MOD_PRIORITY_TSX_LAYER (16)."""

_PASS, _TAKEN = 0, 1
_BAD_REQUEST = 400
_SERVICE_UNAVAILABLE = 503
_COME_BACK_S = 1
_TRANSPORT_OFFSET = 8
_SOURCE_SEARCHED = 128
_SOURCE_LENGTH = 46
"""PJ_INET6_ADDRSTRLEN."""

_ADDRESS_LENGTH = 28
"""pj_sockaddr, which is as long as a sockaddr_in6."""
_PACKET_SEARCHED = 1024
_POINTER_SEARCHED = 66_000
_PROBE_S = 2.0
_LOGGED_EVERY_S = 10.0


class Fields(ctypes.Structure):
    """The head of a list of pjsip_hdr."""

    _fields_ = (("prev", ctypes.c_void_p), ("next", ctypes.c_void_p))


class Gate:
    """The module. The endpoint of pjsua2 exists by now.

    *arrivals* says which new calls are admitted; *connections* notes which connections are in use.
    ``refused`` counts the messages that did not pass. ``on_ack`` is called with the text of each ACK, which
    pjsua2 does not report. Raises ``StackError`` where the build lacks what is needed. Until `open` has found
    where messages are, everything is dropped.
    """

    def __init__(self, arrivals: Arrivals, connections: Connections) -> None:
        self.refused = 0
        self._arrivals = arrivals
        self._connections = connections
        self._offset: int | None = None
        self._source_offset = 0
        self.passage: Passage | None = None
        self.on_ack: Callable[[bytes], None] | None = None
        self._probe = b""
        self._probe_host = b""
        self._probe_port = 0
        self._probe_failed = ""
        self._logged_at = 0.0
        self._callback = OnMessage(self._look)
        self._module = Module(
            name=Text.of(b"mod-sipmikey-gate"), id=-1, priority=_BEFORE_TRANSACTIONS,
            on_rx_request=self._callback, on_rx_response=self._callback,
        )  # fmt: skip
        self._respond = c_function("pjsip_endpt_respond_stateless")
        self._come_back = _retry_after(_COME_BACK_S)
        self._endpoint = endpoint()
        register(self._module)

    def open(self, address: tuple[str, int], poll: Callable[[int], None]) -> None:
        """Find where pjsip keeps the text of a message, by sending one to its UDP *address*, and let in.

        *poll* handles events for so many milliseconds. Raises ``StackError`` when the build has an unexpected
        layout: then no message can be let in.
        """
        self._probe = _probe(address)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        deadline = time.monotonic() + _PROBE_S
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            # The system may send from another of its addresses than the one that is sent to.
            sock.connect(address)
            host, self._probe_port = sock.getsockname()[:2]
            self._probe_host = host.encode() + b"\0"
            sock.send(self._probe)
            while self._offset is None and not self._probe_failed and time.monotonic() < deadline:
                poll(20)
        self._probe = b""
        if self._offset is None:
            why = self._probe_failed or "it did not hand over a message sent to itself"
            raise StackError(f"this build of pjsip has an unexpected layout: {why}")

    def _look(self, rdata: int) -> int:
        # Nothing may be raised from here: pjsip would go on as if the message were fit.
        try:
            if self._offset is None:
                self._find(rdata)
                return _TAKEN
            return self._judge(rdata, self._text(rdata, self._offset))
        except Exception:  # noqa: BLE001 - what could not be judged does not pass
            _log.exception("a SIP message could not be judged")
            return _TAKEN

    def _judge(self, rdata: int, text: bytes) -> int:
        fault, method, name = examine(text)
        if fault is None:
            transport = ctypes.c_void_p.from_address(rdata + _TRANSPORT_OFFSET).value
            self._connections.heard(transport or 0, time.monotonic())
            if method == b"ACK" and self.on_ack is not None:
                self.on_ack(text)
            if name is not None and self._admit(rdata, name) is _TAKEN:
                return _TAKEN
            return _PASS if self.passage is None else self._pass_on(rdata, text, name is not None)
        self._count(f"{fault.field}: {fault.detail}")
        if fault.answerable:
            self._respond(self._endpoint, rdata, _BAD_REQUEST, None, None, None)
        return _TAKEN

    def _admit(self, rdata: int, name: bytes) -> int:
        source = self._source(rdata)
        verdict = self._arrivals.judge(source, name)
        if verdict is Verdict.ADMIT:
            return _PASS
        self._count(f"too many new calls, at last from {source}")
        if verdict is Verdict.LATER:
            fields = ctypes.byref(self._come_back)
            self._respond(self._endpoint, rdata, _SERVICE_UNAVAILABLE, None, fields, None)
        return _TAKEN

    def _pass_on(self, rdata: int, text: bytes, new: bool) -> int:
        """Give a message to the process whose call it is about, or which is to have it."""
        assert self.passage is not None
        transport = ctypes.c_void_p.from_address(rdata + _TRANSPORT_OFFSET).value or 0
        sender = rdata + self._source_offset - _ADDRESS_LENGTH - 4
        address = ctypes.string_at(sender, ctypes.c_int.from_address(sender + _ADDRESS_LENGTH).value)
        status = self.passage.take(text, transport, self._source(rdata), address, new=new)
        if status > _TAKEN:
            self._respond(self._endpoint, rdata, status, None, None, None)
        return _PASS if status == _PASS else _TAKEN

    def _source(self, rdata: int) -> str:
        return ctypes.string_at(rdata + self._source_offset, _SOURCE_LENGTH).partition(b"\0")[0].decode()

    def _count(self, why: str) -> None:
        self.refused += 1
        if (now := time.monotonic()) - self._logged_at > _LOGGED_EVERY_S:
            self._logged_at = now
            _log.warning("SIP message refused: %s (%d so far)", why, self.refused)

    def _find(self, rdata: int) -> None:
        """Set the offset of ``msg_info.msg_buf``: it points to the packet, which is in front of it."""
        if not self._probe:
            return
        start = ctypes.string_at(rdata, _PACKET_SEARCHED).find(self._probe[:32])
        if start < 0:
            self._probe_failed = "the packet is not where messages are received"
            return
        first = (start + len(self._probe) + 7) & ~7
        for offset in range(first, first + _POINTER_SEARCHED, 8):
            if ctypes.c_uint64.from_address(rdata + offset).value == rdata + start:
                self._take_offset(rdata, offset)
                return
        self._probe_failed = "nothing points to the text of a message"

    def _take_offset(self, rdata: int, offset: int) -> None:
        """Take where the text is pointed to, and find the name of the source, which is in front of it."""
        begin = offset - _SOURCE_SEARCHED
        source = ctypes.string_at(rdata + begin, _SOURCE_SEARCHED).find(self._probe_host)
        if self._text(rdata, offset) != self._probe:
            self._probe_failed = "the length of a message does not follow its text"
        elif source < 0:
            self._probe_failed = "the source of a message is not in front of its text"
        elif not self._is_address(rdata + begin + source - _ADDRESS_LENGTH - 4):
            self._probe_failed = "the address of the source is not in front of its name"
        else:
            self._source_offset = begin + source
            self._offset = offset

    def _is_address(self, at: int) -> bool:
        octets = ctypes.string_at(at, _ADDRESS_LENGTH)
        family = int.from_bytes(octets[:2], sys.byteorder)
        port = int.from_bytes(octets[2:4], "big")
        return family in (socket.AF_INET, socket.AF_INET6) and port == self._probe_port

    @staticmethod
    def _text(rdata: int, offset: int) -> bytes:
        text: int | None = ctypes.c_void_p.from_address(rdata + offset).value
        length = ctypes.c_int.from_address(rdata + offset + 8).value
        return b"" if not text or length <= 0 else ctypes.string_at(text, length)


def _retry_after(seconds: int) -> Fields:
    """Return a list of one header field, which pjsip copies into each response: Retry-After."""
    pool = c_function("pjsua_pool_create")(b"sipmikey-gate", 512, 512)
    made = c_function("pjsip_retry_after_hdr_create")(pool, seconds)
    if not made:
        raise StackError("pjsip did not make a Retry-After header field")
    head = Fields(prev=made, next=made)
    ends = Fields.from_address(made)
    ends.prev = ends.next = ctypes.addressof(head)
    return head


def _probe(address: tuple[str, int]) -> bytes:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    name = secrets.token_hex(12)
    return (
        f"OPTIONS sip:{name}@{host} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{address[1]};branch=z9hG4bK{name}\r\n"
        f"Max-Forwards: 1\r\nFrom: <sip:{name}@{host}>;tag={name}\r\nTo: <sip:{name}@{host}>\r\n"
        f"Call-ID: {name}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()
