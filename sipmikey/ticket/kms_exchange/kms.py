"""The KMS's half of an exchange: an INIT message read, authenticated and answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from sipmikey.keys.certificate import (
    choose_by_hash,
    load_certificate,
    verify_chain,
)
from sipmikey.keys.derivation import initial_message_keys, response_message_keys
from sipmikey.keys.envelope import open_envelope
from sipmikey.keys.prf import Prf
from sipmikey.keys.revocation import Revocation
from sipmikey.keys.signature import ACCEPTED_HASHES, verify_signature
from sipmikey.keys.suite import MINIMUM_KEY_LENGTH, Suite, suite_of
from sipmikey.keys.transport import seal_keys
from sipmikey.mikey.certificate import CERT, CHASH, PKE, SIGN
from sipmikey.mikey.errors import (
    InvalidCertificate,
    LocalError,
    MalformedMessage,
    UnsupportedDataType,
)
from sipmikey.mikey.header import Header
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import (
    CsIdMapType,
    ErrorNo,
    IdRole,
    SignatureType,
)
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.timestamp import T, Timestamp
from sipmikey.native import native
from sipmikey.ticket.credentials import KmsKeyPair, PreSharedKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.error_message import build_error
from sipmikey.ticket.identity import canonical, identity_text
from sipmikey.ticket.kms_exchange.kind import KINDS, ExchangeKind, check_empty_map
from sipmikey.ticket.protection import last_v, seal, verify

InitParts = tuple[
    Message,
    ExchangeKind,
    Suite,
    Timestamp,
    bytes,
    IDR | None,
    IDR | None,
    IDR | None,
    str | None,
    str | None,
]
"""INIT, its kind, suite, timestamp and RAND; IDRi or IDRr, IDRkms and IDRpsk; the first two also as text."""


@native
def read_init(env: Environment, data: bytes) -> InitParts:
    """Parse an INIT message and check all that can be checked without a key, as `KmsInit` says."""
    message = Message.parse(data, env.limits)
    header = message.header
    kind = KINDS.get(header.data_type)
    if kind is None:
        raise UnsupportedDataType(f"{header.data_type.name} is not for a KMS", field="data type", offset=1)
    suite = suite_of(header.prf)
    check_empty_map(header)
    timestamp = message.one(T).timestamp
    env.check_timestamp(timestamp, header.data_type.name)
    rand = message.one(RANDR, kind.rand_role).rand
    own = message.find(IDR, kind.id_role)
    kms = message.find(IDR, IdRole.KMS)
    psk = message.find(IDR, IdRole.PSK)
    identity = None if own is None else identity_text(own)
    kms_identity = None if kms is None else identity_text(kms)
    if header.data_type is not kind.pk_init:
        last_v(message, suite)
    return message, kind, suite, timestamp, rand, own, kms, psk, identity, kms_identity


class KmsInit:
    """An INIT message at the KMS, parsed and not yet authenticated.

    ``identity`` (IDRi or IDRr), ``kms`` (IDRkms) and ``psk_id`` (IDRpsk) are what the message claims, None
    where left out; ``public_key`` tells the variant.
    """

    def __init__(self, env: Environment, data: bytes) -> None:
        """Parse and check all that can be checked without a key.

        Raises `UnsupportedDataType` for another message, `InvalidTimestamp` outside the clock skew,
        `MalformedMessage` for a missing or doubled payload.
        """
        self._env = env
        (
            self.message,
            self.kind,
            self.suite,
            self.timestamp,
            self.rand,
            self._own,
            self._kms,
            self._psk,
            self.identity,
            self.kms,
        ) = read_init(env, data)
        self.psk_id = None if self._psk is None else self._psk.data
        self.public_key = self.message.header.data_type is self.kind.pk_init

    def verify_psk(self, psk: PreSharedKey, *, owner: str, kms: str) -> AuthenticatedInit:
        """Verify the MAC with *psk*, whose *owner* and *kms* replace identities left out.

        Raises `AuthenticationFailure` when the MAC does not verify. That the owner may use the claimed
        identity is the caller's to check.
        """
        if self.public_key:
            raise LocalError("a public-key message has no MAC")
        self._check_rand(len(psk.key))
        prf = psk.prf(self.suite.prf)
        protection = initial_message_keys(prf, self.message.header.csb_id, **self.kind.rands(self.rand))
        verify(self.message, self.suite, protection, self._identities(owner, kms))
        return AuthenticatedInit(self._env, self, self.identity or owner, prf)

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the certificate chain of a public-key message, which may leave it out."""
        return tuple(load_certificate(item) for item in self.message.all(CERT))

    def verify_pk(
        self,
        *,
        anchors: Sequence[x509.Certificate],
        key_pairs: Sequence[KmsKeyPair],
        kms: str,
        known: x509.Certificate | None = None,
        revocation: Revocation | None = None,
    ) -> AuthenticatedInit:
        """Verify chain and signature, and open the envelope key.

        *known*: the sender's certificate as the KMS keeps it, for a message without one (RFC 6043 sections
        4.2.1.3 and 4.2.3.3); it needs no issuer among *anchors*. *revocation*: the lists to judge the chain
        by, None for none. The certificate must name the identity the message claims. Raises
        `InvalidCertificate` or `AuthenticationFailure`; an envelope for another key shows only at the client,
        which then cannot verify the response (RFC 3830 section 3.2).
        """
        if not self.public_key or not key_pairs:
            raise LocalError("a pre-shared-key message, or no key pair")
        if self._own is None:
            raise InvalidCertificate("the message names no identity", field="IDR")
        sign_payload = self.message.one(SIGN)
        key = self._verify_sender(self._own.data, anchors, known, revocation)
        covered = self.message.raw[: -len(sign_payload.signature) or None] + self._identities("", kms)
        verify_signature(
            key,
            sign_payload.signature,
            covered,
            hash_funcs=ACCEPTED_HASHES[self.suite.prf],
            signature_type=_known_signature(sign_payload),
        )
        envelope_key = self._open_envelope(key_pairs)
        return AuthenticatedInit(self._env, self, identity_text(self._own), Prf(self.suite.prf, envelope_key))

    def _verify_sender(
        self,
        identity: bytes,
        anchors: Sequence[x509.Certificate],
        known: x509.Certificate | None,
        revocation: Revocation | None,
    ) -> rsa.RSAPublicKey:
        """Verify the sender's chain and return its public key; see `verify_pk`."""
        at = datetime.fromtimestamp(self._env.now_ns() / 1e9, UTC)
        chain = self.certificates()
        if not chain and known is not None:
            chain, anchors = (known,), (known,)
        if not chain:
            raise InvalidCertificate("no certificate is given, and none is known", field="CERT")
        key = verify_chain(
            chain,
            anchors=anchors,
            at=at,
            identity=identity,
            max_certificates=self._env.limits.certificates,
        )
        if revocation is not None:
            revocation.check(chain, at, kept=known is not None and chain == (known,))
        return key

    def _open_envelope(self, key_pairs: Sequence[KmsKeyPair]) -> Secret:
        pair = self._key_pair(key_pairs)
        length = self.suite.key_length
        self._check_rand(length)
        return open_envelope(
            pair.private_key,
            self.message.one(PKE).data,
            length=length,
            substitute=Secret(self._env.random(length)),
        )

    def _key_pair(self, key_pairs: Sequence[KmsKeyPair]) -> KmsKeyPair:
        chash = self.message.find(CHASH)
        if chash is None:
            return key_pairs[0]
        chosen = choose_by_hash(chash.hash_func, chash.hash, [pair.certificate for pair in key_pairs])
        return next(pair for pair in key_pairs if pair.certificate == chosen)

    def _identities(self, owner: str, kms: str) -> bytes:
        """Identities as the MAC covers them: ID Data as sent, or the names known where left out."""
        own = canonical(owner).encode() if self._own is None else self._own.data
        return own + (canonical(kms).encode() if self._kms is None else self._kms.data)

    def _check_rand(self, inkey_length: int) -> None:
        if len(self.rand) < max(inkey_length, MINIMUM_KEY_LENGTH):
            raise MalformedMessage(
                f"{len(self.rand)} octets, the key has {inkey_length}",
                field="RANDR",
                section="RFC 6043 section 12.1",
            )

    def plain_error(self, errors: Sequence[ErrorNo]) -> bytes:
        """Return an unauthenticated Error message about this message."""
        return build_error(self._env, self.message.header, errors)


