"""Keeping an enrolled device up to date: its profile, and a new key before the old one ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import tomlkit

from sipmikey.cli.calls.credentials import from_keyring
from sipmikey.cli.config.load import LoadedConfiguration
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.enrol.kept_enrolment import KeptEnrolment, applied, read_document
from sipmikey.cli.enrol.redeem import certificate_request, keep_certificate, keep_psk
from sipmikey.keys.key_text import parse_key
from sipmikey.kms.client import ClientTls
from sipmikey.kms.client.enrolment import post_question
from sipmikey.kms.client.errors import KmsRefused
from sipmikey.kms.client.exchange import KmsUrl
from sipmikey.kms.enrolment.device import EnrolmentResult, ask
from sipmikey.kms.enrolment.documents import Act, Ask
from sipmikey.kms.enrolment.profile import Profile, loosened
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.mikey.secret import Secret
from sipmikey.sealed.vault import KEYRING_PREFIX, Vault, data_folder, system_keyring
from sipmikey.settings import ConfigurationError
from sipmikey.whole_file import write_whole

START_TIMEOUT_S: Final = 3.0
"""How long a start waits for the KMS; what is due stays due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOutcome:
    """What came of asking. ``changed``: settings; ``stay``: those that the user had changed.

    ``looser``: why a profile that protects less was not taken. ``renewed``: whether there is a new key.
    ``valid_until_s``: Unix time at which the present one ends.
    """

    changed: tuple[str, ...] = ()
    stay: tuple[str, ...] = ()
    looser: tuple[str, ...] = ()
    renewed: bool = False
    valid_until_s: int = 0


def refresh(
    configuration: Configuration, path: Path, vault: Vault, *, accept: bool = False, timeout_s: float = 10.0
) -> RefreshOutcome:
    """Ask for the profile, and for a new key if the last third of the old one's life has begun.

    *path*: the configuration's file, which is changed. *accept*: take a profile that protects less, too.
    Raises `KmsFailure`, `PeerError` and `LocalError`.
    """
    device = configuration.enrolment.device
    if not device or configuration.enrolment.key is None:
        raise ConfigurationError(
            f"{path}: this device was not enrolled by an invitation (no enrolment.device)"
        )
    now_s = int(time.time())
    kept = replace(KeptEnrolment.read(device), tried_s=now_s)
    kept.write()
    version = kept.profile.version
    given = _asked(configuration, Ask(act=Act.PROFILE, time_s=now_s, version=version), timeout_s).given
    kept = replace(kept, checked_s=now_s, valid_until_s=given.valid_until_s)
    result = RefreshOutcome(valid_until_s=kept.valid_until_s)
    if given.profile is not None:
        kept, result = _take_profile(kept, given.profile, path, accept=accept)
    kept.write()
    if kept.renewal_due(now_s):
        until_s = renew(configuration, path, vault, timeout_s=timeout_s)
        result = replace(result, renewed=True, valid_until_s=until_s)
    return result


def _take_profile(
    kept: KeptEnrolment, profile: Profile, path: Path, *, accept: bool
) -> tuple[KeptEnrolment, RefreshOutcome]:
    looser = () if accept else loosened(kept.profile, profile)
    if looser:
        return kept, RefreshOutcome(looser=looser, valid_until_s=kept.valid_until_s)
    document = read_document(path)
    changed, stay = applied(document, kept.profile, profile, kept.folder)
    write_whole(path, tomlkit.dumps(document))
    kept = replace(kept, profile=profile)
    return kept, RefreshOutcome(changed=changed, stay=stay, valid_until_s=kept.valid_until_s)


def renew(configuration: Configuration, path: Path, vault: Vault, *, timeout_s: float = 10.0) -> int:
    """Get a new key (or certificate) and put it into the configuration; return when it ends, Unix time.

    The old one stays valid at the KMS for a while, for programs that run with it.
    """
    now_s = int(time.time())
    kept = KeptEnrolment.read(configuration.enrolment.device)
    private_key, csr = ("", b"")
    if configuration.kms.certificate is not None:
        private_key, csr = certificate_request()
    received = _asked(configuration, Ask(act=Act.RENEW, time_s=now_s, csr=csr), timeout_s)
    document = read_document(path)
    old = configuration.kms.psk
    if received.given.certificate:
        keep_certificate(document, kept.folder, received.given.certificate, private_key)
    else:
        keep_psk(document, vault, received.given.psk_id, received.psk)
    write_whole(path, tomlkit.dumps(document))
    replace(
        kept, issued_s=now_s, valid_until_s=received.given.valid_until_s, checked_s=now_s, tried_s=now_s
    ).write()
    _forget(vault, old)
    return received.given.valid_until_s


def leave(configuration: Configuration, vault: Vault) -> None:
    """Give the enrolment of this device back to the KMS, and forget its secrets. The files stay."""
    _asked(configuration, Ask(act=Act.LEAVE, time_s=int(time.time())), 10.0)
    for secret in (configuration.kms.psk, configuration.enrolment.key):
        _forget(vault, secret)


def refresh_at_start(loaded: LoadedConfiguration) -> Iterator[str]:
    """Refresh if that is due; yield what is to be told. No failure ends the start."""
    configuration, path = loaded.configuration, loaded.path
    if path is None or not configuration.enrolment.device:
        return
    now_s = int(time.time())
    kept = KeptEnrolment.read(configuration.enrolment.device)
    if not kept.due(now_s):
        return
    vault = Vault(data_folder(), system_keyring())
    try:
        result = refresh(configuration, path, vault, timeout_s=START_TIMEOUT_S)
    except KmsRefused as error:
        yield f"{error} (sipmikey setup CODE --force)"
    except (SipmikeyError, OSError) as error:
        if kept.renewal_due(now_s):
            days = max(0, kept.valid_until_s - now_s) // 86_400
            yield f"the key of this device ends in {days} days and the KMS gave no new one: {error}"
    else:
        yield from told(result)


def told(result: RefreshOutcome) -> Iterator[str]:
    """Yield what came of a refresh, a sentence each."""
    if result.changed:
        yield f"the organisation changed {', '.join(result.changed)}"
    if result.stay:
        yield f"your own setting of {', '.join(result.stay)} stays; the organisation has another"
    if result.looser:
        yield (
            f"the organisation's profile would protect less and was not taken ({'; '.join(result.looser)}):"
            " sipmikey setup --refresh --accept takes it"
        )
    if result.renewed:
        yield "this device has a new key"


def _asked(configuration: Configuration, what: Ask, timeout_s: float) -> EnrolmentResult:
    section, kms = configuration.enrolment, configuration.kms
    assert section.key is not None
    key = parse_key(from_keyring(section.key, "enrolment.key").reveal(), "enrolment.key", length=32)
    question = ask(section.device, key, what, random=os.urandom)
    tls = ClientTls(ca_file=kms.ca_file, certificate=kms.certificate_file, private_key=kms.private_key_file)
    url = KmsUrl.parse(kms.url, allow_plain_http=kms.plain_http)
    return question.receive(post_question(url, question.body, tls=tls, timeout_s=timeout_s))


def _forget(vault: Vault, secret: Secret | None) -> None:
    text = "" if secret is None else secret.reveal().decode(errors="replace")
    if text.startswith(KEYRING_PREFIX):
        vault.forget(text.removeprefix(KEYRING_PREFIX))
