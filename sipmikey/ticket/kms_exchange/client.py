"""The client's half of an exchange with the KMS: the INIT message, and the response to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.keys.certificate import (
    certificate_hash,
    rsa_public_key,
)
from sipmikey.keys.derivation import initial_message_keys, response_message_keys
from sipmikey.keys.envelope import seal_envelope
from sipmikey.keys.prf import Prf
from sipmikey.keys.signature import SIGNATURE_HASH, sign, signature_length
from sipmikey.keys.suite import Suite, suite_of
from sipmikey.keys.transport import open_keys
from sipmikey.mikey.certificate import CERT, CHASH, PKE, SIGN
from sipmikey.mikey.errors import (
    UnexpectedMessage,
)
from sipmikey.mikey.header import Header
from sipmikey.mikey.kemac import KEMAC, KeyData
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import (
    CertType,
    CsIdMapType,
    DataType,
    IdRole,
)
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.timestamp import T
from sipmikey.ticket.credentials import CertificateCredential, ClientCredential, PreSharedKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.error_message import ErrorMessage
from sipmikey.ticket.identity import psk_identity, uri_identity
from sipmikey.ticket.kms_exchange.kind import ExchangeKind, check_empty_map
from sipmikey.ticket.protection import seal, verify


@dataclass(frozen=True, slots=True)
class KmsResponse:
    """A verified response of the KMS and the keys of its KEMAC."""

    message: Message
    keys: tuple[KeyData, ...]


class KmsClientExchange:
    """The client's half: the INIT message sent, and the response to it.

    ``message`` is the INIT. Made by `start`, or by `resume` from an INIT sent before.
    """

    def __init__(self, env: Environment, kind: ExchangeKind, message: bytes, inkey: Secret) -> None:
        self._env = env
        self._kind = kind
        self.message = message
        parsed = Message.parse(message, env.limits)
        self._header = parsed.header
        self._suite = suite_of(parsed.header.prf)
        self._rand = parsed.one(RANDR, kind.rand_role).rand
        self._prf = Prf(self._suite.prf, inkey)

    @classmethod
    def start(
        cls,
        env: Environment,
        kind: ExchangeKind,
        *,
        suite: Suite,
        credential: ClientCredential,
        body: Payload,
        identity: str,
        kms: str,
    ) -> Self:
        """Build the INIT message: *body* is TP in a Ticket Request, TICKET in a Ticket Resolve.

        *identity* and *kms* are URIs and are always sent (IDRi or IDRr, and IDRkms).
        """
        if isinstance(credential, PreSharedKey):
            return cls(
                env, kind, _psk_init(env, kind, suite, credential, body, identity, kms), credential.key
            )
        envelope_key = Secret(env.random(suite.key_length))
        message = _pk_init(env, kind, suite, credential, envelope_key, body, identity, kms)
        return cls(env, kind, message, envelope_key)

    def receive(self, data: bytes) -> KmsResponse:
        """Verify the KMS's response and decrypt its keys.

        Raises `PeerReportedError` for an Error message, and otherwise a `PeerError` that says what is
        wrong with the response.
        """
        env, suite, kind = self._env, self._suite, self._kind
        message = Message.parse(data, env.limits)
        header = message.header
        if header.data_type is DataType.ERROR:
            protection = initial_message_keys(self._prf, self._header.csb_id, **kind.rands(self._rand))
            raise ErrorMessage.read(env, message, self._header, suite, protection).exception()
        if header.data_type is not kind.response:
            raise UnexpectedMessage(
                f"expected {kind.name}_RESP, got {header.data_type.name}", field="data type", offset=1
            )
        if (header.prf, header.csb_id) != (self._header.prf, self._header.csb_id):
            raise UnexpectedMessage("PRF func or CSB ID is not that of the INIT", field="HDR")
        check_empty_map(header)
        timestamp = message.one(T).timestamp
        env.check_timestamp(timestamp, header.data_type.name)
        protection = response_message_keys(self._prf, header.csb_id, **kind.rands(self._rand))
        verify(message, suite, protection, self.message)
        kemac = message.one(KEMAC)
        suite.check_encryption(kemac.encr_alg, "KEMAC Encr alg")
        keys = open_keys(
            kemac,
            protection,
            csb_id=header.csb_id,
            timestamp=timestamp,
            limits=env.limits,
            what=header.data_type.name,
        )
        return KmsResponse(message, keys)


def _init_head(
    env: Environment, kind: ExchangeKind, data_type: DataType, suite: Suite, inkey_length: int
) -> tuple[Header, list[Payload], bytes]:
    header = Header(
        data_type=data_type, v=True, prf=suite.prf, csb_id=env.csb_id(), map_type=CsIdMapType.EMPTY
    )
    rand = env.random(max(suite.rand_length, inkey_length))
    return header, [T(timestamp=env.timestamp()), RANDR(role=kind.rand_role, rand=rand)], rand


def _psk_init(
    env: Environment,
    kind: ExchangeKind,
    suite: Suite,
    credential: PreSharedKey,
    body: Payload,
    identity: str,
    kms: str,
) -> bytes:
    header, payloads, rand = _init_head(env, kind, kind.psk_init, suite, len(credential.key))
    own, peer = uri_identity(kind.id_role, identity), uri_identity(IdRole.KMS, kms)
    payloads += [own, peer, body]
    if credential.key_id is not None:
        payloads.append(psk_identity(credential.key_id))
    protection = initial_message_keys(credential.prf(suite.prf), header.csb_id, **kind.rands(rand))
    return seal(header, payloads, suite, protection, own.data + peer.data)


def _pk_init(
    env: Environment,
    kind: ExchangeKind,
    suite: Suite,
    credential: CertificateCredential,
    envelope_key: Secret,
    body: Payload,
    identity: str,
    kms: str,
) -> bytes:
    header, payloads, _ = _init_head(env, kind, kind.pk_init, suite, len(envelope_key))
    own, peer = uri_identity(kind.id_role, identity), uri_identity(IdRole.KMS, kms)
    payloads.append(own)
    payloads += [
        CERT(cert_type=CertType.X509V3, data=certificate.public_bytes(Encoding.DER))
        for certificate in (credential.certificates if credential.sends_certificates else ())
    ]
    payloads += [peer, body]
    kms_certificate = credential.kms_certificates[0]
    hash_func = SIGNATURE_HASH[suite.prf]
    if len(credential.kms_certificates) > 1:
        digest = certificate_hash(kms_certificate, hash_func)
        payloads.append(CHASH(hash_func=hash_func, hash=digest))
    payloads.append(PKE(data=seal_envelope(rsa_public_key(kms_certificate), envelope_key)))
    length = signature_length(credential.private_key)
    payloads.append(SIGN(signature_type=credential.signature_type, signature=bytes(length)))
    unsigned = Message.build(header, payloads).raw[:-length]
    covered = unsigned + own.data + peer.data
    return unsigned + sign(
        credential.private_key, covered, hash_func=hash_func, signature_type=credential.signature_type
    )
