"""What an HTTP client of ours says of a request that got no answer: the same words for each of them."""

from __future__ import annotations

import http.client
import ssl
from enum import Enum, auto

NETWORK_ERRORS = (OSError, http.client.HTTPException)
"""What asyncio, sockets, ``ssl`` and ``http.client`` raise when a request gets no answer."""


class Trouble(Enum):
    """Why there is no answer."""

    TIMEOUT = auto()
    CERTIFICATE = auto()
    CONNECTION = auto()
    NOT_HTTP = auto()


def trouble_of(error: BaseException, site: str, timeout_s: float) -> tuple[Trouble, str]:
    """Return why *site* gave no answer within *timeout_s*, and that in words. *error*: of NETWORK_ERRORS."""
    if isinstance(error, TimeoutError):
        return Trouble.TIMEOUT, f"no answer from {site} within {timeout_s:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return Trouble.CERTIFICATE, f"the certificate of {site} is not trusted: {error.verify_message}"
    if isinstance(error, OSError):
        # RemoteDisconnected, of http.client, is one of these too.
        why = error.strerror or str(error) or type(error).__name__
        return Trouble.CONNECTION, f"cannot reach {site}: {why}"
    return Trouble.NOT_HTTP, f"{site} does not answer as HTTP: {type(error).__name__}"
