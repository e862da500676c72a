"""One OpenID provider over HTTP: what it publishes, forms posted to it, and its ID tokens checked."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sipmikey.kms.enrolment.id_token import TokenRules, UnknownSigningKey, verified_claims
from sipmikey.kms.enrolment.sign_on import ProviderUnavailable
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable

DISCOVERY: Final = "/.well-known/openid-configuration"
MAX_ANSWER: Final = 262_144
KEPT_S: Final = 3600.0
"""How long what the provider says of itself, and its keys, are believed without asking again."""


def check_address(url: str, what: str) -> None:
    """Raise `LocalError` unless *url* is https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
        parts = urlsplit(url) if url.isascii() and "[" not in url else urlsplit("")
    if not parts.netloc or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise LocalError(f"{what}: an https:// address is needed, not {printable(url, most=80)!r}")


def provider_tls(ca_file: Path | None, what: str) -> ssl.SSLContext:
    """Return the TLS of requests to a provider whose CAs are in *ca_file*, or are the system's.

    Raises `LocalError`, which names the setting *what*, for a file that holds none.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise LocalError(f"{what}: {ca_file}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdClient:
    """This KMS as a client of the provider.

    ``client_secret`` None: a public client. ``audience``: what ``aud`` of an ID token holds, usually the
    client's identifier. ``setting``: the setting that the issuer is of, for errors. ``timeout_s``: for one
    question.
    """

    issuer: str
    client_id: str
    client_secret: Secret | None = None
    audience: str = ""
    setting: str = "issuer"
    tls: ssl.SSLContext = field(default_factory=lambda: provider_tls(None, ""), repr=False)
    timeout_s: float = 4.0

    def __post_init__(self) -> None:
        check_address(self.issuer, self.setting)


class OpenIdProvider:
    """Talks to one provider. Every method raises `ProviderUnavailable` where that cannot be done."""

    def __init__(
        self,
        client: OpenIdClient,
        *,
        now_s: Callable[[], int] = lambda: int(time.time()),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._metadata: Mapping[str, Any] = {}
        self._metadata_at = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._lock = asyncio.Lock()

    async def endpoint(self, name: str) -> str:
        """Return the address that the provider publishes as *name* (OpenID Connect Discovery 1.0)."""
        if not self._metadata or self._monotonic_s() >= self._metadata_at + KEPT_S:
            metadata = await self._get(self.client.issuer.rstrip("/") + DISCOVERY)
            if metadata.get("issuer") != self.client.issuer:
                found = printable(str(metadata.get("issuer")), most=80)
                raise ProviderUnavailable(
                    f"the provider calls itself {found!r}: set {self.client.setting} so"
                )
            self._metadata, self._metadata_at = metadata, self._monotonic_s()
        url = self._metadata.get(name)
        if not isinstance(url, str):
            raise ProviderUnavailable(f"the provider publishes no {name}")
        try:
            check_address(url, name)
        except LocalError as error:
            raise ProviderUnavailable(str(error)) from None
        if self.client.issuer.startswith("https:") and not url.startswith("https:"):
            raise ProviderUnavailable(f"{name}: a provider elsewhere names an address on this machine")
        return url

    async def post(self, endpoint: str, fields: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        """Post a form to the *endpoint* of that name, as this client; return status and JSON object.

        RFC 6749 section 2.3.1.
        """
        url = await self.endpoint(endpoint)
        client, headers, form = self.client, {}, dict(fields)
        form["client_id"] = client.client_id
        if client.client_secret is not None:
            secret = client.client_secret.reveal().decode()
            methods = self._metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            if "client_secret_basic" in methods:
                pair = f"{quote(client.client_id, safe='')}:{quote(secret, safe='')}"
                headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
            else:
                form["client_secret"] = secret
        return await self._ask("POST", url, form, headers)

    async def verified(self, token: str, *, nonce: str, nonce_needed: bool) -> Mapping[str, Any]:
        """Return the claims of an ID token of this provider. Raises `IdTokenRefused` for any other.

        *nonce*: what the token repeats; *nonce_needed*: it must.
        """
        client = self.client
        expected = TokenRules(
            issuer=client.issuer, client_id=client.client_id, audience=client.audience or client.client_id,
            nonce=nonce, nonce_needed=nonce_needed,
        )  # fmt: skip
        keys = await self._signing_keys()
        try:
            return verified_claims(token, keys, expected, now_s=self._now_s())
        except UnknownSigningKey:
            # The token is from the provider itself, so that nobody else can make the KMS ask again.
            keys = await self._signing_keys(fresh=True)
            return verified_claims(token, keys, expected, now_s=self._now_s())

    # Inside

    async def _signing_keys(self, *, fresh: bool = False) -> KeySet:
        """Return the provider's keys, not older than `KEPT_S` seconds, or asked for now."""
        async with self._lock:
            if self._keys is not None and not fresh and self._monotonic_s() < self._keys_at + KEPT_S:
                return self._keys
            document = await self._get(await self.endpoint("jwks_uri"))
            try:
                keys = [key for key in document["keys"] if key.get("use", "sig") == "sig"]
                self._keys = KeySet.import_key_set({"keys": keys})
            except (JoseError, ValueError, TypeError, KeyError, AttributeError):
                raise ProviderUnavailable("the provider's keys cannot be read") from None
            self._keys_at = self._monotonic_s()
            return self._keys

    async def _get(self, url: str) -> Mapping[str, Any]:
        status, answer = await self._ask("GET", url, None, {})
        if status != 200:
            raise ProviderUnavailable(f"{url} answers {status}")
        return answer

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=self.client.timeout_s)
        try:
            # Redirects are not followed: a code and a secret go to the endpoint that was named, and no other.
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method, url, data=form, headers={"Accept": "application/json", **headers},
                    ssl=self.client.tls, allow_redirects=False,
                ) as response,
            ):  # fmt: skip
                body = await _read(response)
                status = response.status
        except TimeoutError:
            raise ProviderUnavailable("the provider does not answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ProviderUnavailable(f"the provider cannot be reached ({type(error).__name__})") from None
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ProviderUnavailable(f"the provider answers {status} without a JSON object")
        return status, answer


def error_of(answer: Mapping[str, Any]) -> str:
    """Return what the provider says is wrong (RFC 6749 section 5.2)."""
    word, detail = answer.get("error"), answer.get("error_description")
    return printable(f"{word}: {detail}" if detail else str(word), most=200)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise ProviderUnavailable(f"the provider answers with more than {MAX_ANSWER} octets")
    return bytes(body)
