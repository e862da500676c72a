"""The KMS's side of enrolment: one request in, one reply out. I/O is by store and audit log only."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Protocol

from cryptography.hazmat.primitives.serialization import Encoding

from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.enrolment.authority import DeviceAuthority
from sipmikey.kms.enrolment.documents import (
    DEVICE_LABEL,
    PSK_LABEL,
    Act,
    Ask,
    BadEnrolment,
    EnrolmentGrant,
    Envelope,
    encode_answer,
)
from sipmikey.kms.enrolment.noise import HandshakeFailed, Responder
from sipmikey.kms.enrolment.profile import Profile
from sipmikey.kms.enrolment.records import DeviceRecord, EnrolmentStore, InvitationRecord, IssuedCredential
from sipmikey.kms.service.lookups import AuditLog, ReplayCache, StoreUnavailable
from sipmikey.kms.subscribers import PskRecord
from sipmikey.mikey.errors import InvalidTimestamp, PeerError, ReplayedMessage
from sipmikey.mikey.secret import Secret
from sipmikey.ticket.environment import Environment

DAY_S: Final = 86_400
REPEAT_S: Final = 600
"""How long the message that used an invitation may be sent again, because its answer was lost."""

_NS: Final = 1_000_000_000


class CodeNotValid(PeerError):
    """The code is wrong, used, expired, taken back or tried too often; which of them is not told."""

    reason: ClassVar[str] = "code-not-valid"
    http_status: ClassVar[int] = 403


class DeviceNotValid(PeerError):
    """The device is unknown, revoked or expired, or does not have its key; which of them is not told."""

    reason: ClassVar[str] = "device-not-valid"
    http_status: ClassVar[int] = 403


class NoCertificates(PeerError):
    """A certificate was asked for, and this KMS signs none."""

    reason: ClassVar[str] = "no-certificates"
    http_status: ClassVar[int] = 403


class RenewedMeanwhile(PeerError):
    """Two renewals of one device at the same time; the other one was taken."""

    reason: ClassVar[str] = "renewed-meanwhile"
    http_status: ClassVar[int] = 409


class TooManyFailures(PeerError):
    """The source has failed too often. ``retry_after_s``: seconds to wait."""

    reason: ClassVar[str] = "too-many-failures"
    http_status: ClassVar[int] = 429

    def __init__(self, retry_after_s: float, what: str = "too many wrong codes from this address") -> None:
        super().__init__(f"{what}; wait {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class Failures(Protocol):
    """Counts failures by their source, and says who has to wait."""

    def wait(self, source: str) -> float | None:
        """Return the seconds that *source* has to wait, None where it did not fail too often."""
        ...

    def failed(self, source: str) -> None:
        """Count one failure of *source*."""
        ...


@dataclass(slots=True, kw_only=True)
class EnrolmentSettings:
    """``kms_identity``: of this KMS. ``key_days``: life of a device's key; ``overlap_days``: what is left to
    the old one after a renewal. ``profile`` may be replaced at any time. ``authority``: signs certificates.
    """

    kms_identity: str
    key_days: float = 90.0
    overlap_days: float = 30.0
    profile: Profile = field(default_factory=Profile)
    authority: DeviceAuthority | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to send. ``reason``: a word of a closed set, "granted" with status 200."""

    status: int
    reason: str
    body: bytes = b""
    detail: str = ""
    retry_after_s: float | None = None


