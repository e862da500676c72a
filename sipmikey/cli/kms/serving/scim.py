"""From `[scim]` of `kms.toml` to what serves SCIM."""

from __future__ import annotations

import time

from sipmikey.cli.kms.configuration import KmsConfiguration
from sipmikey.cli.kms.enrolment import is_protected, public_url
from sipmikey.kms.provisioning.people import Pattern
from sipmikey.kms.server.enrolment import AddressFailures
from sipmikey.kms.server.metrics import Metrics
from sipmikey.kms.server.pages import Pages
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError
from sipmikey.rate_limit import RateLimiter
from sipmikey.settings import ConfigurationError


def scim_pages(configuration: KmsConfiguration, store: Store, metrics: Metrics) -> list[Pages]:
    """Return what serves SCIM, nothing where it is off. Raises ConfigurationError."""
    section = configuration.scim
    if not section.enabled:
        return []
    if not is_protected(configuration):
        raise ConfigurationError("scim.enabled needs TLS: its tokens would be readable on the way")
    if not section.identities:
        raise ConfigurationError("scim.identities is missing")
    try:
        from sipmikey.kms.scim.desk import ScimDesk, ScimSettings
        from sipmikey.kms.server.scim import PATH, ScimPages
    except ImportError as error:
        raise ConfigurationError(f"scim needs {error.name}: pip install 'sipmikey[organisation]'") from None
    try:
        settings = ScimSettings(
            identities=tuple(Pattern(text, "scim.identities") for text in section.identities),
            group=Pattern(section.group_identity, "scim.group_identity") if section.group_identity else None,
            base=(public_url(configuration) or "") + PATH,
        )
    except LocalError as error:
        raise ConfigurationError(str(error)) from None
    limiter = RateLimiter(per_second=1 / 60, burst=section.failures_burst, now=time.monotonic)
    pages = ScimPages(
        ScimDesk(store, settings, time.time_ns),
        store,
        metrics=metrics,
        failures=AddressFailures(limiter),
        certificates=frozenset(section.client_certificates),
        handle_s=configuration.http.answer_s,
    )
    return [pages]
