"""Between KMSs (RFC 6043 section 10): passing resolves on, and knowing another KMS when it asks.

Both directions are mutually authenticated: TLS with certificates on both sides, and the pre-shared key of the
two KMSs inside. A KMS that shows its key but not its certificate is a stranger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sipmikey.kms.audit import Exchange
from sipmikey.kms.client import HttpKmsClient, KmsFailure, KmsRefused, KmsTimeout
from sipmikey.kms.server.log import log
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.service import CredentialSource, Forward, KeyManagementService, Outcome
from sipmikey.kms.subscribers import Principal, PskCredential

CONCURRENT_FORWARDS = 64
"""Resolves waiting for other KMSs in one worker: a slow one must not use up the places of our own clients."""


class Forwarder:
    """The service with forwarding: what `KmsApplication` calls. ``client`` None forwards nothing."""

    def __init__(self, service: KeyManagementService, client: HttpKmsClient | None, metrics: Metrics) -> None:
        self._service = service
        self._client = client
        self._metrics = metrics
        self._places = asyncio.Semaphore(CONCURRENT_FORWARDS)

    async def handle(self, message: bytes, *, expected: Exchange, source: str) -> Outcome:
        """Answer *message*, asking another KMS if it is for that one's ticket."""
        outcome = await self._service.handle(message, expected=expected, source=source)
        if outcome.forward is None:
            return outcome
        return await self._pass_on(outcome.forward)

    async def _pass_on(self, forward: Forward) -> Outcome:
        service = self._service
        if self._client is None or self._places.locked():
            self._metrics.forwarded("failed")
            detail = "no client certificate is configured" if self._client is None else "too many waiting"
            return await service.not_forwarded(forward, timed_out=False, detail=detail)
        async with self._places:
            try:
                answer = await self._client.request(forward.message, kms=forward.kms)
            except KmsFailure as failure:
                if isinstance(failure, KmsRefused) and failure.error_message is not None:
                    self._metrics.forwarded("refused")
                    return await service.forwarded(forward, failure.error_message)
                timed_out = isinstance(failure, KmsTimeout)
                self._metrics.forwarded("timeout" if timed_out else "failed")
                log.error("forward-failed", extra={"fields": {"kms": forward.kms, "detail": str(failure)}})
                return await service.not_forwarded(forward, timed_out=timed_out, detail=str(failure))
        self._metrics.forwarded("answered")
        return await service.forwarded(forward, answer)

    async def close(self) -> None:
        """Close the connections to other KMSs."""
        if self._client is not None:
            await self._client.close()


class GuardedCredentials:
    """Credentials of subscribers as they are; of another KMS only where its certificate was shown too.

    ``peer_names`` tells the names in the verified certificate of the client being answered. One of them must
    be the KMS's identity as a URI, or that identity's host as a DNS name.
    """

    def __init__(self, inner: CredentialSource, peer_names: Callable[[], frozenset[str]]) -> None:
        self._inner = inner
        self._peer_names = peer_names
        self.principal_of = inner.principal_of
        self.groups_of = inner.groups_of
        self.certificates_of = inner.certificates_of

    async def psk_by_key_id(self, key_id: bytes) -> PskCredential | None:
        """Return the pre-shared key that IDRpsk names, or None; see `CredentialSource`."""
        found = await self._inner.psk_by_key_id(key_id)
        return found if found is not None and self._proven(found.principal) else None

    async def psks_of(self, identity: str) -> Sequence[PskCredential]:
        """Return the pre-shared keys of the owner of *identity*; see `CredentialSource`."""
        return [found for found in await self._inner.psks_of(identity) if self._proven(found.principal)]

    async def principal_by_certificate(self, fingerprint: bytes) -> Principal | None:
        """Return the owner of a signing certificate; see `CredentialSource`."""
        found = await self._inner.principal_by_certificate(fingerprint)
        return found if found is not None and self._proven(found) else None

    def _proven(self, principal: Principal) -> bool:
        if not principal.is_kms:
            return True
        names = self._peer_names()
        return any(identity in names or _host(identity) in names for identity in principal.identities)


def _host(identity: str) -> str:
    """Return the host of a SIP URI in lower case, without port and parameters."""
    after = identity.partition(":")[2].rpartition("@")[2]
    host = after.partition(";")[0]
    return (host if host.startswith("[") else host.partition(":")[0]).lower()
