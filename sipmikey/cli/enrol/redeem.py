"""Redeeming an invitation: from a code to a configuration with a key of this device's own."""

from __future__ import annotations

import base64
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tomlkit
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from sipmikey.cli.enrol.kept_enrolment import KeptEnrolment, applied, folder_of, put
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.kms.client import ClientTls
from sipmikey.kms.client.enrolment import post_question
from sipmikey.kms.client.errors import (
    KmsTimeout,
    KmsUnreachable,
    UntrustedCertificate,
    word_of,
)
from sipmikey.kms.client.exchange import KmsUrl
from sipmikey.kms.enrolment.codes import PATH, Invitation
from sipmikey.kms.enrolment.device import EnrolmentResult, Question, redeem
from sipmikey.kms.enrolment.documents import MAX_NAME
from sipmikey.kms.enrolment.profile import SIP_PASSWORD, Profile
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.secret import Secret
from sipmikey.sealed.vault import Vault
from sipmikey.whole_file import write_whole

ATTEMPTS: Final = 3
"""How often the same message is sent where no answer comes: the KMS gives it the same answer."""

RSA_BITS: Final = 3072


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """An invitation that was redeemed, not kept yet. ``private_key``: PEM, with a certificate only."""

    kms_url: str
    received: EnrolmentResult
    ca_file: Path | None
    private_key: str = ""
    proven_by_code: bool = False


def redeemed(
    invitation: Invitation, kms_url: str, *, name: str, ca_file: Path | None, with_certificate: bool
) -> Enrolment:
    """Ask the KMS at *kms_url* for a key of this device (*with_certificate*: a certificate).

    Raises `CommandFailed` saying what to do.
    """
    private_key, csr = certificate_request() if with_certificate else ("", b"")
    question = redeem(invitation.code, name=name[:MAX_NAME], random=os.urandom, csr=csr)
    return enrolment_of(question, kms_url, ca_file=ca_file, private_key=private_key, by_code=True)


def enrolment_of(
    question: Question, kms_url: str, *, ca_file: Path | None, private_key: str, by_code: bool
) -> Enrolment:
    """Ask *question* of the KMS and return what came of it. Raises `CommandFailed`.

    *by_code*: a code proves the KMS, so that its certificate need not be trusted.
    """
    url = KmsUrl.parse(kms_url)
    tls = ClientTls(ca_file=ca_file)
    proven_by_code = False
    try:
        try:
            answer = asked(url, question.body, tls, verify=True)
        except UntrustedCertificate:
            if ca_file is not None or not by_code:
                raise
            proven_by_code = True
            answer = asked(url, question.body, tls, verify=False)
        received = question.receive(answer)
    except PeerError as error:
        raise CommandFailed(
            f"{error}; nothing was written", code=ExitCode.KMS, reason=word_of(error)
        ) from None
    return Enrolment(
        kms_url=kms_url, received=received, ca_file=ca_file, private_key=private_key,
        proven_by_code=proven_by_code,
    )  # fmt: skip


def asked(url: KmsUrl, body: bytes, tls: ClientTls, *, verify: bool = True, path: str = PATH) -> bytes:
    """Post *body* and return the answer, trying again where none comes. Raises `KmsFailure`."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return post_question(url, body, tls=tls, verify=verify, path=path)
        except UntrustedCertificate:
            raise
        except (KmsTimeout, KmsUnreachable):
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def device_name() -> str:
    """Return what this device is called where its user does not say."""
    return (platform.node().partition(".")[0] or "phone")[:MAX_NAME]


def keep(enrolment: Enrolment, path: Path, vault: Vault) -> tuple[str, ...]:
    """Put the secrets into the vault, write files and the configuration at *path*; return what was set."""
    received, given = enrolment.received, enrolment.received.given
    document = tomlkit.document()
    document.add(
        tomlkit.comment("Written by sipmikey setup. What you change here stays when the profile changes.")
    )
    put(document, "identity", "uri", given.identity)
    put(document, "kms", "url", enrolment.kms_url)
    put(document, "kms", "identity", given.kms_identity)
    if enrolment.ca_file is not None:
        put(document, "kms", "ca_file", str(enrolment.ca_file.resolve()))
    folder = folder_of(given.device)
    if given.certificate:
        keep_certificate(document, folder, given.certificate, enrolment.private_key)
    else:
        keep_psk(document, vault, given.psk_id, received.psk)
    put(document, "enrolment", "device", given.device)
    put(document, "enrolment", "key", vault.keep(f"{given.device}/device", _text(received.device_key)))
    if (password := given.secrets.get(SIP_PASSWORD)) is not None:
        put(document, "credentials", "password", vault.keep(f"{given.device}/sip", password))
    profile = given.profile or Profile()
    base = {
        key: value for key, value in profile.settings.get("kms", {}).items() if key in ("url", "identity")
    }
    for key, value in base.items():
        put(document, "kms", key, value)
    changed, _ = applied(document, Profile(), profile, folder)
    now_s = int(time.time())
    KeptEnrolment(
        device=given.device, profile=profile, issued_s=now_s, valid_until_s=given.valid_until_s,
        checked_s=now_s, tried_s=now_s,
    ).write()  # fmt: skip
    write_whole(path, tomlkit.dumps(document))
    return changed


def keep_psk(document: tomlkit.TOMLDocument, vault: Vault, psk_id: str, psk: Secret) -> None:
    """Put a pre-shared key into the vault and name it in *document*."""
    put(document, "kms", "psk_id", psk_id)
    put(document, "kms", "psk", vault.keep(f"{psk_id}/kms", _text(psk)))


def keep_certificate(
    document: tomlkit.TOMLDocument, folder: Path, certificate: str, private_key: str
) -> None:
    """Write a certificate with its key into *folder* and name them in *document*."""
    for key, name, text in (
        ("certificate", "certificate.pem", certificate),
        ("private_key", "private-key.pem", private_key),
    ):
        write_whole(folder / name, text)
        put(document, "kms", key, str(folder / name))


def certificate_request() -> tuple[str, bytes]:
    """Draw an RSA key; return it in PEM, and a request (PKCS#10, DER) for it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sipmikey")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem.decode(), csr.public_bytes(serialization.Encoding.DER)


def _text(key: Secret) -> Secret:
    return Secret(base64.b64encode(key.reveal()))
