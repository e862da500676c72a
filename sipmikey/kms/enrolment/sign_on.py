"""Single sign-on: what a person proves to the organisation's provider becomes an invitation of one device.

The KMS runs the OAuth 2.0 device grant (RFC 8628) itself, so that no token reaches a device. What a device
has in its place is a *session*: sealed by the KMS, of use only to the device that began it.
docs/kms/enrolment-protocol.md argues the choices.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Protocol

from sipmikey.kms.audit import AuditEvent, Decision, Exchange
from sipmikey.kms.enrolment.claims import IdentityRule, SignOnNotAllowed
from sipmikey.kms.enrolment.codes import new_code
from sipmikey.kms.enrolment.desk import Failures, Reply, TooManyFailures
from sipmikey.kms.enrolment.documents import BadEnrolment
from sipmikey.kms.enrolment.noise import HandshakeFailed, Responder
from sipmikey.kms.enrolment.records import InvitationRecord
from sipmikey.kms.enrolment.sign_on_documents import (
    PROLOGUE,
    PUBLIC_KEY,
    SESSION_LABEL,
    Beginning,
    Begun,
    State,
    decode_request,
    encode_begun,
)
from sipmikey.kms.service.lookups import AuditLog, StoreUnavailable
from sipmikey.kms.subscribers import Principal, SubscriberRecord
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.mikey.secret import Secret
from sipmikey.printable import printable
from sipmikey.ticket.environment import Environment

REDEEM_S: Final = 120
"""How long the invitation of a person who has signed on can be redeemed."""

MAX_LIFE_S: Final = 1800
MAX_INTERVAL_S: Final = 60

_NS: Final = 1_000_000_000


class SignOnDenied(PeerError):
    """The person said no at the provider."""

    reason: ClassVar[str] = "sign-on-denied"
    http_status: ClassVar[int] = 403


class SignOnExpired(PeerError):
    """The sign-on took too long, or is over already."""

    reason: ClassVar[str] = "sign-on-expired"
    http_status: ClassVar[int] = 403


class ProviderUnavailable(PeerError):
    """The provider does not answer as the device grant asks for."""

    reason: ClassVar[str] = "provider-unavailable"
    http_status: ClassVar[int] = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A device grant that was begun (RFC 8628 section 3.2). Times in seconds."""

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str = ""
    expires_in_s: int = 600
    interval_s: int = 5


@dataclass(frozen=True, slots=True)
class NotYet:
    """The person has not decided. ``interval_s``: seconds until the provider is asked again."""

    interval_s: int


class Provider(Protocol):
    """The organisation's OpenID provider. Any method may raise `ProviderUnavailable`."""

    async def begin(self, *, nonce: str) -> Grant:
        """Begin a device grant."""
        ...

    async def poll(self, device_code: Secret, *, nonce: str, interval_s: int) -> Mapping[str, Any] | NotYet:
        """Return the verified claims of the ID token once the person has agreed.

        Raises `SignOnDenied`, `SignOnExpired` and `IdTokenRefused`.
        """
        ...


