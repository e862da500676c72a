"""The client of a KMS for programs without asyncio, on Python's own HTTP client."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from sipmikey.kms.client.exchange import (
    MAX_ANSWER_BYTES,
    Answer,
    KmsUrl,
    encoded,
    request_headers,
    target,
)
from sipmikey.kms.client.outcome import answered, failure_of
from sipmikey.kms.client.sites import Sites
from sipmikey.kms.client.tls import ClientTls
from sipmikey.network_errors import NETWORK_ERRORS


class BlockingKmsClient:
    """Sends MIKEY messages to one or several KMSs and waits for their answers.

    Arguments and errors are those of `HttpKmsClient`; ``timeout_s`` bounds each wait for the network. One
    connection to each KMS is kept; threads may share the object and take turns.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        by_identity: Mapping[str, str] | None = None,
        tls: ClientTls | None = None,
        timeout_s: float = 5.0,
        encoding: str = "raw",
        allow_plain_http: bool = False,
    ) -> None:
        self._sites = Sites.of(url, by_identity, encoding=encoding, allow_plain_http=allow_plain_http)
        self._encoding = encoding
        self._ssl = (tls or ClientTls()).context() if self._sites.need_tls else None
        self._timeout_s = timeout_s
        self._kept: dict[KmsUrl, http.client.HTTPConnection] = {}
        self._turn = threading.Lock()

    def __enter__(self) -> BlockingKmsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The next request opens new ones."""
        with self._turn:
            while self._kept:
                self._kept.popitem()[1].close()

    def request(
        self, message: bytes, *, kms: str | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send a REQUEST_INIT or RESOLVE_INIT and return the KMS's answer, not yet verified.

        As `HttpKmsClient.request`, with the same errors.
        """
        url = self._sites.find(kms)
        where = target(url, message)
        body = encoded(message, self._encoding)
        sent_headers = request_headers(url, body, headers)
        try:
            with self._turn:
                answer, repeated = self._exchange(url, where, body, sent_headers)
        except NETWORK_ERRORS as error:
            taken = isinstance(error, http.client.RemoteDisconnected | ConnectionResetError)
            raise failure_of(error, url, self._timeout_s, taken=taken) from None
        return answered(answer, repeated=repeated, now_s=time.time())

    def _exchange(
        self, url: KmsUrl, where: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Answer, bool]:
        """Return the answer, and whether the request was sent twice for it."""
        kept = self._kept.pop(url, None)
        if kept is not None:
            try:
                return self._once(url, kept, where, body, headers), False
            except ConnectionError:  # RemoteDisconnected too: the server closed a connection it had kept
                kept.close()
        return self._once(url, self._connection(url), where, body, headers), kept is not None

    def _once(
        self,
        url: KmsUrl,
        connection: http.client.HTTPConnection,
        where: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        try:
            connection.request("POST", where, body, dict(headers))
            response = connection.getresponse()
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()})
            answer.add(response.read(MAX_ANSWER_BYTES + 1))
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._kept[url] = connection
        return answer

    def _connection(self, url: KmsUrl) -> http.client.HTTPConnection:
        if url.tls:
            return http.client.HTTPSConnection(url.host, url.port, timeout=self._timeout_s, context=self._ssl)
        return http.client.HTTPConnection(url.host, url.port, timeout=self._timeout_s)
