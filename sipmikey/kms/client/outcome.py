"""What became of a question to a KMS: its answer, or why there is none."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sipmikey.kms.client.errors import (
    KmsBadAnswer,
    KmsFailure,
    KmsRefused,
    KmsTimeout,
    KmsUnreachable,
    UntrustedCertificate,
)
from sipmikey.kms.client.exchange import Answer, KmsUrl, message_of
from sipmikey.network_errors import Trouble, trouble_of

_REPLAYED = "replayed-message"

_FAILURES: Mapping[Trouble, type[KmsFailure]] = {
    Trouble.TIMEOUT: KmsTimeout,
    Trouble.CERTIFICATE: UntrustedCertificate,
    Trouble.NOT_HTTP: KmsBadAnswer,
}


def answered(answer: Answer, *, repeated: bool, now_s: float) -> bytes:
    """Return the message of *answer*; raises as `message_of`.

    *repeated*: the request was sent twice. If the KMS refuses it as a replay then, it took the first.
    """
    try:
        return message_of(answer, now_s=now_s)
    except KmsRefused as error:
        error.ask_again = repeated and error.kms_reason == _REPLAYED
        raise


def failure_of(error: BaseException, url: KmsUrl, timeout_s: float, *, taken: bool = False) -> KmsFailure:
    """Return the failure that *error* of ``NETWORK_ERRORS`` is. *taken*: the KMS may have the message."""
    trouble, words = trouble_of(error, url.site, timeout_s)
    if trouble is not Trouble.CONNECTION:
        return _FAILURES[trouble](words)
    found = KmsUnreachable(words + _proxy_words(url))
    found.ask_again = taken
    return found


def _proxy_words(url: KmsUrl) -> str:
    """Say that the proxies of the environment are not used, where there is one for *url*."""
    scheme = "https" if url.tls else "http"
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
        if os.environ.get(name):
            return f" (the KMS is asked directly: {name} is not used)"
    return ""
