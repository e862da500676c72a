"""The client of a mailbox for asyncio: leave, list, fetch, mark, delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import httptools

from sipmikey.deferred.deposit import MEDIA_TYPE
from sipmikey.kms.client.exchange import KmsUrl
from sipmikey.kms.client.tls import ClientTls
from sipmikey.mailbox.app import REASON_HEADER
from sipmikey.mailbox.routes import MESSAGE_NAME, Target, target_path
from sipmikey.mailbox.store import KeptMessage
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.secret import Secret
from sipmikey.network_errors import NETWORK_ERRORS, trouble_of

MAX_ANSWER_BYTES = 16_777_216
"""Octets of an answer with its head."""

LAST_S = 253_402_300_799.0
"""The end of the year 9999, the last time that can be shown."""


class MailboxFailure(PeerError):
    """The mailbox gave no usable answer: it could not be reached, took too long, or is not a mailbox."""

    reason: ClassVar[str] = "mailbox-failure"


class MailboxRefused(PeerError):
    """The mailbox refused. ``status``: HTTP status. ``word``: why, as the mailbox says."""

    reason: ClassVar[str] = "mailbox-refused"

    def __init__(self, status: int, word: str, detail: str) -> None:
        super().__init__(f"the mailbox refused (HTTP {status}{f', {word}' if word else ''}): {detail}")
        self.status = status
        self.word = word


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class MailboxClient:
    """*url*: ``https://host[:port][/path]`` of the mailbox, ``/mailbox`` where it has no path.

    *token* opens our box. Plain ``http`` is accepted for loopback addresses only unless *allow_plain_http*
    is set. *timeout_s*: seconds for each request. Raises `LocalError` for arguments that cannot be used. One
    connection a request: there are few.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Secret | None = None,
        tls: ClientTls | None = None,
        timeout_s: float = 20.0,
        allow_plain_http: bool = False,
    ) -> None:
        self._url = KmsUrl.parse(url, allow_plain_http=allow_plain_http)
        self._path = self._url.path or "/mailbox"
        self._token = token
        self._ssl = (tls or ClientTls()).context() if urlsplit(url).scheme == "https" else None
        self._timeout_s = timeout_s

    async def leave(self, box: str, deposit: bytes) -> KeptMessage:
        """Leave a deposit in a box. Raises `MailboxRefused` or `MailboxFailure`, as all of these."""
        answer = await self._request("POST", Target(box), body=deposit, accepted=201)
        return _kept(_parsed(answer))

    async def messages(self, box: str) -> tuple[KeptMessage, ...]:
        """Return what is in a box, the oldest first."""
        answer = await self._request("GET", Target(box))
        listed = _parsed(answer).get("messages")
        if not isinstance(listed, list):
            raise MailboxFailure("the answer has no list of messages: is this a mailbox?")
        return tuple(_kept(item) for item in listed)

    async def fetch(self, box: str, name: str) -> bytes:
        """Return a deposit."""
        return (await self._request("GET", Target(box, name))).body

    async def mark_heard(self, box: str, name: str) -> None:
        """Have a message noted as heard."""
        await self._request("PUT", Target(box, name, heard=True), accepted=204)

    async def delete(self, box: str, name: str) -> None:
        """Have a message deleted."""
        await self._request("DELETE", Target(box, name), accepted=204)

    async def _request(
        self, method: str, target: Target, *, body: bytes = b"", accepted: int = 200
    ) -> _Answer:
        octets = self._octets(method, target, body)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._exchange(octets)
        except NETWORK_ERRORS as error:
            raise MailboxFailure(trouble_of(error, self._url.site, self._timeout_s)[1]) from None
        if answer.status != accepted:
            raise _refusal(answer)
        return answer

    def _octets(self, method: str, target: Target, body: bytes) -> bytes:
        lines = [
            f"{method} {target_path(self._path, target)} HTTP/1.1",
            f"Host: {self._url.authority}",
            "Connection: close",
        ]
        if body:
            lines += [f"Content-Type: {MEDIA_TYPE}", f"Content-Length: {len(body)}"]
        if self._token is not None:
            token = self._token.reveal().decode("latin-1")
            if not token.isprintable():
                raise LocalError("mailbox.token_file: a token is hexadecimal text")
            lines.append(f"Authorization: Bearer {token}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def _exchange(self, octets: bytes) -> _Answer:
        reader, writer = await asyncio.open_connection(self._url.host, self._url.port, ssl=self._ssl)
        try:
            writer.write(octets)
            parser = _Parser()
            # A refusal may come, and the connection end, before all is sent: no drain.
            while not parser.done and (data := await reader.read(65_536)):
                parser.feed(data)
            return parser.answer()
        finally:
            writer.close()


class _Parser:
    """Reads one answer with httptools."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._octets = 0
        self.done = False

    def feed(self, data: bytes) -> None:
        self._octets += len(data)
        if self._octets > MAX_ANSWER_BYTES:
            raise MailboxFailure("the answer is longer than any deposit")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            raise MailboxFailure("the answer is not HTTP") from None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.done = True

    def answer(self) -> _Answer:
        if not self.done:
            raise MailboxFailure("the mailbox closed the connection before its answer was whole")
        return _Answer(self._parser.get_status_code(), self._headers, bytes(self._body))


def _refusal(answer: _Answer) -> PeerError:
    word = answer.headers.get(REASON_HEADER, "")[:64]
    if not word:
        return MailboxFailure(f"HTTP {answer.status}: is this a mailbox?")
    detail = answer.body[:500].decode("utf-8", "replace").strip().removeprefix(f"{word}: ")
    return MailboxRefused(answer.status, word, detail or "no further details")


def _parsed(answer: _Answer) -> Mapping[str, object]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MailboxFailure("the answer is not a JSON object: is this a mailbox?")
    return found


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= LAST_S:
        raise ValueError("not a time")
    return float(value)


def _kept(fields: object) -> KeptMessage:
    """Read what the mailbox tells of a message."""
    try:
        if not isinstance(fields, dict):
            raise ValueError("not an object")
        if MESSAGE_NAME.fullmatch(str(fields["name"])) is None:
            raise ValueError("not a name that a mailbox gives")
        return KeptMessage(
            name=str(fields["name"]), sender=str(fields["sender"]), deposited=_seconds(fields["deposited"]),
            expires=_seconds(fields["expires"]), valid_until=_seconds(fields["valid_until"]),
            duration_s=_seconds(fields["duration_s"]),
            size=int(fields["size"]), heard=fields["heard"] is True,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, OverflowError):
        raise MailboxFailure("what the mailbox tells of a message cannot be read") from None
