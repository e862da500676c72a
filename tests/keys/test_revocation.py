"""Revocation lists: who is refused, and that nobody can tell without a current list of the right issuer."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sipmikey.keys.revocation import Revocation
from sipmikey.mikey.errors import InvalidCertificate
from tests.keys.certificates import NOW, certificate, key_usage, rsa_key

ROOT = certificate("root", "root", ca=True)
MIDDLE = certificate("middle", "root", ca=True)
OWNER = certificate("alice", "middle", uris=("sip:alice@example.com",))


def revocation_list(
    issuer: x509.Certificate,
    *revoked: x509.Certificate,
    signer: str = "",
    start: datetime = NOW - timedelta(days=1),
    end: datetime = NOW + timedelta(days=1),
    critical: bool = False,
) -> x509.CertificateRevocationList:
    name = issuer.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(start)
        .next_update(end)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(start)
        builder = builder.add_revoked_certificate(entry.build())
    if critical:
        builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
    return builder.sign(rsa_key(signer or str(name)), hashes.SHA256())


def check(
    *lists: x509.CertificateRevocationList,
    chain: tuple[x509.Certificate, ...] = (OWNER, MIDDLE),
    anchors: tuple[x509.Certificate, ...] = (ROOT,),
    kept: bool = False,
) -> None:
    Revocation(lists=lists, anchors=anchors).check(chain, NOW, kept=kept)


GOOD = (revocation_list(MIDDLE), revocation_list(ROOT))


def test_a_chain_with_current_lists_that_do_not_name_it_passes() -> None:
    check(*GOOD)
    check(*GOOD, chain=(OWNER, MIDDLE, ROOT))
    check(GOOD[1], chain=(MIDDLE,))


@pytest.mark.parametrize(
    "lists",
    [
        (revocation_list(MIDDLE, OWNER), GOOD[1]),
        (GOOD[0], revocation_list(ROOT, MIDDLE)),
        (*GOOD, revocation_list(MIDDLE, OWNER)),
    ],
    ids=["the owner's", "its issuer's", "in one of two lists"],
)
def test_a_revoked_certificate_is_refused(lists: tuple[x509.CertificateRevocationList, ...]) -> None:
    with pytest.raises(InvalidCertificate, match="is revoked"):
        check(*lists)


@pytest.mark.parametrize(
    "instead",
    [
        None,
        revocation_list(MIDDLE, end=NOW),
        revocation_list(MIDDLE, start=NOW + timedelta(hours=1)),
        revocation_list(MIDDLE, signer="root"),
        revocation_list(MIDDLE, critical=True),
        revocation_list(ROOT),
    ],
    ids=["none", "out of date", "of the future", "another's signature", "a delta", "another issuer"],
)
def test_without_a_current_list_of_the_issuer_nobody_can_tell(
    instead: x509.CertificateRevocationList | None,
) -> None:
    lists = (GOOD[1],) if instead is None else (instead, GOOD[1])
    with pytest.raises(InvalidCertificate, match="no current revocation list of CN=middle"):
        check(*lists)


def test_a_ca_that_must_not_sign_lists_cannot() -> None:
    limited = _without_crl_sign()
    owner = certificate("bob", "limited")
    with pytest.raises(InvalidCertificate, match="no current"):
        check(revocation_list(limited), chain=(owner,), anchors=(limited,))


def _without_crl_sign() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "limited")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(rsa_key("limited").public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(key_usage("key_cert_sign"), critical=True)
        .sign(rsa_key("limited"), hashes.SHA256())
    )


def test_a_certificate_that_is_configured_needs_no_list_but_a_list_may_name_it() -> None:
    check(chain=(OWNER,), kept=True)
    direct = certificate("carol", "root")
    check(revocation_list(ROOT), chain=(direct,), kept=True)
    with pytest.raises(InvalidCertificate, match="is revoked"):
        check(revocation_list(ROOT, direct), chain=(direct,), kept=True)


def test_an_anchor_itself_is_trusted_as_configured() -> None:
    check(chain=(ROOT,))
