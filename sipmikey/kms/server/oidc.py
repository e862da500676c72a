"""The organisation's OpenID provider as the KMS asks it: discovery, device grant, ID token. Needs aiohttp."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sipmikey.kms.enrolment.documents import BadEnrolment
from sipmikey.kms.enrolment.id_token import IdTokenRefused, TokenRules, UnknownSigningKey, verified_claims
from sipmikey.kms.enrolment.sign_on import Grant, NotYet, ProviderUnavailable, SignOnDenied, SignOnExpired
from sipmikey.kms.enrolment.sign_on_documents import shown_text, web_address
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable

DISCOVERY: Final = "/.well-known/openid-configuration"
GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
MAX_ANSWER: Final = 262_144
KEPT_S: Final = 3600.0
"""How long what the provider says of itself, and its keys, are believed without asking again."""

SLOW_DOWN_S: Final = 5
DEFAULT_INTERVAL_S: Final = 5
DEFAULT_LIFE_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcClient:
    """This KMS as a client of the provider.

    ``client_secret`` None: a public client. ``audience``: what ``aud`` of the ID token holds, usually the
    client's identifier. ``ca_file``: CAs of the provider, instead of the system's. ``timeout_s``: for one
    question.
    """

    issuer: str
    client_id: str
    client_secret: Secret | None = None
    audience: str = ""
    scopes: tuple[str, ...] = ("openid",)
    ca_file: Path | None = None
    timeout_s: float = 4.0

    def __post_init__(self) -> None:
        check_address(self.issuer, "enrolment.oidc.issuer")
        if "openid" not in self.scopes:
            raise LocalError("enrolment.oidc.scopes: openid is among them, or there is no ID token")


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
        raise LocalError(f"{what}: an https address is needed, not {printable(url, most=80)!r}")


class OidcProvider:
    """Satisfies `sipmikey.kms.enrolment.sign_on.Provider`."""

    def __init__(
        self,
        client: OidcClient,
        *,
        now_s: Callable[[], int] = lambda: int(time.time()),
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self._tls = _tls(client.ca_file)
        self._metadata: Mapping[str, Any] = {}
        self._metadata_at = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._lock = asyncio.Lock()

    async def begin(self, *, nonce: str) -> Grant:
        """Begin a device grant."""
        url = await self._endpoint("device_authorization_endpoint")
        # Servers pass over parameters that they do not know (RFC 6749 section 3.1).
        fields = {"scope": " ".join(self._client.scopes), "nonce": nonce}
        status, answer = await self._post(url, fields)
        if status != 200:
            raise ProviderUnavailable(f"the provider begins no sign-on: {_error(answer)}")
        try:
            return Grant(
                device_code=Secret(shown_text(answer, "device_code").encode()),
                user_code=shown_text(answer, "user_code"),
                verification_uri=web_address(answer, "verification_uri"),
                verification_uri_complete=web_address(answer, "verification_uri_complete", optional=True),
                expires_in_s=_number(answer, "expires_in", DEFAULT_LIFE_S),
                interval_s=_number(answer, "interval", DEFAULT_INTERVAL_S),
            )
        except BadEnrolment as error:
            raise ProviderUnavailable(f"the provider's answer cannot be used: {error}") from None

    async def poll(self, device_code: Secret, *, nonce: str, interval_s: int) -> Mapping[str, Any] | NotYet:
        """Return the verified claims of the ID token once the person has agreed."""
        url = await self._endpoint("token_endpoint")
        fields = {"grant_type": GRANT_TYPE, "device_code": device_code.reveal().decode()}
        status, answer = await self._post(url, fields)
        if status == 200:
            token = answer.get("id_token")
            if not isinstance(token, str):
                raise IdTokenRefused("the provider gave no ID token: is openid among enrolment.oidc.scopes?")
            return await self._verified(token, nonce)
        word = answer.get("error")
        if word == "authorization_pending":
            return NotYet(interval_s)
        if word == "slow_down":
            return NotYet(interval_s + SLOW_DOWN_S)
        if word == "access_denied":
            raise SignOnDenied("the sign-on was refused at the provider")
        if word in ("expired_token", "invalid_grant"):
            raise SignOnExpired("the sign-on took too long, or was used already: begin again")
        raise ProviderUnavailable(f"the provider gives no ID token: {_error(answer)}")

    async def _verified(self, token: str, nonce: str) -> Mapping[str, Any]:
        client = self._client
        expected = TokenRules(
            issuer=client.issuer, client_id=client.client_id,
            audience=client.audience or client.client_id, nonce=nonce,
        )  # fmt: skip
        keys = await self._signing_keys()
        try:
            return verified_claims(token, keys, expected, now_s=self._now_s())
        except UnknownSigningKey:
            # The token is from the provider itself, so that nobody else can make the KMS ask again.
            keys = await self._signing_keys(fresh=True)
            return verified_claims(token, keys, expected, now_s=self._now_s())

    async def _signing_keys(self, *, fresh: bool = False) -> KeySet:
        """Return the provider's keys, not older than `KEPT_S` seconds, or asked for now."""
        async with self._lock:
            if self._keys is not None and not fresh and self._monotonic_s() < self._keys_at + KEPT_S:
                return self._keys
            document = await self._get(await self._endpoint("jwks_uri"))
            try:
                keys = [key for key in document["keys"] if key.get("use", "sig") == "sig"]
                self._keys = KeySet.import_key_set({"keys": keys})
            except (JoseError, ValueError, TypeError, KeyError, AttributeError):
                raise ProviderUnavailable("the provider's keys cannot be read") from None
            self._keys_at = self._monotonic_s()
            return self._keys

    async def _endpoint(self, name: str) -> str:
        if not self._metadata or self._monotonic_s() >= self._metadata_at + KEPT_S:
            metadata = await self._get(self._client.issuer.rstrip("/") + DISCOVERY)
            if metadata.get("issuer") != self._client.issuer:
                found = printable(str(metadata.get("issuer")), most=80)
                raise ProviderUnavailable(
                    f"the provider calls itself {found!r}: set enrolment.oidc.issuer so"
                )
            self._metadata, self._metadata_at = metadata, self._monotonic_s()
        url = self._metadata.get(name)
        if not isinstance(url, str):
            raise ProviderUnavailable(f"the provider has no {name}: does it do the device grant (RFC 8628)?")
        try:
            check_address(url, name)
        except LocalError as error:
            raise ProviderUnavailable(str(error)) from None
        return url

    async def _get(self, url: str) -> Mapping[str, Any]:
        status, answer = await self._ask("GET", url, None, {})
        if status != 200:
            raise ProviderUnavailable(f"{url} answers {status}")
        return answer

    async def _post(self, url: str, fields: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        """Post a form as this client (RFC 6749 section 2.3.1)."""
        client, headers, form = self._client, {}, dict(fields)
        form["client_id"] = client.client_id
        if client.client_secret is not None:
            secret = client.client_secret.reveal().decode()
            methods = self._metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            if "client_secret_basic" in methods:
                encoded = aiohttp.BasicAuth(quote(client.client_id, safe=""), quote(secret, safe="")).encode()
                headers["Authorization"] = encoded
            else:
                form["client_secret"] = secret
        return await self._ask("POST", url, form, headers)

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, Any]]:
        timeout = aiohttp.ClientTimeout(total=self._client.timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method, url, data=form, headers={"Accept": "application/json", **headers},
                    ssl=self._tls, allow_redirects=False,
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


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise ProviderUnavailable(f"the provider answers with more than {MAX_ANSWER} octets")
    return bytes(body)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise LocalError(f"enrolment.oidc.ca_file: {ca_file}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _number(answer: Mapping[str, Any], key: str, default: int) -> int:
    value = answer.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
        return default
    return max(1, round(value))


def _error(answer: Mapping[str, Any]) -> str:
    """Return what the provider says is wrong (RFC 6749 section 5.2)."""
    word, detail = answer.get("error"), answer.get("error_description")
    return printable(f"{word}: {detail}" if detail else str(word), most=200)
