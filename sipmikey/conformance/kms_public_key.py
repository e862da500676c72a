"""What RFC 6043 requires of a KMS in the public-key variants, and that it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sipmikey.conformance.authority import CertifiedParties
from sipmikey.conformance.forge import Edit, Forger, named, replacing, shifted_time, without
from sipmikey.conformance.kms_subject import FORKING, REQUEST, RESOLVE, KmsSubject, Reply
from sipmikey.conformance.requirement import NotTestableError, Requirements, check
from sipmikey.keys.certificate import certificate_hash, rsa_public_key
from sipmikey.keys.derivation import response_message_keys
from sipmikey.keys.envelope import seal_envelope
from sipmikey.keys.prf import Prf
from sipmikey.keys.signature import SIGNATURE_HASH, sign, signature_length
from sipmikey.mikey.certificate import CERT, CHASH, PKE, SIGN
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import DataType, IdRole, SignatureType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.ticket import TICKET, TP
from sipmikey.ticket.credentials import CertificateCredential
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.protection import verify
from sipmikey.ticket.request import TicketRequest
from sipmikey.ticket.resolve import TicketResolve

PUBLIC_KEY_REQUIREMENTS: Requirements[KmsSubject] = Requirements("kms")
_add = PUBLIC_KEY_REQUIREMENTS.add


def _certified(kms: KmsSubject) -> CertifiedParties:
    if kms.certified is None:
        raise NotTestableError("no certificates are given (--initiator-cert, --responder-cert, --kms-cert)")
    return kms.certified


@dataclass(frozen=True, slots=True, kw_only=True)
class _Init:
    """An INIT message of the public-key variant: its sender, and what it is sealed with."""

    message: Message
    credential: CertificateCredential
    envelope_key: Secret
    identities: bytes

    def variant(
        self,
        edit: Edit = list,
        *,
        signer: CertificateCredential | None = None,
        signature_type: SignatureType = SignatureType.RSA_PKCS1,
        covering: bytes | None = None,
    ) -> bytes:
        """Return the message edited and signed again; *covering* is what the signature covers after it."""
        signer = signer or self.credential
        length = signature_length(signer.private_key)
        blank = SIGN(signature_type=signature_type, signature=bytes(length))
        changed = edit([blank if isinstance(item, SIGN) else item for item in self.message.payloads])
        draft = Message.build(self.message.header, changed).raw[:-length]
        after = self.identities if covering is None else covering
        return draft + sign(
            signer.private_key,
            draft + after,
            hash_func=SIGNATURE_HASH[self.message.header.prf],
            signature_type=signature_type,
        )


def _with_known_envelope(kms: KmsSubject, message: bytes, sender: CertificateCredential, uri: str) -> _Init:
    """Return the message with an envelope whose key is known, signed again by its variants."""
    envelope_key = Secret(kms.env.random(kms.suite.key_length))
    sealed = PKE(data=seal_envelope(rsa_public_key(sender.kms_certificates[0]), envelope_key))
    parsed = Message.parse(message)
    rebuilt = Message.build(parsed.header, replacing(PKE, lambda _: sealed)(list(parsed.payloads)))
    identities = (canonical(uri) + canonical(kms.kms)).encode()
    return _Init(message=rebuilt, credential=sender, envelope_key=envelope_key, identities=identities)


def _request(kms: KmsSubject, sender: CertificateCredential | None = None) -> _Init:
    sender = sender or _certified(kms).initiator
    asking = TicketRequest.start(
        kms.env, policy=kms.policy(), credential=sender, identity=kms.initiator.uri, kms=kms.kms
    )
    return _with_known_envelope(kms, asking.message, sender, kms.initiator.uri)


def _resolve(kms: KmsSubject, sender: CertificateCredential | None = None, uri: str | None = None) -> _Init:
    sender = sender or _certified(kms).responder
    uri = uri or kms.responder.uri
    asking = TicketResolve.start(kms.env, ticket=kms.ticket(), credential=sender, identity=uri, kms=kms.kms)
    return _with_known_envelope(kms, asking.message, sender, uri)


def _answered(kms: KmsSubject, kind: str, octets: bytes, *, why: str) -> Message:
    reply = kms.post(kind, octets)
    message = reply.message
    check(reply.status == 200 and reply.is_response and message is not None, f"{why} got {reply.describe()}")
    assert message is not None
    return message


def _exchange(kms: KmsSubject, kind: str = REQUEST) -> tuple[_Init, bytes, Message]:
    init = _request(kms) if kind == REQUEST else _resolve(kms)
    octets = init.variant()
    return init, octets, _answered(kms, kind, octets, why="a message that is in order")


@_add("pk-request-answered", "4.2.1.5", "a REQUEST_INIT_PK that is in order gets REQUEST_RESP")
def _request_answered(kms: KmsSubject) -> None:
    _, _, response = _exchange(kms)
    check(response.header.data_type is DataType.REQUEST_RESP, f"it got {response.header.data_type.name}")


@_add("pk-request-resp-mac", "4.2.1.5", "the MAC of REQUEST_RESP is made with the envelope key")
def _request_mac(kms: KmsSubject) -> None:
    _verify(kms, REQUEST)


@_add("pk-request-resp-opens", "4.2.1.5", "the KEMAC of REQUEST_RESP opens with the envelope key")
def _request_opens(kms: KmsSubject) -> None:
    init, octets, response = _exchange(kms)
    forger = Forger(message=response, inkey=init.envelope_key, following=octets)
    check(forger.keys(init.message.all(RANDR)), "it holds no keys")


@_add("pk-resolve-answered", "4.2.3.5", "a RESOLVE_INIT_PK that is in order gets RESOLVE_RESP")
def _resolve_answered(kms: KmsSubject) -> None:
    _, _, response = _exchange(kms, RESOLVE)
    check(response.header.data_type is DataType.RESOLVE_RESP, f"it got {response.header.data_type.name}")


@_add("pk-resolve-resp-mac", "4.2.3.5", "the MAC of RESOLVE_RESP is made with the envelope key")
def _resolve_mac(kms: KmsSubject) -> None:
    _verify(kms, RESOLVE)


@_add("pk-resolve-resp-mpki", "4.2.3.5", "MPKi is the one that the Initiator got with a pre-shared key")
def _resolve_mpki(kms: KmsSubject) -> None:
    init, octets, response = _exchange(kms, RESOLVE)
    forger = Forger(message=response, inkey=init.envelope_key, following=octets)
    keys = forger.keys(init.message.all(RANDR))
    check(keys and keys[0].key == kms.grant(FORKING).mpk_i, "it is another")


def _verify(kms: KmsSubject, kind: str) -> None:
    init, octets, response = _exchange(kms, kind)
    rand = init.message.one(RANDR).rand
    rands = {"rand_i": rand} if kind == REQUEST else {"rand_r": rand}
    prf = Prf(init.message.header.prf, init.envelope_key)
    verify(response, kms.suite, response_message_keys(prf, response.header.csb_id, **rands), octets)


@_add("pk-pss", "RFC 3830 section 4.2.6", "a signature of RSASSA-PSS is taken", level="should")
def _pss(kms: KmsSubject) -> None:
    octets = _request(kms).variant(signature_type=SignatureType.RSA_PSS)
    _answered(kms, REQUEST, octets, why="a message signed with RSASSA-PSS")


@_add("pk-chash", "4.2.1.2", "CHASH that names the KMS's certificate is taken")
def _chash(kms: KmsSubject) -> None:
    init = _request(kms)
    octets = init.variant(_chash_edit(kms, _kms_hash(init, kms)))
    _answered(kms, REQUEST, octets, why="a message with the CHASH of the KMS's certificate")


def _kms_hash(init: _Init, kms: KmsSubject) -> bytes:
    """Return the hash of the KMS's certificate that the envelope is sealed for."""
    return certificate_hash(init.credential.kms_certificates[0], SIGNATURE_HASH[kms.suite.prf])


