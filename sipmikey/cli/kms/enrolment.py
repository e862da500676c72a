"""From `[enrolment]` of `kms.toml` to what serves invitations and devices."""

from __future__ import annotations

import ipaddress
from typing import Any

from sipmikey.cli.config.schema import SECTIONS as AGENT_SECTIONS
from sipmikey.cli.kms.common import path_of
from sipmikey.cli.kms.configuration import PLAIN_HTTP_WORDS, KmsConfiguration
from sipmikey.kms.enrolment.authority import DeviceAuthority
from sipmikey.kms.enrolment.desk import EnrolmentSettings
from sipmikey.kms.enrolment.profile import FILES, SETTINGS, Profile
from sipmikey.mikey.errors import LocalError
from sipmikey.pem_file import read_certificates, read_rsa_key
from sipmikey.settings import ConfigurationError, read_section, read_text, read_toml


def enrolment_settings(
    configuration: KmsConfiguration, authority: DeviceAuthority | None
) -> EnrolmentSettings:
    """Return how devices are enrolled, their certificates by *authority*. Raises ConfigurationError."""
    section = configuration.enrolment
    if section.overlap_days >= section.key_days:
        raise ConfigurationError("enrolment.overlap_days is less than enrolment.key_days")
    return EnrolmentSettings(
        kms_identity=configuration.kms.identity,
        key_days=section.key_days,
        overlap_days=section.overlap_days,
        profile=profile_of(configuration),
        authority=authority,
    )


def profile_of(configuration: KmsConfiguration) -> Profile:
    """Return the profile that devices get: `profile.toml`, and what the KMS knows of itself.

    Raises ConfigurationError naming the setting.
    """
    path = configuration.enrolment.profile
    tables: dict[str, Any] = read_toml(path) if path.exists() else {}
    settings: dict[str, dict[str, Any]] = {}
    files: dict[str, str] = {}
    for section, table in tables.items():
        if section not in SETTINGS:
            raise ConfigurationError(f"{path}: a profile has no section [{section}]; {', '.join(SETTINGS)}")
        read_section(AGENT_SECTIONS[section], table, where=section, path=path)
        for key, value in table.items():
            name = f"{section}.{key}"
            if name in FILES:
                files[name] = read_text(path_of(configuration, str(value)))
            elif key in SETTINGS[section]:
                settings.setdefault(section, {})[key] = value
            else:
                raise ConfigurationError(f"{path}: {name} is for one device, and no profile holds it")
    kms = settings.setdefault("kms", {})
    kms.setdefault("identity", configuration.kms.identity)
    if (url := public_url(configuration)) is not None:
        kms.setdefault("url", url)
    if configuration.public_key.certificate is not None:
        files.setdefault("kms.kms_certificates", read_text(configuration.public_key.certificate))
    try:
        return Profile(settings=settings, files=files)
    except LocalError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def public_url(configuration: KmsConfiguration) -> str | None:
    """Return the base URL at which devices reach the KMS, None where nothing tells it."""
    if configuration.enrolment.url:
        return configuration.enrolment.url.rstrip("/")
    scheme = "http" if configuration.tls.certificate is None else "https"
    for address in configuration.http.listen:
        host, _, port = address.rpartition(":")
        if port != "0" and host not in ("0.0.0.0", "[::]", "::", ""):
            return f"{scheme}://{address}"
    return None


def serves_enrolment(configuration: KmsConfiguration) -> bool:
    """Return whether devices may enrol here: over TLS, or on this machine only (a proxy ends TLS there)."""
    return configuration.enrolment.enabled and is_protected(configuration)


def is_protected(configuration: KmsConfiguration) -> bool:
    """Return whether what is served cannot be read on the way: over TLS, or on this machine only."""
    if configuration.tls.certificate is not None or configuration.http.plain_http != PLAIN_HTTP_WORDS:
        return True
    return all(_is_loopback(address) for address in configuration.http.listen)


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback


def device_authority(configuration: KmsConfiguration) -> DeviceAuthority | None:
    """Return what signs the certificates of devices, None where nothing does. Raises LocalError.

    It is read where enrolment is off too: its certificates count only while their device is enrolled.
    """
    section = configuration.enrolment
    if section.ca_certificate is None and section.ca_private_key is None:
        return None
    if section.ca_certificate is None or section.ca_private_key is None:
        raise ConfigurationError("enrolment.ca_certificate and enrolment.ca_private_key go together")
    certificate = read_certificates(section.ca_certificate, "enrolment.ca_certificate")[0]
    key = read_rsa_key(section.ca_private_key, "enrolment.ca_private_key")
    if key.public_key() != certificate.public_key():
        raise ConfigurationError("enrolment.ca_private_key is not the key of enrolment.ca_certificate")
    return DeviceAuthority(certificate=certificate, private_key=key)
