"""Multicast sockets for `MediaLoop`."""

from __future__ import annotations

import socket

from sipmikey.media.endpoint import Address, stamp_arrivals

__all__ = ["multicast_receiver", "multicast_sender"]


def multicast_sender(interface: str, *, hops: int = 1) -> socket.socket:
    """Return a socket that sends multicast out of the interface with IPv4 address *interface*.

    *hops* is how many routers a packet may pass; members on the same host hear it too.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((interface, 0))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, hops)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        stamp_arrivals(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def multicast_receiver(group: Address, interface: str) -> socket.socket:
    """Return a socket that has joined the IPv4 *group* on an interface; several may share the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(group)
        membership = socket.inet_aton(group[0]) + socket.inet_aton(interface)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        stamp_arrivals(sock)
    except BaseException:
        sock.close()
        raise
    return sock
