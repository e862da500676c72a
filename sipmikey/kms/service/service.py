"""Ticket Request and Ticket Resolve at the KMS (RFC 6043 sections 4.2.1 and 4.2.3)."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from sipmikey.kms.audit import Exchange
from sipmikey.kms.policy import Policy
from sipmikey.kms.service.lookups import Lookups
from sipmikey.kms.service.outcome import Forward, Outcome
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerKms:
    """Another KMS this one passes resolves to. ``url`` is for whoever does the HTTP.

    ``key`` and ``key_id`` protect the RESOLVE_INIT sent to it (pre-shared key variant).
    """

    identity: str
    url: str
    key: Secret
    key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsSettings:
    """Who this KMS is. ``identity``: its canonical URI, put into IDRkms; ``aliases``: others it answers to.

    ``peers``: the KMSs it trusts, by canonical identity. A resolve for a ticket of any other is refused.
    """

    identity: str
    aliases: frozenset[str] = frozenset()
    peers: Mapping[str, PeerKms] = field(default_factory=lambda: MappingProxyType({}))


class KeyManagementService:
    """Answers REQUEST_INIT and RESOLVE_INIT. Stateless but for its lookups; one serves any number of tasks.

    ``policy`` may be replaced at any time (a reload); a message is judged by the one in force when it came.
    """

    def __init__(self, env: object, settings: KmsSettings, policy: Policy, lookups: Lookups) -> None:
        self.policy = policy

    async def handle(
        self, message: bytes, *, expected: Exchange = Exchange.UNKNOWN, source: str = ""
    ) -> Outcome:
        """Answer one message; never raises for anything the sender can do.

        *expected* is what the request's ``requesttype`` said; a message of the other exchange is refused with
        400. *source* is the sender's address, for the audit log.
        """
        raise NotImplementedError

    async def forwarded(self, forward: Forward, response: bytes) -> Outcome:
        """Finish a forwarded resolve with the *response* of the other KMS."""
        raise NotImplementedError

    async def not_forwarded(self, forward: Forward, *, timed_out: bool, detail: str) -> Outcome:
        """Finish a forwarded resolve that got no answer: status 504 if *timed_out*, else 502."""
        raise NotImplementedError


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine of the service whose lookups never wait, without an event loop.

    Raises `LocalError` if a lookup waits after all.
    """
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise LocalError("a lookup waits for I/O: drive the service from an event loop")
