"""How the agent asks a KMS, and how that can fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from sipmikey.call.events import Event, KmsExchange, KmsFailed, KmsRequest
from sipmikey.call.reasons import AgentError, Reason, reason_of
from sipmikey.mikey.errors import PeerError


class KmsClient(Protocol):
    """Carries MIKEY messages to a KMS. ``sipmikey.kms`` has one over HTTP."""

    async def request(self, message: bytes, *, kms: str | None = None) -> bytes:
        """Send *message* (REQUEST_INIT or RESOLVE_INIT) and return the response message.

        *kms* is the identity of the KMS to ask, None for the one that is configured. Raises a
        ``PeerError`` whose ``reason`` is ``kms-unreachable`` or ``kms-refused`` (or another word of
        ``Reason``); any other exception is reported as ``kms-unreachable``. An error whose ``ask_again``
        is true says that the KMS may have taken the message: a fresh one is sent, once.
        """
        ...


class NoKmsAnswer(AgentError):
    """The KMS did not answer in the time the configuration allows."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(Reason.KMS_TIMEOUT, f"no answer of the KMS in {timeout_s:g} s", side="kms")


class KmsDesk:
    """Asks the KMS for the agent's calls, with a time-out, and tells of it. In the event loop only.

    *home*: identity of the configured KMS. *publish* takes the events ``kms.request`` and ``kms.error``.
    """

    def __init__(
        self, client: KmsClient | None, *, home: str, timeout_s: float, publish: Callable[[Event], None]
    ) -> None:
        self._client = client
        self._home = home
        self._timeout_s = timeout_s
        self._publish = publish

    async def ask(
        self, call: str, exchange: KmsExchange, message: bytes, kms: str | None = None
    ) -> tuple[bytes, float]:
        """Return the response to *message* and the milliseconds it took. Raises a ``PeerError``."""
        self._publish(
            KmsRequest(at=time.time(), call=call, exchange=exchange, kms=kms or self._home, size=len(message))
        )
        started = time.perf_counter()
        try:
            if self._client is None:
                raise AgentError(Reason.NO_KMS, "the agent was given no KMS client", side="local")
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.request(message, kms=kms)
        except Exception as error:  # noqa: BLE001 - whatever a client raises is a KMS that did not answer
            failure = self._failure(error)
            self.tell_failure(call, exchange, failure, kms)
            raise failure from None
        return response, (time.perf_counter() - started) * 1e3

    def tell_failure(
        self, call: str, exchange: KmsExchange, error: PeerError | AgentError, kms: str | None = None
    ) -> None:
        """Publish that an exchange failed: there was no response, or the KMS refused."""
        self._publish(
            KmsFailed(
                at=time.time(), call=call, exchange=exchange, kms=kms or self._home,
                reason=reason_of(error), side="kms", detail=str(error),
            )
        )  # fmt: skip

    def _failure(self, error: Exception) -> PeerError | AgentError:
        if isinstance(error, PeerError | AgentError):
            return error
        if isinstance(error, TimeoutError):
            return NoKmsAnswer(self._timeout_s)
        return AgentError(Reason.KMS_UNREACHABLE, f"{type(error).__name__}: {error}", side="kms")