def _chash_edit(kms: KmsSubject, digest: bytes) -> Edit:
    chash = CHASH(hash_func=SIGNATURE_HASH[kms.suite.prf], hash=digest)

    def edit(payloads: list[Payload]) -> Sequence[Payload]:
        at = next(n for n, item in enumerate(payloads) if isinstance(item, PKE))
        return [*payloads[:at], chash, *payloads[at:]]

    return edit


# What a KMS refuses of an INIT message with a signature


@_add("pk-refuses-bad-signature", "4.2.1.3", "refused: a signature that does not verify")
def _bad_signature(kms: KmsSubject) -> None:
    octets = bytearray(_request(kms).variant())
    octets[-20] ^= 1
    kms.refuses(REQUEST, bytes(octets))


@_add("pk-refuses-altered-message", "4.2.1.3", "refused: a message altered after it was signed")
def _altered(kms: KmsSubject) -> None:
    init = _request(kms)
    octets, rand = init.variant(), init.message.one(RANDR).rand
    at = octets.index(rand)
    kms.refuses(REQUEST, octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :])


@_add("pk-refuses-identities-outside-signature", "5.5", "refused: a signature that leaves out the identities")
def _outside(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, _request(kms).variant(covering=b""))


@_add(
    "pk-refuses-untrusted", "RFC 3830 section 4.3.2", "refused: a certificate of an issuer that nobody trusts"
)
def _untrusted(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, _request(kms, _certified(kms).untrusted).variant())


