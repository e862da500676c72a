"""Asking a KMS over HTTP: one POST for a Ticket Request or a Ticket Resolve.

The only module that imports the HTTP client library (aiohttp).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final
from urllib.parse import urlsplit

import aiohttp

from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.registry import DataType, ErrorNo

REQUEST_TYPES: Final[Mapping[int, str]] = {
    DataType.REQUEST_INIT_PSK: "ticketrequest",
    DataType.REQUEST_INIT_PK: "ticketrequest",
    DataType.RESOLVE_INIT_PSK: "ticketresolve",
    DataType.RESOLVE_INIT_PK: "ticketresolve",
}
"""HDR data type of what may be sent to a KMS -> value of the URL's `requesttype`."""

MEDIA_TYPE: Final = "application/mikey"
MAX_ANSWER_BYTES: Final = 262_144
IDLE_CONNECTION_S: Final = 20.0
"""Shorter than any server's keep-alive time in use, so that we close first."""


class KmsFailure(PeerError):
    """The KMS gave no usable answer; the subclass says how."""

    reason: ClassVar[str] = "kms-failure"
    error_no: ClassVar[ErrorNo | None] = None
    sip_status: ClassVar[int] = 503
    http_status: ClassVar[int] = 503


class KmsUnreachable(KmsFailure):
    """No connection, or it broke before an answer: name, route, port, TLS, certificate."""

    reason = "kms-unreachable"


class KmsTimeout(KmsFailure):
    """The KMS did not answer within the time allowed."""

    reason = "kms-timeout"


