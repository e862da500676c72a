"""Reading capture files (pcap and pcapng) for SIP, HTTP and MIKEY.

dpkt reads both formats and the packets in pure Python, without other packages or tshark. Datagrams in
fragments and TCP streams are put together here, since a MIKEY message with a ticket rarely fits one packet.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dpkt  # type: ignore[import-untyped]

from sipmikey.decode.sources import Found, TextMessage, find, in_text_message, looks_like_mikey
from sipmikey.decode.sources import split_text_messages as split
from sipmikey.mikey.errors import LocalError

MAX_OCTETS = 256 << 20
"""Largest capture file read."""

_BROKEN = (
    dpkt.Error,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    struct.error,
    OverflowError,
)
"""What dpkt lets through for damaged files and packets."""

_ETHERNET, _RAW, _COOKED, _COOKED2, _LOOPBACK = 1, (12, 14, 101, 228, 229), 113, 276, (0, 108)

Address = tuple[str, int]
Fragments = dict[tuple[bytes, bytes, int], dict[int, tuple[bytes, bool]]]
"""(source, target, identification) -> {offset: (octets, whether more follow)}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one party sent another: SIP, HTTP or bare MIKEY. ``time`` is in seconds since 1970."""

    time: float
    source: Address
    target: Address
    label: str
    content: TextMessage | None
    found: tuple[Found, ...]


@dataclass(slots=True)
class _Stream:
    """One direction of a TCP connection: (sequence number, octets, time) of its segments."""

    segments: list[tuple[int, bytes, float]] = field(default_factory=list)


def messages(path: Path) -> list[Message]:
    """Return every SIP, HTTP and MIKEY message of a capture file, in the order of time.

    Raises `LocalError` for a file that cannot be read as a capture.
    """
    if path.stat().st_size > MAX_OCTETS:
        raise LocalError(f"{path} has more than {MAX_OCTETS >> 20} MiB: cut it down with editcap or tshark")
    found: list[Message] = []
    streams: dict[tuple[Address, Address], _Stream] = {}
    fragments: Fragments = {}
    for time, network in _packets(path):
        transport = _whole(network, fragments)
        ends = _ends(network, transport)
        if ends is None:
            continue
        data = bytes(transport.data)
        if isinstance(transport, dpkt.udp.UDP):
            found += _in_datagram(time, *ends, data)
        elif data:
            streams.setdefault(ends, _Stream()).segments.append((transport.seq, data, time))
    for (source, target), stream in streams.items():
        found += _in_stream(source, target, stream)
    return sorted(found, key=lambda message: message.time)


def _packets(path: Path) -> Iterator[tuple[float, Any]]:
    """Yield time and network layer of every packet that has one."""
    with path.open("rb") as file:
        try:
            reader = dpkt.pcap.UniversalReader(file)
            link = reader.datalink()
        except _BROKEN as error:
            raise LocalError(f"{path} is not a capture file that can be read: {error}") from error
        packets = iter(reader)
        while True:
            try:
                time, octets = next(packets)
            except StopIteration:
                return
            except _BROKEN:
                return  # a file cut short: what came before it is still worth showing
            network = _network(link, bytes(octets))
            if network is not None:
                yield float(time), network


def _network(link: int, octets: bytes) -> Any | None:
    try:
        if link == _ETHERNET:
            layer: Any = dpkt.ethernet.Ethernet(octets).data
        elif link in _RAW:
            layer = _ip(octets)
        elif link == _COOKED:
            layer = dpkt.sll.SLL(octets).data
        elif link == _COOKED2:
            layer = dpkt.sll2.SLL2(octets).data
        elif link in _LOOPBACK:
            layer = _ip(octets[4:])
        else:
            return None
    except _BROKEN:
        return None
    return layer if isinstance(layer, dpkt.ip.IP | dpkt.ip6.IP6) else None


def _ip(octets: bytes) -> Any:
    return dpkt.ip6.IP6(octets) if octets[:1] and octets[0] >> 4 == 6 else dpkt.ip.IP(octets)


def _whole(network: Any, fragments: Fragments) -> Any:
    """Return the transport layer of a packet, or of the datagram that this fragment completes, if any."""
    if not isinstance(network, dpkt.ip.IP) or not (network.mf or network.offset):
        return getattr(network, "data", None)
    key = (network.src, network.dst, network.id)
    parts = fragments.setdefault(key, {})
    parts[8 * network.offset] = (bytes(network.data), bool(network.mf))
    octets, more = b"", True
    while more:
        piece, more = parts.get(len(octets), (b"", True))
        if not piece:
            return None
        octets += piece
    del fragments[key]
    try:
        return dpkt.udp.UDP(octets) if network.p == dpkt.ip.IP_PROTO_UDP else dpkt.tcp.TCP(octets)
    except _BROKEN:
        return None


def _ends(network: Any, transport: Any) -> tuple[Address, Address] | None:
    if not isinstance(transport, dpkt.udp.UDP | dpkt.tcp.TCP):
        return None
    source, target = getattr(network, "src", b""), getattr(network, "dst", b"")
    return (_address(source), transport.sport), (_address(target), transport.dport)


def _address(octets: bytes) -> str:
    try:
        return str(ip_address(octets))
    except ValueError:
        return octets.hex()


def _in_datagram(time: float, source: Address, target: Address, data: bytes) -> list[Message]:
    texts = split(data)
    if texts:
        return [_message(time, source, target, text) for text in texts]
    if looks_like_mikey(data):
        return [
            Message(
                time=time, source=source, target=target, label="MIKEY", content=None, found=tuple(find(data))
            )
        ]
    return []


def _message(time: float, source: Address, target: Address, text: TextMessage) -> Message:
    where = f"{_name(source)} > {_name(target)}"
    return Message(
        time=time,
        source=source,
        target=target,
        label=text.start,
        content=text,
        found=tuple(in_text_message(text, where)),
    )


def _name(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_stream(source: Address, target: Address, stream: _Stream) -> list[Message]:
    """Put the segments of a stream in order and read the messages in it."""
    base = stream.segments[0][0]
    ordered = sorted(stream.segments, key=lambda item: (item[0] - base) & 0xFFFFFFFF)
    octets = bytearray()
    times: list[tuple[int, float]] = []
    following = base
    for sequence, data, time in ordered:
        overlap = (following - sequence) & 0xFFFFFFFF
        if overlap >= 1 << 31:  # a gap: what was lost is not guessed
            times.append((len(octets), time))
            octets += data
            following = (sequence + len(data)) & 0xFFFFFFFF
            continue
        fresh = data[overlap:]
        if fresh:
            times.append((len(octets), time))
            octets += fresh
            following = (following + len(fresh)) & 0xFFFFFFFF
    whole = bytes(octets)
    found = []
    position = 0
    for text in split(whole):
        at = max(whole.find(text.start.encode("utf-8", "replace"), position), position)
        position = at + 1
        time = max((moment for start, moment in times if start <= at), default=0.0)
        found.append(_message(time, source, target, text))
    return found