@native
def build_response(
    env: Environment,
    init: KmsInit,
    prf: Prf,
    before: Sequence[Payload],
    keys: Sequence[KeyData],
    after: Sequence[Payload],
) -> bytes:
    """Return the response to *init*, as `AuthenticatedInit.respond` says."""
    suite, about = init.suite, init.message.header
    header = Header(
        data_type=init.kind.response, prf=about.prf, csb_id=about.csb_id, map_type=CsIdMapType.EMPTY
    )
    timestamp = env.timestamp()
    protection = response_message_keys(prf, about.csb_id, **init.kind.rands(init.rand))
    kemac = seal_keys(keys, suite.encr_alg, protection, csb_id=about.csb_id, timestamp=timestamp)
    payloads = (T(timestamp=timestamp), *before, kemac, *after)
    return seal(header, payloads, suite, protection, init.message.raw)


class AuthenticatedInit:
    """An INIT message whose sender is known; gives the response and authenticated Error messages.

    ``identity`` is the sender, ``prf`` is keyed with the key that protects the exchange.
    """

    def __init__(self, env: Environment, init: KmsInit, identity: str, prf: Prf) -> None:
        self._env = env
        self.prf = prf
        self.init = init
        self.identity = identity

    def respond(
        self, before: Sequence[Payload], keys: Sequence[KeyData], after: Sequence[Payload] = ()
    ) -> bytes:
        """Return the response: HDR, T, *before*, a KEMAC with *keys*, *after*, V."""
        return build_response(self._env, self.init, self.prf, before, keys, after)

    def error(self, errors: Sequence[ErrorNo]) -> bytes:
        """Return an authenticated Error message about the INIT."""
        init = self.init
        header = init.message.header
        protection = initial_message_keys(self.prf, header.csb_id, **init.kind.rands(init.rand))
        return build_error(self._env, header, errors, suite=init.suite, protection=protection)


def _known_signature(payload: SIGN) -> SignatureType:
    if not isinstance(payload.signature_type, SignatureType):
        raise InvalidCertificate(f"S type {payload.signature_type} is not supported", field="SIGN")
    return payload.signature_type