class EnrolmentDesk:
    """Redeems invitations, and serves profiles and new keys to devices. One serves any number of tasks.

    Every request whose form is right is in the audit log, granted or refused, before its reply is returned.
    """

    def __init__(
        self,
        env: Environment,
        settings: EnrolmentSettings,
        store: EnrolmentStore,
        *,
        audit: AuditLog,
        replay: ReplayCache,
        failures: Failures | None = None,
    ) -> None:
        self.settings = settings
        self._env = env
        self._store = store
        self._audit = audit
        self._replay = replay
        self._failures = failures
        # What stands for the key of an invitation or device that is not there, so that it takes as long.
        self._nobody = env.random(32)

    async def handle(self, body: bytes, *, source: str = "") -> Reply:
        """Answer one request; never raises for anything its sender can do."""
        try:
            self._admit(source)
            envelope = Envelope.decode(body)
        except TooManyFailures as error:
            return Reply(
                status=429, reason=error.reason, detail=str(error), retry_after_s=error.retry_after_s
            )
        except BadEnrolment as error:
            return Reply(status=error.http_status, reason=error.reason, detail=str(error))
        event = AuditEvent(
            time_ns=self._env.now_ns(), exchange=Exchange.ENROLMENT, decision=Decision.GRANTED,
            reason="granted", source=source,
            credential=envelope.device or f"invitation {envelope.invitation}",
            kms=self.settings.kms_identity, rule=Act.REDEEM if envelope.invitation else "",
        )  # fmt: skip
        try:
            if envelope.invitation:
                answer, event = await self._redeem(envelope, event)
            else:
                answer, event = await self._serve(envelope, event)
            await self._audit.append(event)
            return Reply(status=200, reason="granted", body=encode_answer(answer))
        except _Refused as refused:
            return await self._refused(refused)
        except StoreUnavailable as error:
            return Reply(status=503, reason="unavailable", detail=str(error), retry_after_s=1.0)

    def _admit(self, source: str) -> None:
        wait = None if self._failures is None else self._failures.wait(source)
        if wait is not None:
            raise TooManyFailures(wait)

    async def _refused(self, refused: _Refused) -> Reply:
        error = refused.error
        event = replace(
            refused.event, decision=Decision.REFUSED, reason=error.reason, detail=refused.detail or str(error)
        )
        if self._failures is not None and isinstance(error, CodeNotValid | DeviceNotValid):
            self._failures.failed(event.source)
        try:
            await self._audit.append(event)
        except StoreUnavailable as failure:
            return Reply(status=503, reason="unavailable", detail=str(failure), retry_after_s=1.0)
        return Reply(status=error.http_status, reason=error.reason, detail=str(error))

    # Invitations

    async def _redeem(self, envelope: Envelope, event: AuditEvent) -> tuple[bytes, AuditEvent]:
        now_s = self._now_s()
        found = await self._store.try_invitation(envelope.invitation, now_s=now_s)
        if found is not None:
            event = replace(event, subscriber=found.subscriber, identity=found.identity)
        digest = hashlib.sha256(envelope.message).digest()
        if found is not None and _is_repeated(found, digest, now_s):
            return found.answer, replace(event, detail="the same message again")
        key = self._stand_in(envelope) if found is None or found.key is None else found.key
        side = Responder(key, prologue=envelope.prologue, random=self._env.random)
        try:
            payload = side.read(envelope.message)
        except HandshakeFailed:
            raise _Refused(_wrong_code(), event, _why_not(found, now_s)) from None
        if found is None or not found.open_at(now_s) or not found.enabled:
            raise _Refused(_wrong_code(), event, _why_not(found, now_s))
        try:
            ask = Ask.decode(payload)
            if ask.act is not Act.REDEEM:
                raise BadEnrolment("an invitation is redeemed and nothing else", field="act")
            device, issued, given = self._enrolled(found, ask, now_s)
        except PeerError as error:
            raise _Refused(error, event) from None
        answer, device, issued = _answered(side, given, device, issued, event)
        kept = await self._store.redeem(
            found.number, device, issued, request=digest, answer=answer, now_s=now_s
        )
        if not kept:
            raise _Refused(_wrong_code(), event, "used at the same time by another device")
        return answer, replace(
            event, detail=f"device {device.device} ({device.name})", credential=_credential(issued)
        )

    def _enrolled(
        self, found: InvitationRecord, ask: Ask, now_s: int
    ) -> tuple[DeviceRecord, IssuedCredential, EnrolmentGrant]:
        user = found.identity.partition(":")[2].partition("@")[0].partition(";")[0][:64]
        device = DeviceRecord(
            device=f"{user}.{self._env.random(4).hex()}",
            subscriber=found.subscriber,
            identity=found.identity,
            name=ask.name or user,
            key=Secret(bytes(32)),  # known once the answer is written
            generation=1,
            enrolled_s=now_s,
            seen_s=now_s,
            valid_until_s=now_s + round(self.settings.key_days * DAY_S),
        )
        issued, given = self._issue(device, ask, now_s)
        given = replace(
            given, device=device.device, identity=found.identity, kms_identity=self.settings.kms_identity,
            profile=self.settings.profile, secrets=found.secrets,
        )  # fmt: skip
        return device, issued, given

    # Devices

    async def _serve(self, envelope: Envelope, event: AuditEvent) -> tuple[bytes, AuditEvent]:
        now_s = self._now_s()
        found = await self._store.device(envelope.device)
        key = self._stand_in(envelope) if found is None else found.key
        if found is not None:
            event = replace(event, subscriber=found.subscriber, identity=found.identity)
        side = Responder(key, prologue=envelope.prologue, random=self._env.random)
        try:
            payload = side.read(envelope.message)
        except HandshakeFailed:
            raise _Refused(_wrong_device(), event, "it does not have the device's key") from None
        if found is None or not found.open_at(now_s):
            raise _Refused(_wrong_device(), event, _why_closed(found))
        try:
            ask = Ask.decode(payload)
            event = replace(event, rule=ask.act)
            await self._check_fresh(ask, envelope.message, now_s)
            return await self._act(side, found, ask, event, now_s)
        except HandshakeFailed:
            raise _Refused(_unusable_key(), event) from None
        except PeerError as error:
            raise _Refused(error, event) from None

    async def _act(
        self, side: Responder, found: DeviceRecord, ask: Ask, event: AuditEvent, now_s: int
    ) -> tuple[bytes, AuditEvent]:
        if ask.act is Act.PROFILE:
            profile = self.settings.profile
            changed = None if profile.version == ask.version else profile
            answer = side.write(EnrolmentGrant(valid_until_s=found.valid_until_s, profile=changed).encode())
            await self._store.seen(found.device, now_s=now_s)
            return answer, event
        if ask.act is Act.LEAVE:
            answer = side.write(EnrolmentGrant().encode())
            await self._store.revoke_device(found.device, now_s=now_s)
            return answer, replace(event, detail="the device left")
        if ask.act is not Act.RENEW:
            raise BadEnrolment("an enrolled device has no invitation to redeem", field="act")
        device = replace(
            found,
            generation=found.generation + 1,
            seen_s=now_s,
            valid_until_s=now_s + round(self.settings.key_days * DAY_S),
        )
        issued, given = self._issue(device, ask, now_s)
        answer = side.write(given.encode())
        issued = _with_key(issued, side)
        overlap = now_s + round(self.settings.overlap_days * DAY_S)
        if not await self._store.renew(device, issued, overlap_until_s=overlap):
            raise RenewedMeanwhile("the device was renewed or revoked at the same time")
        return answer, replace(
            event, detail=f"key {device.generation} of {device.device}", credential=_credential(issued)
        )

    def _issue(self, device: DeviceRecord, ask: Ask, now_s: int) -> tuple[IssuedCredential, EnrolmentGrant]:
        """Return a new key, still without its octets, or a certificate; and what the device is told of it."""
        until_s = device.valid_until_s
        if not ask.csr:
            name = f"{device.device}.{device.generation}"
            psk = PskRecord(key_id=name.encode(), key=None, valid_until_s=until_s)
            return IssuedCredential(psk=psk), EnrolmentGrant(psk_id=name, valid_until_s=until_s)
        authority = self.settings.authority
        if authority is None:
            raise NoCertificates("this KMS signs no certificates: enrol with a key")
        certificate = authority.issue(
            ask.csr, identity=device.identity, device=device.device, now_s=now_s, until_s=until_s,
            random=self._env.random,
        )  # fmt: skip
        der = certificate.public_bytes(Encoding.DER)
        pem = certificate.public_bytes(Encoding.PEM).decode()
        end_s = int(certificate.not_valid_after_utc.timestamp())
        return IssuedCredential(certificate=der), EnrolmentGrant(certificate=pem, valid_until_s=end_s)

    async def _check_fresh(self, ask: Ask, message: bytes, now_s: int) -> None:
        skew_s = self._env.clock_skew_s
        if abs(ask.time_s - now_s) > skew_s:
            raise InvalidTimestamp(f"the clock of the device is more than {skew_s} s off", field="time_s")
        digest = hashlib.sha256(b"enrolment " + message).digest()[:16]
        expires_s = ask.time_s + skew_s + 2
        if not await self._replay.add(digest, stamped_s=ask.time_s, expires_s=expires_s, now_s=now_s):
            raise ReplayedMessage("this message was received before")

    def _now_s(self) -> int:
        return self._env.now_ns() // _NS

    def _stand_in(self, envelope: Envelope) -> Secret:
        return Secret(hmac.digest(self._nobody, envelope.prologue, hashlib.sha256))


