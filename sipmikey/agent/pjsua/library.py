"""The import of pjsua2, in this module only, and functions that its users share."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pjsua2 as pj

from sipmikey.agent.stack import Headers, StackError
from sipmikey.sip import SipMessage

__all__ = ["LIBRARY", "fill", "has_ipv6", "logged", "pj", "reachable", "read_message", "typed"]

_log = logging.getLogger("sipmikey.agent.pjsua.stack")

LIBRARY: str = pj._pjsua2.__file__
"""Path of the extension module, which exports the C interface of pjlib, pjsip and pjmedia."""


class typed:  # noqa: N801 - used as a function
    """A context manager: turns pjsua2's own exception into a ``StackError`` that says what was being done."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, pj.Error):
            raise StackError(f"{self._doing}: {error.reason}", int(error.status)) from None


@contextlib.contextmanager
def refused(doing: str) -> Iterator[None]:
    """Turn an ``OSError`` into a ``StackError`` that says what was being done."""
    try:
        yield
    except OSError as error:
        raise StackError(f"{doing}: {error.strerror}") from None


@functools.lru_cache(maxsize=1)
def read_message(text: str) -> SipMessage:
    """Read a message as pjsua2 gives it: to each of several callbacks, one after the other.

    Raises ``SipMalformed``.
    """
    return SipMessage.parse(text)


def fill(headers: Any, values: Headers) -> None:
    """Add *values* to a vector of pjsua2's headers."""
    for name, value in values:
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        headers.append(header)


def has_ipv6() -> bool:
    """Return whether pjlib was built with IPv6 (the wheels are not): only then is it on by default."""
    return bool(pj.AccountConfig().mediaConfig.ipv6Use != pj.PJSUA_IPV6_DISABLED)


class logged:  # noqa: N801 - used as a function
    """A context manager: logs an exception, which in a callback would end the process."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        _log.error("%s could not be handled", self._what, exc_info=error)
        return True


def reachable(address: str) -> tuple[str, int]:
    """Return (host, port) by which this host reaches the ``host:port`` that a transport listens on."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    loopback = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
    return loopback.get(host, host), int(port)
