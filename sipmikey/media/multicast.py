"""Sockets that send to and receive from a multicast group, over IPv4 and IPv6."""

from __future__ import annotations

import socket
import struct

from sipmikey.media.endpoint import Address, stamp_arrivals

_ANY = "0.0.0.0"


def _index(interface: str) -> int:
    """Return the number of the interface of that name, 0 for none. Raises ``OSError``."""
    return socket.if_nametoindex(interface) if interface else 0


def multicast_sender(interface: str, *, hops: int = 1, ipv6: bool = False) -> socket.socket:
    """Return a socket that sends multicast out of *interface*: an IPv4 address or, with *ipv6*, a name.

    An empty one stands for what the routes say. *hops* is how many routers a packet may pass; members on the
    same host hear it too.
    """
    sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, _index(interface))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        else:
            address = interface or _ANY
            sock.bind((address, 0))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        stamp_arrivals(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def multicast_receiver(group: Address, interface: str) -> socket.socket:
    """Return a socket that has joined *group* on *interface*; several may share the port.

    *interface* is as in `multicast_sender`.
    """
    host, port = group
    ipv6 = ":" in host
    sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ipv6:
            index = _index(interface)
            sock.bind((host, port, 0, index))
            membership = socket.inet_pton(socket.AF_INET6, host) + struct.pack("@I", index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        else:
            sock.bind(group)
            membership = socket.inet_aton(host) + socket.inet_aton(interface or _ANY)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        stamp_arrivals(sock)
    except BaseException:
        sock.close()
        raise
    return sock