class _Refused(Exception):
    """A refusal on its way to the audit log, which is told more (*detail*) than the sender."""

    def __init__(self, error: PeerError, event: AuditEvent, detail: str = "") -> None:
        super().__init__(error.reason)
        self.error = error
        self.event = event
        self.detail = detail


def _answered(
    side: Responder, given: EnrolmentGrant, device: DeviceRecord, issued: IssuedCredential, event: AuditEvent
) -> tuple[bytes, DeviceRecord, IssuedCredential]:
    """Return the answer, and device and key with the octets that come out of the handshake."""
    try:
        answer = side.write(given.encode())
    except HandshakeFailed:
        raise _Refused(_unusable_key(), event) from None
    return answer, replace(device, key=side.derived(DEVICE_LABEL)), _with_key(issued, side)


def _with_key(issued: IssuedCredential, side: Responder) -> IssuedCredential:
    if issued.psk is None:
        return issued
    return replace(issued, psk=replace(issued.psk, key=side.derived(PSK_LABEL)))


def _credential(issued: IssuedCredential) -> str:
    """Return how the audit log names a credential: a key's identifier or a certificate's digest, in hex."""
    if issued.psk is not None:
        return issued.psk.key_id.hex()
    return hashlib.sha256(issued.certificate or b"").hexdigest()


