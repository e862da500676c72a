"""What became of a question to a KMS: its answer, or why there is none."""

from __future__ import annotations

import os

from sipmikey.kms.client.errors import KmsRefused, KmsUnreachable
from sipmikey.kms.client.exchange import Answer, KmsUrl, message_of

_REPLAYED = "replayed-message"


def answered(answer: Answer, *, repeated: bool, now_s: float) -> bytes:
    """Return the message of *answer*; raises as `message_of`.

    *repeated*: the request was sent twice. If the KMS refuses it as a replay then, it took the first.
    """
    try:
        return message_of(answer, now_s=now_s)
    except KmsRefused as error:
        error.ask_again = repeated and error.kms_reason == _REPLAYED
        raise


def unreachable(url: KmsUrl, error: OSError, *, taken: bool) -> KmsUnreachable:
    """Return the error for a connection that failed. *taken*: the KMS may have the message."""
    why = error.strerror or str(error) or type(error).__name__
    found = KmsUnreachable(f"cannot reach {url.site}: {why}{_proxy_words(url)}")
    found.ask_again = taken
    return found


def _proxy_words(url: KmsUrl) -> str:
    """Say that the proxies of the environment are not used, where there is one for *url*."""
    scheme = "https" if url.tls else "http"
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
        if os.environ.get(name):
            return f" (the KMS is asked directly: {name} is not used)"
    return ""