class KmsBusy(KmsFailure):
    """The KMS answered 429 or 5xx. ``retry_after_s`` is the wait it asked for in seconds, if any."""

    reason = "kms-busy"

    def __init__(self, detail: str, *, status: int, retry_after_s: float | None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after_s = retry_after_s


class KmsBadAnswer(KmsFailure):
    """The answer is not one a KMS gives: wrong status, media type, size or encoding."""

    reason = "kms-bad-answer"


class KmsRefused(KmsFailure):
    """The KMS refused with a 4xx.

    ``status`` is the HTTP status, ``kms_reason`` the word the KMS gave (empty if none), ``error_message``
    the MIKEY Error message it sent (RFC 6043 section 5.4), whose MAC is the caller's to verify.
    """

    reason = "kms-refused"
    sip_status = 403
    http_status = 403

    def __init__(self, detail: str, *, status: int, kms_reason: str, error_message: bytes | None) -> None:
        super().__init__(detail)
        self.status = status
        self.kms_reason = kms_reason
        self.error_message = error_message


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """Whom to trust and what to show.

    ``ca_file``: PEM certificates to trust instead of the system's. ``certificate`` and ``private_key``: PEM
    files of a client certificate, both or neither.
    """

    ca_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context that verifies the server's chain and name, TLS 1.2 or later.

        Raises LocalError naming the file that cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise LocalError(f"cannot use the CA certificates in {self.ca_file}: {error}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if (self.certificate is None) != (self.private_key is None):
            raise LocalError("a client certificate needs both its certificate and its private_key file")
        if self.certificate is not None:
            try:
                context.load_cert_chain(self.certificate, self.private_key)
            except (OSError, ssl.SSLError) as error:
                raise LocalError(f"cannot use the client certificate {self.certificate}: {error}") from None
        return context


class HttpKmsClient:
    """Sends MIKEY messages to one or several KMSs and returns their answers.

    ``url``: base URL of the KMS to ask when none is named. ``by_identity``: base URLs of others by KMS
    identity as it stands in IDRkms (``"sip:kms@example.org"``). A URL is ``https://host[:port][/path]``;
    plain ``http`` is accepted for loopback addresses only unless *allow_plain_http* is set.
    ``timeout_s``: seconds for the whole exchange; ``connect_timeout_s``: of these, for the connection.
    ``encoding``: ``"raw"`` or ``"base64"`` bodies.

    Connections are kept alive and shared; the object belongs to the event loop that first uses it and is
    closed with ``close()`` or ``async with``.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        by_identity: Mapping[str, str] | None = None,
        tls: ClientTls | None = None,
        timeout_s: float = 5.0,
        connect_timeout_s: float = 3.0,
        encoding: str = "raw",
        allow_plain_http: bool = False,
    ) -> None:
        others = dict(by_identity or {})
        if url is None and not others:
            raise LocalError("a KMS client needs at least one KMS URL")
        if encoding not in ("raw", "base64"):
            raise LocalError(f"encoding must be raw or base64, not {encoding!r}")
        self._url = None if url is None else _checked_url(url, allow_plain_http)
        self._by_identity = {name: _checked_url(text, allow_plain_http) for name, text in others.items()}
        self._base64 = encoding == "base64"
        everything = [*self._by_identity.values(), *([] if self._url is None else [self._url])]
        needs_tls = any(text.startswith("https:") for text in everything)
        self._ssl = (tls or ClientTls()).context() if needs_tls else None
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> HttpKmsClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. The next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self, message: bytes, *, kms: str | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send a REQUEST_INIT or RESOLVE_INIT and return the KMS's answer, not yet verified.

        ``kms`` is the identity of the KMS to ask; None asks the one given by ``url``. A connection that
        breaks before any answer is tried once more with the same message: if the KMS had taken it, its
        replay cache refuses the second.

        Raises LocalError for another kind of message or a KMS with no URL, KmsUnreachable, KmsTimeout,
        KmsBusy, KmsRefused, KmsBadAnswer.
        """
        url = f"{self._base(kms)}/keymanagement?requesttype={_request_type(message)}"
        body = base64.b64encode(message) if self._base64 else message
        sent_headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE, **(headers or {})}
        try:
            try:
                return await self._exchange(url, body, sent_headers)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise  # nothing was sent: a second try at once would fare no better
                return await self._exchange(url, body, sent_headers)
        except TimeoutError:
            # aiohttp's time-outs are TimeoutErrors as well as client errors: this comes first.
            raise KmsTimeout(f"no answer from {_site(url)} within {self._timeout.total} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise KmsUnreachable(f"the certificate of {_site(url)} is not trusted: {error}") from None
        except (aiohttp.ClientConnectionError, ssl.SSLError, OSError) as error:
            raise KmsUnreachable(f"cannot reach {_site(url)}: {error or type(error).__name__}") from None
        except aiohttp.ClientError as error:
            raise KmsBadAnswer(f"{_site(url)} does not answer as HTTP: {type(error).__name__}") from None

    def _base(self, kms: str | None) -> str:
        if kms is not None and (url := self._by_identity.get(kms)) is not None:
            return url
        if self._url is None:
            raise LocalError(
                f"no URL is known for the KMS {kms!r}: add it to the KMS URLs of the configuration"
            )
        return self._url

    async def _exchange(self, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        async with self._opened().post(url, data=body, headers=headers, allow_redirects=False) as response:
            content = await _read_bounded(response)
            if response.status == 200:
                return _decoded(response, content)
            raise _failure(response, content)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=64,
                    keepalive_timeout=IDLE_CONNECTION_S,
                    ssl=True if self._ssl is None else self._ssl,
                ),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session


def _checked_url(text: str, allow_plain_http: bool) -> str:
    """Return the base URL without a trailing slash, or raise LocalError."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LocalError(f"not a KMS URL: {text!r} (https://host[:port][/path])")
    if parts.query or parts.fragment or parts.username is not None:
        raise LocalError(f"a KMS URL has no query, fragment or user: {text!r}")
    if parts.scheme == "http" and not allow_plain_http and not _is_loopback(parts.hostname):
        raise LocalError(f"plain HTTP to {parts.hostname} would show who calls whom: use https")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _site(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _request_type(message: bytes) -> str:
    word = REQUEST_TYPES.get(message[1]) if len(message) > 1 else None
    if word is None:
        raise LocalError("only REQUEST_INIT and RESOLVE_INIT messages are sent to a KMS")
    return word


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, of at most MAX_ANSWER_BYTES octets."""
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            response.close()
            raise KmsBadAnswer(f"answer longer than {MAX_ANSWER_BYTES} octets")
    return bytes(content)


def _decoded(response: aiohttp.ClientResponse, content: bytes) -> bytes:
    """Return the MIKEY message of a 200 answer."""
    if response.content_type != MEDIA_TYPE:
        raise KmsBadAnswer(f"answer of type {response.content_type}, not {MEDIA_TYPE}: is this a KMS?")
    if content[:1] == b"\x01":
        return content
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        raise KmsBadAnswer("the answer is neither a MIKEY message nor base64") from None


def _failure(response: aiohttp.ClientResponse, content: bytes) -> KmsFailure:
    """Return the error that an answer other than 200 stands for."""
    word = response.headers.get("KMS-Reason", "")[:64]
    what = f"HTTP {response.status}" + (f", {word}" if word else "")
    if response.status == 429 or response.status >= 500:
        return KmsBusy(
            f"the KMS is busy ({what})",
            status=response.status,
            retry_after_s=_seconds(response.headers.get("Retry-After")),
        )
    if 400 <= response.status < 500:
        error_message = (
            _decoded(response, content) if response.content_type == MEDIA_TYPE and content else None
        )
        return KmsRefused(
            f"the KMS refused ({what})", status=response.status, kms_reason=word, error_message=error_message
        )
    return KmsBadAnswer(f"HTTP {response.status} from the KMS")


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None


# asyncio.TimeoutError is TimeoutError from Python 3.11 on; aiohttp's ServerTimeoutError derives from it.
assert asyncio.TimeoutError is TimeoutError