class SignOnStore(Protocol):
    """Keeps what sign-on needs. Any method may raise `StoreUnavailable`."""

    async def owner_of(self, identity: str) -> Principal | None:
        """Return the subscriber who owns *identity*, or None."""
        ...

    async def add_subscriber(self, record: SubscriberRecord) -> None:
        """Add a subscriber. Raises `LocalError` where a name or identity is taken."""
        ...

    async def invitation(self, number: str) -> InvitationRecord | None:
        """Return the invitation of that number, without counting a try."""
        ...

    async def invite(self, invitations: list[InvitationRecord]) -> bool:
        """Keep *invitations*; return False if a number is in use."""
        ...

    def seal_session(self, session: Secret) -> bytes:
        """Seal what a session holds, for this KMS alone to open."""
        ...

    def open_session(self, sealed: bytes) -> Secret | None:
        """Open what `seal_session` made; None for anything else."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOnSettings:
    """``add_users``: a person who is not a subscriber yet is made one; else refused."""

    issuer: str
    rule: IdentityRule
    kms_identity: str
    add_users: bool = False


class SignOnDesk:
    """Begins sign-ons and turns those that succeed into invitations. One serves any number of tasks.

    It keeps nothing: any worker and any machine can go on with a session. What is begun, granted and refused
    is in the audit log; that a person has not decided yet is not.
    """

    def __init__(
        self,
        env: Environment,
        settings: SignOnSettings,
        provider: Provider,
        store: SignOnStore,
        *,
        audit: AuditLog,
        starts: Failures | None = None,
        polls: Failures | None = None,
    ) -> None:
        self._env = env
        self._settings = settings
        self._provider = provider
        self._store = store
        self._audit = audit
        self._starts = starts
        self._polls = polls

    async def handle(self, body: bytes, *, source: str = "") -> Reply:
        """Answer one request; never raises for anything its sender can do."""
        event = AuditEvent(
            time_ns=self._env.now_ns(), exchange=Exchange.ENROLMENT, decision=Decision.GRANTED,
            reason="granted", source=source, kms=self._settings.kms_identity, rule="sign-on",
        )  # fmt: skip
        try:
            message, sealed = decode_request(body)
            if message:
                return await self._begin(message, event)
            return await self._go_on(sealed, event)
        except TooManyFailures as error:
            return Reply(
                status=429, reason=error.reason, detail=str(error), retry_after_s=error.retry_after_s
            )
        except BadEnrolment as error:
            return Reply(status=error.http_status, reason=error.reason, detail=str(error))
        except _Refused as refused:
            return await self._refused(refused)
        except StoreUnavailable as error:
            return Reply(status=503, reason="unavailable", detail=str(error), retry_after_s=1.0)

    async def _begin(self, message: bytes, event: AuditEvent) -> Reply:
        _limit(self._starts, event.source, "too many sign-ons were begun from this address")
        side = Responder(PUBLIC_KEY, prologue=PROLOGUE, random=self._env.random)
        try:
            beginning = Beginning.decode(side.read(message))
        except HandshakeFailed:
            raise BadEnrolment("not the first message of a handshake", field="message") from None
        nonce = base64.urlsafe_b64encode(self._env.random(24)).decode()
        number = new_code(self._env.random).number
        event = replace(event, credential=f"invitation {number}", detail=f"begun for {beginning.name or '-'}")
        try:
            grant = await self._provider.begin(nonce=nonce)
        except PeerError as error:
            raise _Refused(error, event) from None
        life_s = max(1, min(grant.expires_in_s, MAX_LIFE_S))
        begun = Begun(
            user_code=grant.user_code,
            verification_uri=grant.verification_uri,
            verification_uri_complete=grant.verification_uri_complete,
            expires_in_s=life_s,
            interval_s=_interval(grant.interval_s),
        )
        try:
            answer = side.write(begun.encode())
        except HandshakeFailed:
            raise BadEnrolment("its X25519 key is one that agrees on nothing", field="message") from None
        session = _Session(
            device_code=grant.device_code, key=side.derived(SESSION_LABEL), number=number, nonce=nonce,
            expires_s=self._now_s() + life_s, interval_s=begun.interval_s,
        )  # fmt: skip
        await self._audit.append(event)
        sealed = self._store.seal_session(session.encode())
        return Reply(status=200, reason="granted", body=encode_begun(answer, sealed))

    async def _go_on(self, sealed: bytes, event: AuditEvent) -> Reply:
        opened = self._store.open_session(sealed)
        if opened is None:
            raise BadEnrolment("this KMS has begun no such sign-on", field="session")
        session = _Session.decode(opened)
        event = replace(event, credential=f"invitation {session.number}")
        if await self._is_invited(session):
            return _state(State(invitation=session.number))
        if self._now_s() >= session.expires_s:
            raise _Refused(SignOnExpired("the sign-on took too long: begin again"), event)
        if self._polls is not None and self._polls.wait(session.number) is not None:
            return _state(State(interval_s=session.interval_s))
        if self._polls is not None:
            self._polls.failed(session.number)
        try:
            claims = await self._provider.poll(
                session.device_code, nonce=session.nonce, interval_s=session.interval_s
            )
        except PeerError as error:
            raise _Refused(error, event) from None
        if isinstance(claims, NotYet):
            return _state(State(interval_s=_interval(claims.interval_s)))
        return await self._invited(session, claims, event)

    async def _is_invited(self, session: _Session) -> bool:
        """Return whether the session was granted before: its answer may have been lost."""
        found = await self._store.invitation(session.number)
        return (
            found is not None
            and found.key is not None
            and hmac.compare_digest(found.key.reveal(), session.key.reveal())
        )

    async def _invited(self, session: _Session, claims: Mapping[str, Any], event: AuditEvent) -> Reply:
        person = printable(str(claims.get("sub", "")), most=80)
        event = replace(event, detail=f"{person} of {self._settings.issuer}")
        try:
            identity = self._settings.rule.identity_of(claims)
            event = replace(event, identity=identity)
            owner = await self._owner(identity)
            event = replace(event, subscriber=owner.name)
        except SignOnNotAllowed as error:
            detail = f"{event.detail}: {error}"
            raise _Refused(_not_allowed(), event, detail) from None
        now_s = self._now_s()
        record = InvitationRecord(
            number=session.number, subscriber=owner.name, identity=identity, key=session.key,
            created_s=now_s, expires_s=now_s + REDEEM_S,
        )  # fmt: skip
        if not await self._store.invite([record]):
            raise _Refused(SignOnExpired("the sign-on cannot go on: begin again"), event, "number in use")
        await self._audit.append(event)
        return _state(State(invitation=session.number))

    async def _owner(self, identity: str) -> Principal:
        """Return the subscriber who owns *identity*. Raises `SignOnNotAllowed`."""
        owner = await self._store.owner_of(identity)
        if owner is None and self._settings.add_users:
            record = SubscriberRecord(name=identity, identities=(identity,))
            try:
                await self._store.add_subscriber(record)
            except LocalError:  # added at the same time, or another subscriber has that name
                owner = await self._store.owner_of(identity)
            else:
                owner = Principal(name=record.name, identities=record.identities)
        if owner is None:
            raise SignOnNotAllowed("nobody here has this identity (enrolment.oidc.add_users is off)")
        if not owner.enabled:
            raise SignOnNotAllowed("the subscriber is disabled")
        if owner.is_kms:
            raise SignOnNotAllowed("the subscriber is another KMS")
        return owner

    async def _refused(self, refused: _Refused) -> Reply:
        error = refused.error
        event = replace(
            refused.event, decision=Decision.REFUSED, reason=error.reason, detail=refused.detail or str(error)
        )
        try:
            await self._audit.append(event)
        except StoreUnavailable as failure:
            return Reply(status=503, reason="unavailable", detail=str(failure), retry_after_s=1.0)
        wait = 5.0 if error.http_status == 503 else None
        return Reply(status=error.http_status, reason=error.reason, detail=str(error), retry_after_s=wait)

    def _now_s(self) -> int:
        return self._env.now_ns() // _NS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What the KMS has to know again: it is sealed and given to the device."""

    device_code: Secret
    key: Secret
    number: str
    nonce: str
    expires_s: int
    interval_s: int

    def encode(self) -> Secret:
        fields = {
            "device_code": self.device_code.reveal().decode(),
            "key": base64.b64encode(self.key.reveal()).decode(),
            "number": self.number, "nonce": self.nonce, "expires_s": self.expires_s,
            "interval_s": self.interval_s,
        }  # fmt: skip
        return Secret(json.dumps(fields).encode())

    @classmethod
    def decode(cls, opened: Secret) -> _Session:
        fields = json.loads(opened.reveal())
        return cls(
            device_code=Secret(fields["device_code"].encode()), key=Secret(base64.b64decode(fields["key"])),
            number=fields["number"], nonce=fields["nonce"], expires_s=fields["expires_s"],
            interval_s=fields["interval_s"],
        )  # fmt: skip


class _Refused(Exception):
    """A refusal on its way to the audit log, which is told more (*detail*) than the sender."""

    def __init__(self, error: PeerError, event: AuditEvent, detail: str = "") -> None:
        super().__init__(error.reason)
        self.error = error
        self.event = event
        self.detail = detail


def _not_allowed() -> SignOnNotAllowed:
    return SignOnNotAllowed("this account may not have a phone here: ask the administrator of the KMS")


def _state(state: State) -> Reply:
    return Reply(status=200, reason="granted", body=state.encode())


def _interval(seconds: int) -> int:
    return max(1, min(seconds, MAX_INTERVAL_S))


def _limit(limit: Failures | None, source: str, what: str) -> None:
    """Count one event of *source*. Raises `TooManyFailures` where it has to wait."""
    if limit is None:
        return
    wait = limit.wait(source)
    if wait is not None:
        raise TooManyFailures(wait, what)
    limit.failed(source)