@_add("pk-refuses-others-certificate", "4.2.1.3", "refused: IDRi that the certificate does not name")
def _others_certificate(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, _request(kms, _certified(kms).responder).variant())


@_add("pk-refuses-others-key", "4.2.1.3", "refused: a signature of a key that is not the certificate's")
def _others_key(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, _request(kms).variant(signer=_certified(kms).responder))


@_add("pk-refuses-revoked", "RFC 3830 section 4.3.1", "refused: a certificate that its issuer revoked")
def _revoked(kms: KmsSubject) -> None:
    revoked = _certified(kms).revoked
    if revoked is None:
        raise NotTestableError("no revoked certificate is given (--revoked-cert)")
    kms.refuses(REQUEST, _request(kms, revoked).variant())


@_add("pk-refuses-other-chash", "4.2.1.3", "refused: CHASH that names no certificate of the KMS")
def _other_chash(kms: KmsSubject) -> None:
    init = _request(kms)
    digest = _kms_hash(init, kms)
    kms.refuses(REQUEST, init.variant(_chash_edit(kms, digest[::-1])))


@_add("pk-refuses-no-pke", "4.2.1.2", "refused: no PKE payload")
def _no_pke(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, _request(kms).variant(without(PKE)))


@_add("pk-refuses-no-sign", "4.2.1.2", "refused: no SIGN payload")
def _no_sign(kms: KmsSubject) -> None:
    message = _request(kms).message
    kms.refuses(REQUEST, Message.build(message.header, without(SIGN)(list(message.payloads))).raw)


@_add("pk-refuses-no-tp", "4.2.1", "refused: no TP payload")
def _no_tp(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, _request(kms).variant(without(TP)))


@_add("pk-refuses-short-envelope", "RFC 3830 section 6.3", "refused: an envelope shorter than the KMS's key")
def _short(kms: KmsSubject) -> None:
    edit = replacing(PKE, lambda pke: replace(pke, data=pke.data[1:]))
    kms.refuses(REQUEST, _request(kms).variant(edit))


@_add(
    "pk-refuses-broken-certificate",
    "RFC 3830 section 6.7",
    "refused: a CERT payload that is not a certificate",
)
def _broken_certificate(kms: KmsSubject) -> None:
    edit = replacing(CERT, lambda cert: replace(cert, data=cert.data[:-1]))
    kms.refuses(REQUEST, _request(kms).variant(edit))


