"""What proves our identity to a KMS, and the ticket keys we share, from the files of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sipmikey.cli.config.sections.keys import Kms
from sipmikey.key_file import read_key_file
from sipmikey.keys.key_text import parse_key
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import SignatureType
from sipmikey.mikey.secret import Secret
from sipmikey.pem_file import read_certificates, read_rsa_key
from sipmikey.sealed.vault import KEYRING_PREFIX, Vault, data_folder, system_keyring
from sipmikey.settings import ConfigurationError
from sipmikey.ticket.credentials import CertificateCredential, TicketProtectionKey
from sipmikey.ticket.shared_keys import SharedTicketKey

T = TypeVar("T")


def pre_shared_key(kms: Kms) -> Secret:
    """Return the key shared with the KMS. Raises ConfigurationError."""
    if kms.psk_file is not None:
        return _read(read_key_file, kms.psk_file, "kms.psk_file")
    if kms.psk is None:
        raise ConfigurationError("no pre-shared key for the KMS: set kms.psk_file or --psk-file")
    try:
        return parse_key(from_keyring(kms.psk, "kms.psk").reveal(), "kms.psk")
    except LocalError as error:
        raise ConfigurationError(str(error)) from None


def shared_ticket_key(kms: Kms, owner: str) -> SharedTicketKey:
    """Return the ticket key shared with *owner*. Raises ConfigurationError."""
    what = f"kms.ticket_keys {owner}"
    number = kms.ticket_key_ids.get(owner, "")
    try:
        key_id = bytes.fromhex(number)
    except ValueError:
        raise ConfigurationError(f"kms.ticket_key_ids {owner}: {number!r} is not hexadecimal") from None
    key = _read(read_key_file, Path(kms.ticket_keys[owner]).expanduser(), what)
    try:
        return SharedTicketKey(owner=owner, tpk=TicketProtectionKey(key=key, key_id=key_id or None))
    except LocalError as error:
        raise ConfigurationError(f"{what}: {error}") from None


def certificate_credential(kms: Kms) -> CertificateCredential | None:
    """Return the certificate used at the KMS, None where a pre-shared key is. Raises ConfigurationError."""
    certificate, private_key, of_kms = kms.certificate, kms.private_key, kms.kms_certificates
    if certificate is None and private_key is None and of_kms is None:
        return None
    if certificate is None or private_key is None or of_kms is None:
        raise ConfigurationError("kms.certificate, kms.private_key and kms.kms_certificates go together")
    if kms.psk_file is not None or kms.psk is not None:
        raise ConfigurationError("kms.psk_file and kms.certificate: one of them proves who we are, not both")
    return CertificateCredential(
        private_key=_read(read_rsa_key, private_key, "kms.private_key"),
        certificates=_read(read_certificates, certificate, "kms.certificate"),
        kms_certificates=_read(read_certificates, of_kms, "kms.kms_certificates"),
        signature_type=SignatureType.RSA_PSS if kms.signature == "pss" else SignatureType.RSA_PKCS1,
        sends_certificates=kms.send_certificate,
    )


def _read(reader: Callable[[Path, str], T], path: Path, name: str) -> T:
    """Return what *reader* finds in the file that setting *name* gives. Raises ConfigurationError."""
    try:
        return reader(path, name)
    except LocalError as error:
        raise ConfigurationError(str(error)) from None


def from_keyring(value: Secret, name: str) -> Secret:
    """Return *value*, or what the keyring has for it where it says ``keyring:NAME``."""
    text = value.reveal()
    if not text.startswith(KEYRING_PREFIX.encode()):
        return value
    wanted = text.decode(errors="replace").removeprefix(KEYRING_PREFIX)
    found = Vault(data_folder(), system_keyring()).get(wanted)
    if found is None:
        raise ConfigurationError(f"{name}: the keyring has no secret {wanted}: run sipmikey setup again")
    return found
