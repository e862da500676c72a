"""One question to a KMS over HTTP without I/O: URL, request and what the answer means."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from sipmikey.kms.client.errors import KmsBadAnswer, KmsBusy, KmsFailure, KmsRefused
from sipmikey.kms.client.refusals import next_step
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import DataType

REQUEST_TYPES: Final[Mapping[int, str]] = {
    DataType.REQUEST_INIT_PSK: "ticketrequest",
    DataType.REQUEST_INIT_PK: "ticketrequest",
    DataType.RESOLVE_INIT_PSK: "ticketresolve",
    DataType.RESOLVE_INIT_PK: "ticketresolve",
}
"""HDR data type of what may be sent to a KMS -> value of the URL's `requesttype`."""

MEDIA_TYPE: Final = "application/mikey"
MAX_ANSWER_BYTES: Final = 262_144

ENCODINGS: Final = ("raw", "base64")


@dataclass(frozen=True, slots=True)
class KmsUrl:
    """Base URL of a KMS. ``path`` has no trailing slash and is empty for none."""

    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def parse(cls, text: str, *, allow_plain_http: bool = False) -> KmsUrl:
        """Read ``https://host[:port][/path]``; plain ``http`` beyond loopback only if allowed.

        Raises LocalError.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise LocalError(f"not a KMS URL: {text!r} ({error})") from None
        if port == 0 or any(not "!" <= character <= "~" for character in parts.netloc):
            raise LocalError(f"not a KMS URL: {text!r} (a host name in ASCII, a port from 1 to 65535)")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise LocalError(f"not a KMS URL: {text!r} (https://host[:port][/path])")
        if parts.query or parts.fragment or parts.username is not None:
            raise LocalError(f"a KMS URL has no query, fragment or user: {text!r}")
        if parts.scheme == "http" and not allow_plain_http and not _is_loopback(parts.hostname):
            raise LocalError(f"plain HTTP to {parts.hostname} would show who calls whom: use https")
        tls = parts.scheme == "https"
        if any(not "!" <= character <= "~" for character in parts.path):
            raise LocalError(f"not a KMS URL: {text!r} (a path in printable ASCII)")
        return cls(parts.hostname, port or (443 if tls else 80), parts.path.rstrip("/"), tls)

    @property
    def authority(self) -> str:
        """Host and port as in the Host header; the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def site(self) -> str:
        """Scheme and authority, for messages."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"


@dataclass(slots=True)
class Answer:
    """An HTTP response. ``headers``: by name in lower case; the first where there are several."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        """Append to the body; raises KmsBadAnswer beyond ``MAX_ANSWER_BYTES``."""
        if len(self.body) + len(chunk) > MAX_ANSWER_BYTES:
            raise KmsBadAnswer(f"answer longer than {MAX_ANSWER_BYTES} octets")
        self.body += chunk


def target(url: KmsUrl, message: bytes) -> str:
    """Return path and query that *message* is posted to; raises LocalError unless it is for a KMS."""
    word = REQUEST_TYPES.get(message[1]) if len(message) > 1 else None
    if word is None:
        raise LocalError("only REQUEST_INIT and RESOLVE_INIT messages are sent to a KMS")
    return f"{url.path}/keymanagement?requesttype={word}"


def request_headers(url: KmsUrl, body: bytes, more: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of a request; raises LocalError for a header that would break the message."""
    headers = {
        "Host": url.authority,
        "Content-Type": MEDIA_TYPE,
        "Accept": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        **(more or {}),
    }
    for name, value in headers.items():
        if not name.isascii() or any(character in name + value for character in "\r\n\0"):
            raise LocalError(f"the header {name!r} has characters that no header may have")
    return headers


def request_octets(url: KmsUrl, message: bytes, body: bytes, more: Mapping[str, str] | None) -> bytes:
    """Return the HTTP/1.1 request with *message* encoded as *body*."""
    lines = [f"POST {target(url, message)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request_headers(url, body, more).items()]
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + body


def encoded(message: bytes, encoding: str) -> bytes:
    """Return *message* as a body in *encoding*, one of ``ENCODINGS``."""
    return base64.b64encode(message) if encoding == "base64" else message


def message_of(answer: Answer, *, now_s: float) -> bytes:
    """Return the MIKEY message of *answer*; raises the `KmsFailure` that another status stands for.

    *now_s*: Unix time of this machine, to be compared with the KMS's.
    """
    if answer.status != 200:
        raise _failure(answer, now_s)
    return _decoded(answer)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _media_type(answer: Answer) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def _decoded(answer: Answer) -> bytes:
    content = bytes(answer.body)
    media_type = _media_type(answer)
    if media_type != MEDIA_TYPE:
        raise KmsBadAnswer(f"answer of type {media_type or 'unknown'}, not {MEDIA_TYPE}: is this a KMS?")
    if content[:1] == b"\x01":
        return content
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        raise KmsBadAnswer("the answer is neither a MIKEY message nor base64") from None


def _failure(answer: Answer, now_s: float) -> KmsFailure:
    """Return the error that an answer other than 200 stands for."""
    word = answer.headers.get("kms-reason", "")[:64]
    what = f"HTTP {answer.status}" + (f", {word}" if word else "")
    if 300 <= answer.status < 400:
        location = answer.headers.get("location", "")[:200]
        to = f" to {location}" if location else ""
        return KmsBadAnswer(f"{what}: it redirects{to}, which is not followed; set kms.url to the KMS itself")
    if answer.status == 429 or answer.status >= 500:
        return KmsBusy(
            f"the KMS is busy ({what})",
            status=answer.status,
            retry_after_s=_seconds(answer.headers.get("retry-after")),
        )
    if 400 <= answer.status < 500:
        has_message = _media_type(answer) == MEDIA_TYPE and answer.body
        step = next_step(word, date=answer.headers.get("date"), now_s=now_s)
        return KmsRefused(
            f"the KMS refused ({what}){f': {step}' if step else ''}",
            status=answer.status,
            kms_reason=word,
            error_message=_decoded(answer) if has_message else None,
        )
    return KmsBadAnswer(f"{what} from the KMS")


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
