"""ID tokens of OpenID Connect: signature and claims checked (OpenID Connect Core 1.0 section 3.1.3.7)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from sipmikey.mikey.errors import PeerError

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""Signatures that only the provider can make: not ``none``, and none whose key the client knows too."""

MAX_TOKEN: Final = 32_768
LEEWAY_S: Final = 60


class IdTokenRefused(PeerError):
    """An ID token is not one that the provider made for this KMS, now."""

    reason: ClassVar[str] = "id-token-refused"
    http_status: ClassVar[int] = 403


class IdTokenNotGenuine(IdTokenRefused):
    """The signature of an ID token is not the provider's."""


class UnknownSigningKey(IdTokenNotGenuine):
    """The token names a key that is not among those known: the provider may have a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a token must say. ``audience``: who it is for. ``nonce``: what it repeats, if it has one.

    ``nonce_needed``: the token must have one. Some providers leave it out in the device grant.
    """

    issuer: str
    client_id: str
    audience: str
    nonce: str = ""
    nonce_needed: bool = False


def verified_claims(token: str, keys: KeySet, expected: TokenRules, *, now_s: int) -> Mapping[str, Any]:
    """Return the claims of *token* after every check. Raises `IdTokenRefused`.

    It is an `IdTokenNotGenuine` where the signature fails, and of these an `UnknownSigningKey` where *keys*
    do not have the key that the token names.

    No error repeats the token.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise IdTokenRefused(f"an ID token has {MAX_TOKEN} octets at most")
    try:
        decoded = jwt.decode(token, _signing_key(token, keys), algorithms=list(ALGORITHMS))
    except IdTokenRefused:
        raise
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise IdTokenNotGenuine(
            f"the signature of the ID token does not hold ({type(error).__name__})"
        ) from None
    claims = decoded.claims
    _check_times(claims, now_s)
    _check_parties(claims, expected)
    return claims


def _signing_key(token: str, keys: KeySet) -> Key:
    """Return the key that *token* says it is signed with."""
    kid = jws.extract_compact(token.encode()).headers().get("kid")
    found = [key for key in keys.keys if kid is None or key.kid == kid]
    if not found:
        raise UnknownSigningKey("the ID token is signed by a key that the provider does not publish")
    if len(found) > 1:
        raise IdTokenRefused("the ID token names no key, and the provider has several")
    return found[0]


def _check_times(claims: Mapping[str, Any], now_s: int) -> None:
    for name in ("exp", "iat"):
        if not _is_time(claims.get(name)):
            raise IdTokenRefused(f"the ID token has no time {name}")
    if now_s >= claims["exp"] + LEEWAY_S:
        raise IdTokenRefused("the ID token has expired")
    for name in ("iat", "nbf"):
        if name in claims and not (_is_time(claims[name]) and claims[name] <= now_s + LEEWAY_S):
            raise IdTokenRefused(f"the ID token is of the future by its {name}")


def _check_parties(claims: Mapping[str, Any], expected: TokenRules) -> None:
    if claims.get("iss") != expected.issuer:
        raise IdTokenRefused("the ID token is of another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if expected.audience not in audiences:
        raise IdTokenRefused("the ID token is for another client")
    party = claims.get("azp")
    if party is None and len(audiences) > 1:
        raise IdTokenRefused("the ID token is for several clients and does not say by whom it was asked for")
    if party is not None and party != expected.client_id:
        raise IdTokenRefused("the ID token was asked for by another client")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise IdTokenRefused("the ID token names no person")
    nonce = claims.get("nonce")
    if not expected.nonce_needed and (nonce is None or not expected.nonce):
        return
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise IdTokenRefused("the ID token is of another sign-on")


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
