"""The authentication of a sender: credential, MAC or signature, the identity claimed, and freshness."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.kms.service.lookups import Lookups
from sipmikey.kms.service.settings import KmsSettings
from sipmikey.kms.service.trail import RateLimited, Trail
from sipmikey.kms.subscribers import Principal, PskCredential
from sipmikey.mikey.certificate import SIGN
from sipmikey.mikey.errors import (
    AuthenticationFailure,
    InvalidCertificate,
    InvalidIdentity,
    InvalidTimestamp,
    LocalError,
    PeerError,
    ReplayedMessage,
    UnknownKey,
)
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.kms_exchange.kms import AuthenticatedInit, KmsInit

NEVER_S = 1 << 40
"""Expiry of a message with a COUNTER, which never becomes too old to be replayed."""

MAX_IDENTITY = 512
"""Longest identity taken, in characters."""

_NS = 1_000_000_000


class WrongKms(InvalidIdentity):
    """The message is for another KMS."""

    http_status = 404


class NotOwner(InvalidIdentity):
    """The credential does not own the identity claimed."""

    reason = "identity-not-owned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The sender of a message. ``identity``: canonical, and owned by ``principal``."""

    principal: Principal
    identity: str
    authenticated: AuthenticatedInit


_canonical = lru_cache(maxsize=8192)(canonical)


def canonical_identity(text: str, field: str) -> str:
    """Return the canonical form of an identity in a message.

    Raises `InvalidIdentity` if it is not a URI or longer than `MAX_IDENTITY`.
    """
    if len(text) > MAX_IDENTITY:
        raise InvalidIdentity(f"{len(text)} characters, {MAX_IDENTITY} are allowed", field=field)
    try:
        return _canonical(text)
    except LocalError as error:
        raise InvalidIdentity(str(error), field=field) from None


async def authenticate(
    env: Environment, settings: KmsSettings, lookups: Lookups, init: KmsInit, trail: Trail
) -> Sender:
    """Return who sent *init*.

    Raises `WrongKms`, `UnknownKey`, `AuthenticationFailure`, `InvalidCertificate`, `NotOwner`,
    `ReplayedMessage`, `InvalidTimestamp` or `RateLimited`. Nothing is remembered of a message before its MAC
    or signature has been verified.
    """
    field = f"IDR{init.kind.id_role.name[0].lower()}"
    claimed = None if init.identity is None else canonical_identity(init.identity, field)
    trail.identity = claimed or ""
    if init.kms is not None and not settings.is_ours(canonical_identity(init.kms, "IDRkms")):
        trail.kms = canonical_identity(init.kms, "IDRkms")
        raise WrongKms(f"this KMS is not {init.kms}", field="IDRkms")
    now_s = env.now_ns() // _NS
    if not init.timestamp.is_clock and not settings.accept_counter:
        raise InvalidTimestamp("a COUNTER tells no time: send NTP-UTC", field="T")
    if init.public_key:
        sender = await _by_certificate(settings, lookups, init, claimed, trail)
    else:
        sender = await _by_psk(settings, lookups, init, claimed, trail, now_s)
    trail.subscriber, trail.identity = sender.principal.name, sender.identity
    trail.authenticated = sender.authenticated
    if not sender.principal.enabled:
        raise UnknownKey(f"subscriber {sender.principal.name!r} is disabled")
    if not sender.principal.owns(sender.identity):
        raise NotOwner(
            f"the credential of {sender.principal.name!r} does not own {sender.identity}", field=field
        )
    if lookups.admission is not None:
        wait = lookups.admission.retry_after(sender.principal.name)
        if wait is not None:
            raise RateLimited(wait)
    await _check_fresh(env, lookups, init, now_s)
    return sender


