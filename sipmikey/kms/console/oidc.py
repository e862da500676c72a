"""Signing in at an OpenID provider: OpenID Connect Core 1.0 section 3.1, with PKCE (RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sipmikey.kms.console.roles import GROUP_PREFIX
from sipmikey.kms.console.sessions import Login
from sipmikey.kms.console.settings import OidcSettings
from sipmikey.kms.enrolment.id_token import IdTokenNotGenuine, IdTokenRefused
from sipmikey.kms.enrolment.sign_on import ProviderUnavailable
from sipmikey.kms.openid.provider import OpenIdProvider, error_of
from sipmikey.mikey.errors import LocalError


class SignInFailed(LocalError):
    """The provider, or what it said, does not let this person in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonClaims:
    """What the provider says of a person: a name, and the groups it is in (``group:NAME``)."""

    name: str
    groups: tuple[str, ...]


class ProviderSignIn:
    """Sends people to the provider, and says who came back."""

    def __init__(self, settings: OidcSettings, redirect_uri: str) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._provider = OpenIdProvider(settings.client)

    async def address(self, login: Login) -> str:
        """Return the URL at which the person signs in. Raises `SignInFailed`."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self._settings.client.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid email profile",
            "state": login.state,
            "nonce": login.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        try:
            endpoint = await self._provider.endpoint("authorization_endpoint")
        except ProviderUnavailable as error:
            raise SignInFailed(str(error)) from None
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def claimed(self, code: str, login: Login) -> PersonClaims:
        """Return who came back with *code*. Raises `SignInFailed`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": login.verifier,
        }
        try:
            status, answer = await self._provider.post("token_endpoint", form)
            if status != 200:
                raise SignInFailed(f"the provider gives no ID token: {error_of(answer)}")
            token = answer.get("id_token")
            if not isinstance(token, str):
                raise SignInFailed("the provider gives no ID token")
            return self._who(await self._provider.verified(token, nonce=login.nonce, nonce_needed=True))
        except ProviderUnavailable as error:
            raise SignInFailed(str(error)) from None
        except IdTokenNotGenuine as error:
            raise SignInFailed(f"the ID token is not genuine: {error}") from None
        except IdTokenRefused as error:
            raise SignInFailed(f"the ID token is not for this visit: {error}") from None

    def _who(self, claims: Mapping[str, Any]) -> PersonClaims:
        name = claims.get(self._settings.claim)
        if not isinstance(name, str) or not name or not name.isprintable():
            raise SignInFailed(f"the ID token has no claim {self._settings.claim!r}")
        if name.casefold().startswith(GROUP_PREFIX):
            raise SignInFailed(f"the claim {self._settings.claim!r} has a name that groups have")
        if self._settings.claim == "email" and claims.get("email_verified") is not True:
            raise SignInFailed("the provider has not verified the person's address (email_verified)")
        groups = claims.get(self._settings.groups_claim) if self._settings.groups_claim else None
        listed = groups if isinstance(groups, list) else []
        return PersonClaims(
            name=name, groups=tuple(f"{GROUP_PREFIX}{group}" for group in listed if isinstance(group, str))
        )