def _is_repeated(found: InvitationRecord, digest: bytes, now_s: int) -> bool:
    return (
        found.used_s is not None
        and now_s < found.used_s + REPEAT_S
        and hmac.compare_digest(found.request, digest)
    )


def _why_not(found: InvitationRecord | None, now_s: int) -> str:
    """Return for the audit log why an invitation was refused."""
    if found is None:
        return "there is no invitation of this number"
    for holds, why in (
        (found.used_s is not None, "it was used already"),
        (found.revoked, "it was taken back"),
        (now_s >= found.expires_s, "it has expired"),
        (not found.enabled, "the subscriber is disabled"),
    ):
        if holds:
            return why
    return f"the code is wrong, try {found.tries}"


def _why_closed(found: DeviceRecord | None) -> str:
    if found is None:
        return "there is no device of this identifier"
    if found.revoked_s is not None:
        return "the device was revoked"
    return "the subscriber is disabled" if not found.enabled else "its keys have expired"


def _wrong_code() -> CodeNotValid:
    return CodeNotValid("the code is not valid here: it is mistyped, used or expired; ask for a new one")


def _unusable_key() -> BadEnrolment:
    return BadEnrolment("its X25519 key is one that agrees on nothing", field="message")


def _wrong_device() -> DeviceNotValid:
    return DeviceNotValid("the device is not enrolled here any more; ask for a new invitation")
