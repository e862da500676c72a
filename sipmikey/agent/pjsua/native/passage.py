"""The passing on of messages between our SIP port and the processes behind it (see `handover`)."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

from sipmikey.agent.pjsua.handover import call_of, passed_on, reached_over, taken_back
from sipmikey.agent.pjsua.native.functions import Selector, c_function, endpoint
from sipmikey.agent.screening.arrivals import Connections

Key = TypeVar("Key")
Value = TypeVar("Value")

_REMEMBERED = 5000
_TRANSPORTS = {"UDP": 1, "TCP": 2, "TLS": 3}
_IPV6 = 128
_SELECT_TRANSPORT = 1
_MINE, _DONE = 0, 1


class Passage:
    """*own*: ``host:port`` of our UDP transport; *reach*: the same for this host. *secret*: see `handover`.

    *place* says, given the Call-ID of a new call, where it goes: ``host:port`` of another process, ``""``
    for this one, or ``full``. *connections* tells which connections still exist.
    """

    def __init__(
        self,
        *,
        own: str,
        reach: tuple[str, int],
        ports: Mapping[str, int],
        secret: str,
        place: Callable[[str], str],
        connections: Connections,
    ) -> None:
        self._own = own
        self._ports = {_TRANSPORTS[name.upper()]: (name.lower(), port) for name, port in ports.items()}
        self._secret = secret
        self._place = place
        self._connections = connections
        self._calls: dict[bytes, tuple[str, int]] = {}
        self._waiting: dict[str, tuple[int, int, bytes]] = {}
        self._send_raw = c_function("pjsip_tpmgr_send_raw")
        self._manager = c_function("pjsip_endpt_get_tpmgr")(endpoint())
        self._sock = socket.socket(socket.AF_INET6 if ":" in reach[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.bind((reach[0], 0))

    def close(self) -> None:
        """Close our socket."""
        self._sock.close()

    def relay(self, call_id: str, address: str) -> None:
        """Pass on messages for the call *call_id* to ``host:port``; stop where that is empty."""
        if not address:
            self._calls.pop(call_id.encode(), None)
            return
        host, _, port = address.rpartition(":")
        _remember(self._calls, call_id.encode(), (host.strip("[]"), int(port)))

    def take(self, message: bytes, transport: int, source: str, address: bytes, *, new: bool) -> int:
        """Return 0 for a message of this process, 1 for one passed on, or the status to answer.

        *transport*: address of pjsip's, by which the message came; *source*, *address*: from whom, as text
        and as a sockaddr.
        """
        if message[:8].upper() == b"SIP/2.0 ":
            return self._take_back(message)
        call_id, replaced = call_of(message)
        target = self._calls.get(call_id) or self._calls.get(replaced)
        if target is None and new and not replaced:
            placed = self._place(call_id.decode("utf-8", "replace"))
            if placed == "full":
                return 486
            if placed:
                self.relay(call_id.decode("utf-8", "replace"), placed)
                target = self._calls[call_id]
        if target is None:
            return _MINE
        port = int.from_bytes(address[2:4], "big")
        branch, protocol, octets = passed_on(message, self._own, (source, port), self._secret)
        # Of TCP the address is as long as one of IPv6, whichever it is.
        six = int.from_bytes(address[:2], sys.byteorder) == socket.AF_INET6
        kind = _TRANSPORTS.get(protocol, 1) | (_IPV6 if six else 0)
        _remember(self._waiting, branch, (transport, kind, address))
        with contextlib.suppress(OSError):
            self._sock.sendto(octets, target)
        return _DONE

    def _take_back(self, message: bytes) -> int:
        found = taken_back(message, self._secret)
        if found is None:
            return _MINE
        branch, octets = found
        if (waiting := self._waiting.get(branch)) is not None:
            transport, kind, address = waiting
            if (found_port := self._ports.get(kind & ~_IPV6)) is not None:
                octets = reached_over(octets, *found_port)
            if kind & ~_IPV6 == 1 or transport in self._connections:
                selector = Selector(_SELECT_TRANSPORT, 0, transport)
                self._send_raw(
                    self._manager, kind, ctypes.byref(selector), None, octets, len(octets), address,
                    len(address), None, None,
                )  # fmt: skip
        return _DONE


def _remember(table: dict[Key, Value], key: Key, value: Value) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > _REMEMBERED:
        del table[next(iter(table))]