async def _by_psk(
    settings: KmsSettings,
    lookups: Lookups,
    init: KmsInit,
    claimed: str | None,
    trail: Trail,
    now_s: int,
) -> Sender:
    failure: PeerError | None = None
    for credential in await _candidates(lookups, init, claimed, trail):
        if not credential.valid_at(now_s):
            continue
        principal = credential.principal
        try:
            authenticated = init.verify_psk(
                credential.protection,
                owner=claimed or principal.identities[0],
                kms=settings.identity,
            )
        except AuthenticationFailure as error:
            failure = error
            continue
        if credential.key_id is not None:
            trail.credential = credential.key_id.hex()
        return Sender(
            principal=principal, identity=claimed or principal.identities[0], authenticated=authenticated
        )
    raise failure or UnknownKey("the pre-shared key is not known or not valid now", field="IDRpsk")


async def _candidates(
    lookups: Lookups, init: KmsInit, claimed: str | None, trail: Trail
) -> tuple[PskCredential, ...]:
    """The keys a message may be protected with: the one it names, or those of the claimed sender."""
    if init.psk_id is not None:
        trail.credential = init.psk_id[:64].hex()
        credential = await lookups.credentials.psk_by_key_id(init.psk_id)
        return () if credential is None else (credential,)
    if claimed is None:
        raise UnknownKey("the message names neither its key nor its sender", field="IDRpsk")
    # IDRr never finds the key another KMS shares with us (RFC 6043 section 10).
    found = await lookups.credentials.psks_of(claimed)
    return tuple(credential for credential in found if not credential.principal.is_kms)


async def _by_certificate(
    settings: KmsSettings, lookups: Lookups, init: KmsInit, claimed: str | None, trail: Trail
) -> Sender:
    if not settings.key_pairs:
        raise UnknownKey("this KMS takes no public-key messages", field="CERT")
    given = init.certificates()
    fitting = given[:1] or await _kept_certificates(lookups, claimed)
    failure: PeerError = InvalidCertificate("no certificate is given, and none is known", field="CERT")
    for certificate in fitting:
        fingerprint = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
        trail.credential = fingerprint.hex()
        try:
            authenticated = init.verify_pk(
                anchors=settings.trust_anchors,
                key_pairs=settings.key_pairs,
                kms=settings.identity,
                known=None if given else certificate,
                revocation=settings.revocation and settings.revocation(),
            )
        except PeerError as error:
            failure = error
            continue
        registered_only = certificate.issuer in settings.registered_issuers
        return await _owner(lookups, claimed, fingerprint, authenticated, registered_only=registered_only)
    raise failure


async def _kept_certificates(lookups: Lookups, claimed: str | None) -> tuple[x509.Certificate, ...]:
    """Return the certificates kept for the claimed sender of a message."""
    kept = () if claimed is None else await lookups.credentials.certificates_of(claimed)
    return tuple(x509.load_der_x509_certificate(der) for der in kept)


async def _owner(
    lookups: Lookups,
    claimed: str | None,
    fingerprint: bytes,
    authenticated: AuthenticatedInit,
    *,
    registered_only: bool,
) -> Sender:
    identity = claimed or canonical_identity(authenticated.identity, "IDR")
    principal = await lookups.credentials.principal_by_certificate(fingerprint)
    if principal is None and registered_only:
        raise UnknownKey("the certificate is not of a device that is enrolled here", field="CERT")
    if principal is None:
        principal = await lookups.credentials.principal_of(identity)
    if principal is None or principal.is_kms:
        raise UnknownKey(f"{identity} is not a subscriber", field="CERT")
    return Sender(principal=principal, identity=identity, authenticated=authenticated)


async def _check_fresh(env: Environment, lookups: Lookups, init: KmsInit, now_s: int) -> None:
    """Raise `ReplayedMessage` for a message seen before.

    The digest leaves out the MAC or signature: of a signature there may be several valid ones.
    """
    raw = init.message.raw
    closing = len(init.message.one(SIGN).signature) if init.public_key else init.suite.mac_alg.length
    digest = hashlib.sha256(raw[: len(raw) - closing]).digest()[:16]
    stamped_s = expires_s = NEVER_S
    if init.timestamp.is_clock:
        stamped_s = init.timestamp.unix_ns() // _NS
        expires_s = stamped_s + env.clock_skew_s + 2
    if not await lookups.replay.add(digest, stamped_s=stamped_s, expires_s=expires_s, now_s=now_s):
        raise ReplayedMessage("this message was received before", field="T", section="RFC 3830 section 5.4")
