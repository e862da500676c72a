"""From `[enrolment.oidc]` of `kms.toml` to what serves single sign-on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.kms.configuration import KmsConfiguration
from sipmikey.kms.enrolment.claims import IdentityRule
from sipmikey.kms.enrolment.codes import SIGN_ON_PATH
from sipmikey.kms.enrolment.sign_on import SignOnDesk, SignOnSettings
from sipmikey.kms.server.enrolment import SIGN_ON_PAGE, AddressFailures, EnrolmentPages
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.pages import Pages
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError
from sipmikey.rate_limit import RateLimiter
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.environment import Environment

if TYPE_CHECKING:
    from sipmikey.kms.openid.device_grant import DeviceGrant

STARTS_PER_S: Final = 0.5
STARTS_BURST: Final = 30
"""Sign-ons that one address may begin: each is a question to the provider."""

POLLS_PER_S: Final = 1.0
POLLS_BURST: Final = 2
"""Questions to the provider for one sign-on, however often its device asks."""


def sign_on_pages(
    configuration: KmsConfiguration, env: Environment, store: Store, metrics: Metrics
) -> list[Pages]:
    """Return what serves sign-on, nothing where no provider is set. Raises ConfigurationError."""
    section = configuration.enrolment_oidc
    if not section.issuer:
        return []
    settings, provider = _provider(configuration)
    desk = SignOnDesk(
        env,
        settings,
        provider,
        store.devices,
        audit=store.audit,
        starts=_limit(STARTS_PER_S, STARTS_BURST),
        polls=_limit(POLLS_PER_S, POLLS_BURST),
    )
    pages = EnrolmentPages(
        desk, metrics=metrics, handle_s=configuration.http.answer_s, path=SIGN_ON_PATH, page=SIGN_ON_PAGE
    )
    return [pages]


def _provider(configuration: KmsConfiguration) -> tuple[SignOnSettings, DeviceGrant]:
    """Return what the configuration says of sign-on, and the provider. Raises ConfigurationError."""
    section = configuration.enrolment_oidc
    for name in ("client_id", "identity"):
        if not getattr(section, name):
            raise ConfigurationError(f"enrolment.oidc.{name} is missing")
    try:
        from sipmikey.kms.openid.device_grant import DeviceGrant
        from sipmikey.kms.openid.provider import OpenIdClient, OpenIdProvider, provider_tls
    except ImportError as error:
        raise ConfigurationError(
            f"enrolment.oidc needs {error.name}: pip install 'sipmikey[organisation]'"
        ) from None
    secret = None
    if section.client_secret_file is not None:
        secret = read_secret_file(section.client_secret_file, "enrolment.oidc.client_secret_file")
    try:
        settings = SignOnSettings(
            issuer=section.issuer,
            rule=IdentityRule(
                claim=section.claim,
                identity=section.identity,
                groups_claim=section.groups_claim,
                allowed_groups=frozenset(section.allowed_groups),
            ),
            kms_identity=configuration.kms.identity,
            add_users=section.add_users,
        )
        client = OpenIdClient(
            issuer=section.issuer,
            client_id=section.client_id,
            client_secret=secret,
            audience=section.audience,
            setting="enrolment.oidc.issuer",
            tls=provider_tls(section.ca_file, "ca_file"),
            timeout_s=max(0.5, configuration.http.answer_s * 0.8),
        )
        return settings, DeviceGrant(OpenIdProvider(client), section.scopes)
    except LocalError as error:
        raise ConfigurationError(f"enrolment.oidc: {error}") from None


def _limit(per_second: float, burst: int) -> AddressFailures:
    return AddressFailures(RateLimiter(per_second=per_second, burst=burst, now=time.monotonic))
