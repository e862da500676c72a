"""The mailbox as an HTTP application. docs/deferred.md tells what each request does."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict

from sipmikey.deferred.deposit import MEDIA_TYPE
from sipmikey.kms.server.protocol import Header, RequestHead, Response
from sipmikey.mailbox.mailbox import Mailbox, Visitor
from sipmikey.mailbox.refusals import MailboxRefusal, StoreFailed
from sipmikey.mailbox.routes import Target, read_target, target_path
from sipmikey.mailbox.store import KeptMessage
from sipmikey.rate_limit import RateLimiter, address_key

REASON_HEADER = "mailbox-reason"

log = logging.getLogger("sipmikey.mailbox")

_METHODS = {
    (False, False): (b"POST", b"GET"),
    (True, False): (b"GET", b"DELETE"),
    (True, True): (b"PUT",),
}
"""(True where a message is named, its mark) -> what may be done."""


class MailboxApplication:
    """Satisfies `Application`. *requests*, *deposits* and *failures* limit what one address may do."""

    def __init__(
        self, mailbox: Mailbox, *, requests: RateLimiter, deposits: RateLimiter, failures: RateLimiter
    ) -> None:
        self.body_bytes = mailbox.settings.message_bytes
        self._mailbox = mailbox
        self._path = mailbox.settings.path
        self._requests = requests
        self._deposits = deposits
        self._failures = failures

    def refuse(self, head: RequestHead) -> Response | None:
        """Return the refusal of a request that its head suffices for, else None."""
        try:
            target = self._target(head)
            if target is None:
                return None
            self._admit(self._requests, head, "requests")
            if head.method not in _METHODS[bool(target.name), target.heard]:
                raise MailboxRefusal(405, "method", "that cannot be done here")
            if head.method == b"POST":
                self._check_deposit(target, head)
            elif _has_body(head):
                raise MailboxRefusal(413, "limit-exceeded", "no body is understood here")
        except MailboxRefusal as refusal:
            return self._refused(refusal, head)
        except StoreFailed as error:
            return self._failed(error)
        return None

    def too_large(self) -> Response:
        """Return the answer to a body that is too large."""
        return _refusal(MailboxRefusal(413, "limit-exceeded", f"at most {self.body_bytes} octets"))

    async def answer(self, head: RequestHead, body: bytes) -> Response:
        """Answer one request."""
        try:
            target = self._target(head)
            if target is None:
                return self._other(head)
            return self._done(target, head, body)
        except MailboxRefusal as refusal:
            return self._refused(refusal, head)
        except StoreFailed as error:
            return self._failed(error)
        except Exception:
            log.exception("internal", extra={"fields": {"source": head.source}})
            return _refusal(MailboxRefusal(500, "internal", "internal error"))

    def _target(self, head: RequestHead) -> Target | None:
        return read_target(self._path, head.path)

    def _check_deposit(self, target: Target, head: RequestHead) -> None:
        self._admit(self._deposits, head, "deposits")
        values = dict(head.headers)
        media_type = values.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media_type != MEDIA_TYPE.encode() or values.get(b"content-encoding", b"identity") != b"identity":
            raise MailboxRefusal(415, "media-type", f"Content-Type must be {MEDIA_TYPE}, not encoded")
        self._mailbox.check_deposit(target.box, _visitor(head))

    def _admit(self, limiter: RateLimiter, head: RequestHead, what: str) -> None:
        wait = limiter.retry_after(address_key(head.source))
        if wait is not None:
            raise MailboxRefusal(429, "address-rate", f"too many {what} of this address", retry_after_s=wait)

    def _done(self, target: Target, head: RequestHead, body: bytes) -> Response:
        visitor, mailbox = _visitor(head), self._mailbox
        match head.method, bool(target.name), target.heard:
            case b"POST", False, False:
                kept = mailbox.deposit(target.box, body, visitor)
                self._tell("deposited", target.box, head, message=kept.name, size=kept.size)
                location = target_path(self._path, Target(target.box, kept.name)).encode()
                return _json(201, _document(kept), (b"location", location))
            case b"GET", False, False:
                found = mailbox.messages(target.box, visitor)
                return _json(200, {"messages": [_document(message) for message in found]})
            case b"GET", True, False:
                octets = mailbox.fetch(target.box, target.name, visitor)
                self._tell("fetched", target.box, head, message=target.name, size=len(octets))
                return Response(200, octets, ((b"content-type", MEDIA_TYPE.encode()), _NO_STORE))
            case b"PUT", True, True:
                mailbox.mark_heard(target.box, target.name, visitor)
                return Response(204, b"")
            case b"DELETE", True, False:
                mailbox.delete(target.box, target.name, visitor)
                self._tell("deleted", target.box, head, message=target.name)
                return Response(204, b"")
        raise MailboxRefusal(405, "method", "that cannot be done here")

    def _other(self, head: RequestHead) -> Response:
        if head.path == b"/health/live":
            return Response(200, b"alive\n", _TEXT)
        return Response(404, b"not found\n", _TEXT)

    def _tell(self, event: str, box: str, head: RequestHead, **more: object) -> None:
        log.info(event, extra={"fields": {"box": box, "source": head.source, **more}})

    def _refused(self, refusal: MailboxRefusal, head: RequestHead) -> Response:
        """Log a refusal; who fails to prove who he is too often has to wait."""
        if refusal.status == 401:
            wait = self._failures.retry_after(address_key(head.source))
            if wait is not None:
                refusal = MailboxRefusal(429, "address-rate", "too many failures", retry_after_s=wait)
        fields = {"status": refusal.status, "reason": refusal.reason, "source": head.source}
        log.info("refused", extra={"fields": fields})
        return _refusal(refusal)

    def _failed(self, error: StoreFailed) -> Response:
        log.error("store-failed", extra={"fields": {"detail": str(error)}})
        return _refusal(MailboxRefusal(503, "unavailable", "the store does not answer", retry_after_s=5.0))


def _visitor(head: RequestHead) -> Visitor:
    shown = next((value for name, value in head.headers if name == b"authorization"), b"")
    scheme, _, token = shown.partition(b" ")
    known = token.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
    return Visitor(source=head.source, token=known, names=head.peer_names)


def _has_body(head: RequestHead) -> bool:
    headers = dict(head.headers)
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers


_NO_STORE = (b"cache-control", b"no-store")
_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)


def _document(message: KeptMessage) -> Mapping[str, object]:
    return asdict(message)


def _json(status: int, document: Mapping[str, object], *headers: Header) -> Response:
    body = json.dumps(document).encode() + b"\n"
    return Response(status, body, ((b"content-type", b"application/json"), _NO_STORE, *headers))


def _refusal(refusal: MailboxRefusal) -> Response:
    headers: list[Header] = [*_TEXT, (REASON_HEADER.encode(), refusal.reason.encode())]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(refusal.retry_after_s))).encode()))
    if refusal.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="mailbox"'))
    # After these the body may not have been read, nor will be.
    close = refusal.status in (413, 415, 503)
    return Response(
        refusal.status, f"{refusal.reason}: {refusal.detail}\n".encode(), tuple(headers), close=close
    )
