"""tshark as a referee: SIP and SDP as a whole, MIKEY as far as it knows it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.packets.fields import Field, V, fields

MIKEY_PORT = 2269
LINKTYPE_RAW_IP = 101
UDP = 17
WARNING = 0x600000
EMPTY_MAP = 1
KNOWN_PAYLOADS = {1: "KEMAC", 5: "T", 9: "V", 10: "SP", 11: "RAND", 14: "IDR", 21: "EXT"}
"""Payloads of a ticket message that tshark 4.0 decodes. At TR, RANDR, TP and TICKET it stops, silently."""
SHA_256 = 2
"""The MAC algorithm at which it stops in KEMAC and V."""

CAPTURE_GAPS = (
    "Previous segment(s) not captured (common at capture start)",
    "ACKed segment that wasn't captured (common at capture start)",
)
"""What tshark says of TCP segments beside one that tcpdump did not get on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SipFault:
    """A SIP message that tshark finds fault with."""

    frame: int
    request_or_status: str
    fault: str


def sip_faults(capture: Capture) -> list[SipFault]:
    """Expert warnings, errors and malformed parts in SIP messages and their SDP.

    With the MIKEY dissector on, a GENERIC-ID map would take the SDP tree down with it, so it is off.
    """
    rows = capture.fields(
        f"sip && (_ws.malformed || _ws.expert.severity >= {WARNING})",
        "frame.number",
        "sip.Request-Line",
        "sip.Status-Line",
        "_ws.expert.message",
        options=("--disable-protocol", "mikey"),
    )
    return [
        SipFault(frame=int(row[0]), request_or_status=row[1] or row[2], fault=row[3] or "malformed")
        for row in rows
        if row[3] not in CAPTURE_GAPS
    ]


def key_management(capture: Capture, display_filter: str = "sip") -> list[list[str]]:
    """(frame, method or status, m-lines, key management protocol) of every SDP that carries an attribute."""
    return capture.fields(
        f"({display_filter}) && sdp.key_mgmt",
        "frame.number",
        "sip.Method",
        "sip.Status-Code",
        "sdp.media",
        "sdp.key_mgmt.kmpid",
        options=("--disable-protocol", "mikey"),
    )


def mikey_messages(capture: Capture, display_filter: str = "sip") -> list[bytes]:
    """The session-level MIKEY messages of the SDP that passes, as tshark finds them."""
    rows = capture.fields(
        f"({display_filter}) && sdp.key_mgmt", "sdp.key_mgmt", options=("--disable-protocol", "mikey")
    )
    return [base64.b64decode(row[0].removeprefix("mikey ")) for row in rows]


def write_capture(path: Path, messages: Iterable[bytes], port: int = MIKEY_PORT) -> Capture:
    """A capture file with one UDP packet for each of *messages*, by default to the port of MIKEY."""
    parts = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_RAW_IP)]
    for number, message in enumerate(messages):
        udp = struct.pack("!HHHH", 40000, port, 8 + len(message), 0) + message
        address = bytes((127, 0, 0, 1))
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), number, 0, 64, UDP, 0) + address + address
        parts.append(struct.pack("<IIII", number, 0, len(ip + udp), len(ip + udp)) + ip + udp)
    path.write_bytes(b"".join(parts))
    return Capture(path)


def walked_to_the_end(capture: Capture) -> list[bool]:
    """For each packet, whether tshark's MIKEY dissector went through the whole chain of payloads.

    It gives no error where it stops at a payload it does not know. Only at the end of the chain does it
    set the Protocol and Info columns, so that is what is looked at.
    """
    rows = capture.fields("udp", "_ws.col.Protocol", "_ws.col.Info", "_ws.malformed")
    return [row[0].upper().endswith("MIKEY") and "ikey" in row[1] and not row[2] for row in rows]


def known_part(message: bytes) -> tuple[bytes, list[str]]:
    """*message* with what tshark cannot read left out: (octets, names of the payloads kept).

    The CS ID map goes (tshark does not even skip GENERIC-ID), and so do payloads it does not know; the
    Next Payloads are set again. The octets of what is left are unchanged.
    """
    kept = [(number, octets) for number, octets in _payloads(message) if _is_known(number, octets)]
    following = [number for number, _ in kept] + [0]
    head = message[:2] + bytes((following[0],)) + message[3:8] + bytes((0, EMPTY_MAP))
    body = b"".join(
        bytes((after,)) + octets[1:] for (_, octets), after in zip(kept, following[1:], strict=True)
    )
    return head + body, [KNOWN_PAYLOADS[number] for number, _ in kept]


def _is_known(number: int, octets: bytes) -> bool:
    return number in KNOWN_PAYLOADS and not (number == V and octets[1] == SHA_256)


def _payloads(message: bytes) -> list[tuple[int, bytes]]:
    """(payload number, octets with Next Payload) of the outer chain."""
    found: Sequence[Field] = fields(message)
    names = [field.name for field in found]
    following = message[found[names.index("HDR next payload")].start]
    starts = [
        field.start
        for field in found
        if field.name.endswith(" next payload") and field.name.count(" ") == 2 and field.start > 2
    ]
    result = []
    for start, end in zip(starts, [*starts[1:], len(message)], strict=True):
        result.append((following, message[start:end]))
        following = message[start]
    return result
