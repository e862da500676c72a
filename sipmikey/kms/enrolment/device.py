"""The device's side: a question, and what comes of the answer."""

from __future__ import annotations

from dataclasses import dataclass

from sipmikey.kms.enrolment.codes import Code, parse_number
from sipmikey.kms.enrolment.documents import (
    DEVICE_LABEL,
    PSK_LABEL,
    Act,
    Ask,
    BadEnrolment,
    EnrolmentGrant,
    Envelope,
    decode_answer,
    prologue_of,
)
from sipmikey.kms.enrolment.noise import HandshakeFailed, Initiator, Random
from sipmikey.kms.enrolment.sign_on_documents import (
    PROLOGUE,
    PUBLIC_KEY,
    SESSION_LABEL,
    Beginning,
    Begun,
    decode_begun,
    encode_beginning,
    encode_poll,
)
from sipmikey.mikey.errors import AuthenticationFailure
from sipmikey.mikey.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentResult:
    """What came of a question. ``psk`` (32 bytes): the new pre-shared key, if ``given.psk_id`` names one.

    ``device_key`` (32 bytes): after redeeming, what the device proves itself with from then on.
    """

    given: EnrolmentGrant
    psk: Secret
    device_key: Secret


class Question:
    """One question to the KMS. ``body`` is to be posted, as often as it takes until an answer comes."""

    def __init__(
        self, key: Secret, ask: Ask, *, invitation: str = "", device: str = "", random: Random
    ) -> None:
        prologue = prologue_of(invitation=invitation, device=device)
        self._side = Initiator(key, prologue=prologue, random=random)
        self._ask = ask
        message = self._side.write(ask.encode())
        self.body = Envelope(message=message, invitation=invitation, device=device).encode()

    def receive(self, body: bytes) -> EnrolmentResult:
        """Read the answer.

        Raises `AuthenticationFailure` for one that is not from a KMS that knows the code or the device's key,
        and `BadEnrolment`.
        """
        try:
            given = EnrolmentGrant.decode(self._side.read(decode_answer(body)))
        except HandshakeFailed:
            what = "code" if self._ask.act is Act.REDEEM else "key of this device"
            raise AuthenticationFailure(
                f"the answer is not from a KMS that knows the {what}: somebody else answered in its place"
            ) from None
        if self._ask.act is Act.REDEEM and not (given.device and given.identity and given.kms_identity):
            raise BadEnrolment("device, identity and kms_identity are needed in the answer")
        return EnrolmentResult(
            given=given, psk=self._side.derived(PSK_LABEL), device_key=self._side.derived(DEVICE_LABEL)
        )


def redeem(code: Code, *, name: str, random: Random, csr: bytes = b"") -> Question:
    """Ask to enrol this device, called *name*, with *code*; with a *csr* (DER) for a certificate."""
    ask = Ask(act=Act.REDEEM, name=name, csr=csr)
    return Question(code.key(), ask, invitation=code.number, random=random)


class SignOn:
    """A single sign-on: post ``body``, `receive` its answer, post ``poll`` until the state is approved.

    ``body`` and ``poll`` may be posted as often as it takes until an answer comes.
    """

    def __init__(self, *, name: str, random: Random) -> None:
        self._name = name
        self._random = random
        self._side = Initiator(PUBLIC_KEY, prologue=PROLOGUE, random=random)
        self.body = encode_beginning(self._side.write(Beginning(name=name).encode()))
        self.poll = b""

    def receive(self, body: bytes) -> Begun:
        """Read the answer: what the person has to be shown. Raises `BadEnrolment`."""
        message, session = decode_begun(body)
        try:
            begun = Begun.decode(self._side.read(message))
        except HandshakeFailed:
            raise BadEnrolment("not the second message of this handshake", field="message") from None
        self.poll = encode_poll(session)
        return begun

    def redeem(self, number: str, *, csr: bytes = b"") -> Question:
        """Redeem the invitation *number* that the sign-on has become, as `redeem` does with a code."""
        ask = Ask(act=Act.REDEEM, name=self._name, csr=csr)
        key = self._side.derived(SESSION_LABEL)
        return Question(key, ask, invitation=parse_number(number), random=self._random)


def ask(device: str, key: Secret, what: Ask, *, random: Random) -> Question:
    """Ask as the enrolled *device* that *key* belongs to."""
    return Question(key, what, device=device, random=random)
