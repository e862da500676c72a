"""Packets of a capture: from the link layer to datagrams and segments, fragments of IPv4 and IPv6 joined."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import dpkt

BROKEN = (
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
_FRAGMENT = 44
"""Next Header of the IPv6 fragment header (RFC 8200 section 4.5)."""

_MAX_DATAGRAM = 65_535
_MAX_PENDING = 4096
"""Datagrams of which fragments are kept; the oldest is dropped for another."""

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """A UDP datagram, or a TCP segment with its ``sequence`` number."""

    source: Address
    target: Address
    data: bytes
    sequence: int | None = None


@dataclass(slots=True)
class _Datagram:
    """The fragments of one datagram: offset -> octets; ``length`` is known once the last one is there."""

    parts: dict[int, bytes] = field(default_factory=dict)
    held: int = 0
    length: int | None = None

    def add(self, offset: int, octets: bytes, *, more: bool) -> bytes | None:
        """Take a fragment; return the whole once there is no hole. One seen before is left out."""
        if not more:
            self.length = offset + len(octets)
        if octets and offset not in self.parts and offset + len(octets) <= _MAX_DATAGRAM:
            self.parts[offset] = octets
            self.held += len(octets)
        if self.length is None or self.held < self.length:
            return None
        whole = bytearray()
        for at in sorted(self.parts):
            if at > len(whole):
                return None
            whole[at:] = self.parts[at]
        return bytes(whole[: self.length])


class Reassembly:
    """Joins fragments. Each call costs what its packet has octets, but for the one that ends a datagram."""

    def __init__(self) -> None:
        self._pending: dict[tuple[object, ...], _Datagram] = {}

    def transport(self, network: Any) -> Transport | None:
        """Return the datagram or segment in a packet, or the one that this fragment completes, if any."""
        fragment = _fragment(network)
        try:
            if fragment is None:
                protocol, octets = _protocol(network), bytes(network.data)
            else:
                key, protocol, offset, more = fragment
                whole = self._datagram(key).add(offset, _payload(network), more=more)
                if whole is None:
                    return None
                del self._pending[key]
                octets = whole
            return _read(network, protocol, octets)
        except BROKEN:
            return None

    def _datagram(self, key: tuple[object, ...]) -> _Datagram:
        if key not in self._pending and len(self._pending) >= _MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        return self._pending.setdefault(key, _Datagram())


def network_layer(link: int, octets: bytes) -> Any | None:
    """Return the IPv4 or IPv6 packet in a frame of a capture's link type, or None."""
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
    except BROKEN:
        return None
    return layer if isinstance(layer, dpkt.ip.IP | dpkt.ip6.IP6) else None


def in_frame(octets: bytes) -> Transport | None:
    """Return the datagram in one frame or packet of an unknown link type, as a hex dump may hold it."""
    for link in (_RAW[0], _ETHERNET, _COOKED, _COOKED2, _LOOPBACK[0]):
        if link == _RAW[0] and octets[:1] and octets[0] >> 4 not in (4, 6):
            continue
        network = network_layer(link, octets)
        found = None if network is None else Reassembly().transport(network)
        if found is not None:
            return found
    return None


def _ip(octets: bytes) -> Any:
    return dpkt.ip6.IP6(octets) if octets[:1] and octets[0] >> 4 == 6 else dpkt.ip.IP(octets)


def _fragment(network: Any) -> tuple[tuple[object, ...], int, int, bool] | None:
    """Return what a fragment belongs to, its protocol, its offset, and whether more follow."""
    if isinstance(network, dpkt.ip.IP):
        if not (network.mf or network.offset):
            return None
        # dpkt 1.9 counts offsets in units of 8 octets.
        key = (network.src, network.dst, network.p, network.id)
        return key, network.p, 8 * network.offset, bool(network.mf)
    header = next(
        (item for item in network.all_extension_headers if isinstance(item, dpkt.ip6.IP6FragmentHeader)), None
    )
    if header is None or not (header.m_flag or header.frag_off):
        return None
    key = (network.src, network.dst, _FRAGMENT, header.id)
    return key, header.nxt, 8 * header.frag_off, bool(header.m_flag)


def _payload(network: Any) -> bytes:
    """Return the octets of a fragment behind the headers that every fragment has."""
    if isinstance(network, dpkt.ip.IP):
        return bytes(network.data)
    octets = bytes(network.data)
    headers = network.all_extension_headers
    # What follows the fragment header belongs to the first fragment's part: dpkt may have read into it.
    at = next(index for index, item in enumerate(headers) if isinstance(item, dpkt.ip6.IP6FragmentHeader))
    return b"".join(bytes(item) for item in headers[at + 1 :]) + octets


def _protocol(network: Any) -> int:
    return int(getattr(network, "p", 0))


def _read(network: Any, protocol: int, octets: bytes) -> Transport | None:
    source, target = _address(network.src), _address(network.dst)
    if protocol == dpkt.ip.IP_PROTO_UDP:
        udp = dpkt.udp.UDP(octets)
        return Transport(source=(source, udp.sport), target=(target, udp.dport), data=bytes(udp.data))
    if protocol == dpkt.ip.IP_PROTO_TCP:
        tcp = dpkt.tcp.TCP(octets)
        return Transport(
            source=(source, tcp.sport), target=(target, tcp.dport), data=bytes(tcp.data), sequence=tcp.seq
        )
    return None


def _address(octets: bytes) -> str:
    try:
        return str(ip_address(octets))
    except ValueError:
        return octets.hex()
