"""Reading capture files (pcap and pcapng, also gzip'd) for SIP, RTSP, HTTP and MIKEY.

dpkt reads both formats and the packets in pure Python, without other packages or tshark. Datagrams in
fragments and TCP streams are put together, since a MIKEY message with a ticket rarely fits one packet.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import dpkt

from sipmikey.decode.packets import BROKEN, Address, Reassembly, Transport, network_layer
from sipmikey.decode.sources import FoundMessage, TextMessage, find, in_text_message, looks_like_mikey
from sipmikey.decode.sources import split_text_messages as split
from sipmikey.mikey.errors import LocalError

MAX_OCTETS = 256 << 20
"""Largest capture read, unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one party sent another: SIP, HTTP or bare MIKEY. ``time`` is in seconds since 1970."""

    time: float
    source: Address
    target: Address
    label: str
    content: TextMessage | None
    found: tuple[FoundMessage, ...]


@dataclass(slots=True)
class _Stream:
    """One direction of a TCP connection: (sequence number, octets, time) of its segments."""

    segments: list[tuple[int, bytes, float]] = field(default_factory=list)


def messages(path: Path) -> list[Message]:
    """Return every SIP, RTSP, HTTP and MIKEY message of a capture file, in the order of time.

    Raises `LocalError` for a file that cannot be read as a capture.
    """
    if path.stat().st_size > MAX_OCTETS:
        raise LocalError(f"{path} has more than {MAX_OCTETS >> 20} MiB: cut it down with editcap or tshark")
    with path.open("rb") as file:
        return _messages(file, str(path))


def messages_in(octets: bytes, name: str) -> list[Message]:
    """Return what `messages` does of a capture in memory; *name* is for errors."""
    return _messages(io.BytesIO(octets), name)


def _messages(file: BinaryIO, name: str) -> list[Message]:
    found: list[Message] = []
    streams: dict[tuple[Address, Address], _Stream] = {}
    reassembly = Reassembly()
    for time, network in _packets(file, name):
        transport = reassembly.transport(network)
        if transport is None:
            continue
        if transport.sequence is None:
            found += _in_datagram(time, transport)
        elif transport.data:
            ends = (transport.source, transport.target)
            streams.setdefault(ends, _Stream()).segments.append((transport.sequence, transport.data, time))
    for (source, target), stream in streams.items():
        found += _in_stream(source, target, stream)
    return sorted(found, key=lambda message: message.time)


def _packets(file: BinaryIO, name: str) -> Iterator[tuple[float, Any]]:
    """Yield time and network layer of every packet that has one."""
    try:
        reader = dpkt.pcap.UniversalReader(file)
        link = reader.datalink()
    except BROKEN as error:
        raise LocalError(f"{name} is not a capture file that can be read: {error}") from error
    packets = iter(reader)
    while True:
        try:
            time, octets = next(packets)
        except StopIteration:
            return
        except BROKEN:
            return  # a file cut short: what came before it is still worth showing
        network = network_layer(link, bytes(octets))
        if network is not None:
            yield float(time), network


def _in_datagram(time: float, datagram: Transport) -> list[Message]:
    source, target, data = datagram.source, datagram.target, datagram.data
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
    starts: list[int] = []
    times: list[float] = []
    following = base
    for sequence, data, time in ordered:
        overlap = (following - sequence) & 0xFFFFFFFF
        fresh = data if overlap >= 1 << 31 else data[overlap:]  # a gap: what was lost is not guessed
        if fresh:
            starts.append(len(octets))
            times.append(max(time, times[-1]) if times else time)
            octets += fresh
            following = (sequence + len(data)) & 0xFFFFFFFF
    return [
        _message(times[max(bisect_right(starts, text.offset) - 1, 0)], source, target, text)
        for text in split(bytes(octets))
    ]