@_add("pk-refuses-replay", "4.2.1.3", "refused: a REQUEST_INIT_PK that came before")
def _replay(kms: KmsSubject) -> None:
    octets = _request(kms).variant()
    _answered(kms, REQUEST, octets, why="the first")
    kms.refuses(REQUEST, octets)


@_add(
    "pk-refuses-signed-again",
    "RFC 3830 section 5.4",
    "refused: a message that came before, with another signature",
    level="should",
)
def _signed_again(kms: KmsSubject) -> None:
    init = _request(kms)
    first, second = (init.variant(signature_type=SignatureType.RSA_PSS) for _ in range(2))
    _answered(kms, REQUEST, first, why="the first")
    kms.refuses(REQUEST, second)


@_add("pk-refuses-stale", "4.2.1.3", "refused: T of a day ago under a right signature")
def _stale(kms: KmsSubject) -> None:
    kms.refuses(REQUEST, _request(kms).variant(shifted_time(-86_400)))


@_add("pk-refuses-other-kms", "4.2.1.2", "refused: IDRkms names another KMS")
def _other_kms(kms: KmsSubject) -> None:
    other = "sip:kms@elsewhere.invalid"
    covering = (canonical(kms.initiator.uri) + other).encode()
    kms.refuses(REQUEST, _request(kms).variant(named(IdRole.KMS, other), covering=covering))


@_add(
    "pk-tells-no-padding",
    "RFC 3830 section 3.2",
    "an envelope with broken padding is answered like one with a key nobody knows",
    level="should",
)
def _padding(kms: KmsSubject) -> None:
    broken = _enveloped(kms, lambda key, _: (1).to_bytes((key.key_size + 7) // 8, "big"))
    short = _enveloped(kms, lambda key, _: key.encrypt(b"too short", padding.PKCS1v15()))
    check(
        (broken.status, broken.is_response) == (short.status, short.is_response),
        f"broken padding gets {broken.describe()}, a key of a wrong length {short.describe()}",
    )
    other = _enveloped(kms, lambda key, length: key.encrypt(bytes(length), padding.PKCS1v15()))
    check(
        (broken.status, broken.is_response) == (other.status, other.is_response),
        f"broken padding gets {broken.describe()}, another key {other.describe()}",
    )


def _enveloped(kms: KmsSubject, make: Callable[[rsa.RSAPublicKey, int], bytes]) -> Reply:
    init = _request(kms)
    key = rsa_public_key(init.credential.kms_certificates[0])
    data = make(key, kms.suite.key_length)
    return kms.post(REQUEST, init.variant(replacing(PKE, lambda _: PKE(data=data))))


@_add("pk-resolve-refuses-bad-signature", "4.2.3.3", "refused: a RESOLVE_INIT_PK with a bad signature")
def _resolve_signature(kms: KmsSubject) -> None:
    octets = bytearray(_resolve(kms).variant())
    octets[-20] ^= 1
    kms.refuses(RESOLVE, bytes(octets))


@_add("pk-resolve-refuses-others", "4.2.3.4", "refused: the certificate of who may not resolve the ticket")
def _resolve_others(kms: KmsSubject) -> None:
    # The ticket is for the Responder alone.
    init = _resolve(kms, _certified(kms).initiator, kms.initiator.uri)
    kms.refuses(RESOLVE, init.variant())


@_add("pk-resolve-refuses-replay", "4.2.3.3", "refused: a RESOLVE_INIT_PK that came before")
def _resolve_replay(kms: KmsSubject) -> None:
    octets = _resolve(kms).variant()
    _answered(kms, RESOLVE, octets, why="the first")
    kms.refuses(RESOLVE, octets)


@_add("pk-resolve-refuses-no-ticket", "4.2.3.2", "refused: no TICKET payload")
def _resolve_no_ticket(kms: KmsSubject) -> None:
    kms.refuses(RESOLVE, _resolve(kms).variant(without(TICKET)))
