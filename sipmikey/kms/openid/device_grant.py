"""The device grant of OAuth 2.0 (RFC 8628) at an OpenID provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sipmikey.kms.enrolment.documents import BadEnrolment
from sipmikey.kms.enrolment.id_token import IdTokenRefused
from sipmikey.kms.enrolment.sign_on import Grant, NotYet, ProviderUnavailable, SignOnDenied, SignOnExpired
from sipmikey.kms.enrolment.sign_on_documents import shown_text, web_address
from sipmikey.kms.openid.provider import OpenIdProvider, error_of
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
SLOW_DOWN_S: Final = 5
DEFAULT_INTERVAL_S: Final = 5
DEFAULT_LIFE_S: Final = 600


class DeviceGrant:
    """Satisfies `sipmikey.kms.enrolment.sign_on.Provider`. Raises `LocalError` for scopes without openid."""

    def __init__(self, provider: OpenIdProvider, scopes: tuple[str, ...]) -> None:
        if "openid" not in scopes:
            raise LocalError("scopes: openid is among them, or there is no ID token")
        self._provider = provider
        self._scopes = scopes

    async def begin(self, *, nonce: str) -> Grant:
        """Begin a device grant."""
        # Servers pass over parameters that they do not know (RFC 6749 section 3.1).
        fields = {"scope": " ".join(self._scopes), "nonce": nonce}
        status, answer = await self._provider.post("device_authorization_endpoint", fields)
        if status != 200:
            raise ProviderUnavailable(f"the provider begins no sign-on: {error_of(answer)}")
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
        fields = {"grant_type": GRANT_TYPE, "device_code": device_code.reveal().decode()}
        status, answer = await self._provider.post("token_endpoint", fields)
        if status == 200:
            token = answer.get("id_token")
            if not isinstance(token, str):
                raise IdTokenRefused("the provider gave no ID token: is openid among enrolment.oidc.scopes?")
            return await self._provider.verified(token, nonce=nonce, nonce_needed=False)
        word = answer.get("error")
        if word == "authorization_pending":
            return NotYet(interval_s)
        if word == "slow_down":
            return NotYet(interval_s + SLOW_DOWN_S)
        if word == "access_denied":
            raise SignOnDenied("the sign-on was refused at the provider")
        if word in ("expired_token", "invalid_grant"):
            raise SignOnExpired("the sign-on took too long, or was used already: begin again")
        raise ProviderUnavailable(f"the provider gives no ID token: {error_of(answer)}")


def _number(answer: Mapping[str, Any], key: str, default: int) -> int:
    value = answer.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
        return default
    return max(1, round(value))
