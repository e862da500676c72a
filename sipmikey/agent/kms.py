"""How the agent asks a KMS, and how that can fail."""

from __future__ import annotations

from typing import Protocol

from sipmikey.agent.reasons import AgentError, Reason


class KmsClient(Protocol):
    """Carries MIKEY messages to a KMS. ``sipmikey.kms`` has one over HTTP."""

    async def request(self, message: bytes, *, kms: str | None = None) -> bytes:
        """Send *message* (REQUEST_INIT or RESOLVE_INIT) and return the response message.

        *kms* is the identity of the KMS to ask, None for the one that is configured. Raises a
        ``PeerError`` whose ``reason`` is ``kms-unreachable`` or ``kms-refused`` (or another word of
        ``Reason``); whatever else it raises is reported as ``kms-unreachable``.
        """
        ...


class KmsTimeout(AgentError):
    """The KMS did not answer in the time the configuration allows."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(Reason.KMS_TIMEOUT, f"no answer of the KMS in {timeout_s:g} s", side="kms")
