"""Signing in at an OpenID provider: OpenID Connect Core 1.0 section 3.1, with PKCE (RFC 7636)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sipmikey.kms.console.sessions import Login
from sipmikey.kms.console.settings import OidcSettings
from sipmikey.kms.enrolment.id_token import IdTokenNotGenuine, IdTokenRefused, TokenRules, verified_claims
from sipmikey.mikey.errors import LocalError

TIMEOUT_S: Final = 5.0
CACHE_S: Final = 3600.0
KEYS_S: Final = 30.0
"""How soon the provider's keys are asked for again because a token names one that is not among them."""

ANSWER_BYTES: Final = 1_000_000


class SignInFailed(LocalError):
    """The provider, or what it said, does not let this person in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonClaims:
    """What the provider says of a person: a name, and the groups it is in (``group:NAME``)."""

    name: str
    groups: tuple[str, ...]


class OpenIdProvider:
    """Talks to one provider. What it publishes about itself is asked for once an hour."""

    def __init__(
        self, settings: OidcSettings, redirect_uri: str, now_s: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._now_s = now_s
        self._metadata: Mapping[str, Any] = {}
        self._metadata_at = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0

    async def address(self, login: Login) -> str:
        """Return the URL at which the person signs in."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid email profile",
            "state": login.state,
            "nonce": login.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        endpoint = await self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def claimed(self, code: str, login: Login) -> PersonClaims:
        """Return who came back with *code*. Raises `SignInFailed`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": login.verifier,
        }
        answer = await self._asked(await self._endpoint("token_endpoint"), form)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInFailed("the OpenID provider gave no id_token")
        return self._who(await self._verified(token, login.nonce))

    async def _verified(self, token: str, nonce: str) -> Mapping[str, Any]:
        expected = TokenRules(
            issuer=self._settings.issuer, client_id=self._settings.client_id,
            audience=self._settings.client_id, nonce=nonce, nonce_needed=True,
        )  # fmt: skip
        try:
            try:
                return verified_claims(token, await self._key_set(), expected, now_s=int(self._now_s()))
            except IdTokenNotGenuine:
                keys = await self._key_set(again=True)
                return verified_claims(token, keys, expected, now_s=int(self._now_s()))
        except IdTokenNotGenuine as error:
            raise SignInFailed(f"the id_token is not genuine: {error}") from None
        except IdTokenRefused as error:
            raise SignInFailed(f"the id_token is not for this visit: {error}") from None

    def _who(self, claims: Mapping[str, Any]) -> PersonClaims:
        name = claims.get(self._settings.claim)
        if not isinstance(name, str) or not name or not name.isprintable():
            raise SignInFailed(f"the id_token has no claim {self._settings.claim!r}")
        if self._settings.claim == "email" and claims.get("email_verified") is not True:
            raise SignInFailed("the OpenID provider has not verified the person's address (email_verified)")
        groups = claims.get(self._settings.groups_claim) if self._settings.groups_claim else None
        listed = groups if isinstance(groups, list) else []
        return PersonClaims(
            name=name, groups=tuple(f"group:{group}" for group in listed if isinstance(group, str))
        )

    # What the provider publishes

    async def _endpoint(self, name: str) -> str:
        if not self._metadata or self._now_s() - self._metadata_at > CACHE_S:
            url = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            metadata = await self._asked(url)
            if metadata.get("issuer") != self._settings.issuer:
                raise SignInFailed(
                    "the OpenID provider calls itself by another name than console.oidc_issuer"
                )
            self._metadata, self._metadata_at = metadata, self._now_s()
        endpoint = self._metadata.get(name)
        if not isinstance(endpoint, str) or not self._may_ask(endpoint):
            raise SignInFailed(f"the OpenID provider publishes no usable {name}")
        return endpoint

    async def _key_set(self, *, again: bool = False) -> KeySet:
        age_s = self._now_s() - self._keys_at
        if self._keys is None or age_s > CACHE_S or (again and age_s > KEYS_S):
            published = await self._asked(await self._endpoint("jwks_uri"))
            try:
                self._keys = KeySet.import_key_set(published)  # type: ignore[arg-type]
            except (JoseError, ValueError, KeyError, TypeError):
                raise SignInFailed("the OpenID provider's keys cannot be read") from None
            self._keys_at = self._now_s()
        return self._keys

    def _may_ask(self, url: str) -> bool:
        """Return whether *url* is HTTPS, or where the issuer itself is HTTP on this machine, the like."""
        parts, issuer = urlsplit(url), urlsplit(self._settings.issuer)
        if parts.scheme == "https":
            return True
        return (parts.scheme, parts.hostname) == (issuer.scheme, issuer.hostname) == ("http", parts.hostname)

    async def _asked(self, url: str, form: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """Return the JSON at *url*, of a form that was posted where there is one."""
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        if form is not None:
            fields = dict(form)
            secret = self._settings.client_secret
            if secret is None:
                fields["client_id"] = self._settings.client_id
            else:
                pair = f"{quote(self._settings.client_id, '')}:{quote(secret.reveal().decode(), '')}"
                request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
            request.data = urlencode(fields).encode()
        try:
            answer = await asyncio.to_thread(self._fetched, request)
            decoded = json.loads(answer)
        except urllib.error.HTTPError as error:
            raise SignInFailed(f"the OpenID provider answers {error.code}") from None
        except (OSError, ValueError) as error:
            raise SignInFailed(f"the OpenID provider does not answer: {type(error).__name__}") from None
        if not isinstance(decoded, dict):
            raise SignInFailed("the OpenID provider's answer is not a JSON object")
        return decoded

    def _fetched(self, request: urllib.request.Request) -> bytes:
        handlers = [_NoRedirects()]
        if self._settings.context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self._settings.context))  # type: ignore[arg-type]
        opener = urllib.request.build_opener(*handlers)
        with opener.open(request, timeout=TIMEOUT_S) as response:
            body: bytes = response.read(ANSWER_BYTES + 1)
        if len(body) > ANSWER_BYTES:
            raise ValueError("too long")
        return body


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing: a code and a secret go to the endpoint that was named, and to no other."""
        return
