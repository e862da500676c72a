"""Posting a question of enrolment to a KMS: a blocking exchange of its own connection."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Final

from sipmikey.kms.client.errors import KmsBadAnswer, KmsBusy, KmsRefused
from sipmikey.kms.client.exchange import KmsUrl
from sipmikey.kms.client.outcome import failure_of
from sipmikey.kms.client.tls import ClientTls
from sipmikey.kms.enrolment.codes import PATH
from sipmikey.kms.enrolment.documents import MEDIA_TYPE
from sipmikey.network_errors import NETWORK_ERRORS
from sipmikey.printable import printable

MAX_ANSWER: Final = 262_144


def post_question(
    url: KmsUrl,
    body: bytes,
    *,
    tls: ClientTls | None = None,
    verify: bool = True,
    timeout_s: float = 10.0,
    path: str = PATH,
) -> bytes:
    """Post *body* to *path* of the KMS at *url* and return the body of its answer.

    Without *verify* any certificate is taken. That is for redeeming an invitation, whose handshake proves the
    KMS by itself. Raises `UntrustedCertificate`, KmsUnreachable, KmsTimeout, KmsBusy, KmsRefused (with the
    KMS's word as ``kms_reason``) and KmsBadAnswer.
    """
    connection = _connection(url, tls, verify, timeout_s)
    try:
        connection.request("POST", f"{url.path}{path}", body, {"Content-Type": MEDIA_TYPE})
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER + 1)
    except NETWORK_ERRORS as error:
        raise failure_of(error, url, timeout_s) from None
    finally:
        connection.close()
    if len(answer) > MAX_ANSWER:
        raise KmsBadAnswer(f"an answer of more than {MAX_ANSWER} octets")
    if response.status == 200:
        return answer
    reason = printable(response.headers.get("kms-reason", ""), most=64)
    detail = _detail(answer) or f"HTTP {response.status}"
    if response.status == 429 or response.status >= 500:
        wait = response.headers.get("retry-after", "")
        seconds = float(wait) if wait.isdigit() else None
        raise KmsBusy(f"the KMS is busy: {detail}", status=response.status, retry_after_s=seconds)
    if 400 <= response.status < 500 and reason:
        raise KmsRefused(
            f"the KMS refused: {detail}", status=response.status, kms_reason=reason, error_message=None
        )
    raise KmsBadAnswer(f"HTTP {response.status} from {url.site}: is this a KMS that enrols devices?")


def _connection(
    url: KmsUrl, tls: ClientTls | None, verify: bool, timeout_s: float
) -> http.client.HTTPConnection:
    if not url.tls:
        return http.client.HTTPConnection(url.host, url.port, timeout=timeout_s)
    if verify:
        context = (tls or ClientTls()).context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    return http.client.HTTPSConnection(url.host, url.port, timeout=timeout_s, context=context)


def _detail(answer: bytes) -> str:
    """Return what the KMS says about its refusal."""
    try:
        told = json.loads(answer)["detail"]
    except (ValueError, KeyError, TypeError):
        return ""
    return printable(told) if isinstance(told, str) else ""
