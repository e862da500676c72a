"""The key management service: one message in, one outcome out (RFC 6043 sections 4.2.1, 4.2.3 and 10)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from sipmikey.kms.audit import Decision, Exchange
from sipmikey.kms.policy.rules import NO_RULE, Policy, Refusal, UnacceptablePolicy
from sipmikey.kms.service import forwarding
from sipmikey.kms.service.authenticate import Sender, authenticate, canonical_identity
from sipmikey.kms.service.lookups import Lookups, StoreUnavailable
from sipmikey.kms.service.outcome import Forward, Outcome
from sipmikey.kms.service.parties import party_of
from sipmikey.kms.service.request import Answer, answer_request
from sipmikey.kms.service.resolve import answer_resolve, identity_passed_on
from sipmikey.kms.service.settings import KmsSettings
from sipmikey.kms.service.trail import RateLimited, Trail
from sipmikey.mikey.cursor import Reader
from sipmikey.mikey.errors import (
    InvalidTicketPolicy,
    LimitExceeded,
    LocalError,
    NotAuthorized,
    PeerError,
    PeerReportedError,
    UnexpectedMessage,
)
from sipmikey.mikey.header import Header
from sipmikey.mikey.registry import DataType, ErrorNo
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.error_message import build_error
from sipmikey.ticket.kms_exchange.kind import TICKET_REQUEST
from sipmikey.ticket.kms_exchange.kms import KmsInit
from sipmikey.ticket.resolve import ResolveAtKms

T = TypeVar("T")

UNAVAILABLE_RETRY_S = 1.0


class KeyManagementService:
    """Answers REQUEST_INIT and RESOLVE_INIT. Stateless but for its lookups; one serves any number of tasks.

    ``policy`` may be replaced at any time (a reload); a message is judged by the one in force when it came.
    """

    def __init__(self, env: Environment, settings: KmsSettings, policy: Policy, lookups: Lookups) -> None:
        self._env = env
        self._settings = settings
        self._lookups = lookups
        self.policy = policy

    async def handle(
        self, message: bytes, *, expected: Exchange = Exchange.UNKNOWN, source: str = ""
    ) -> Outcome:
        """Answer one message; never raises for anything the sender can do.

        *expected* is what the request's ``requesttype`` said; a message of the other exchange is refused with
        400. *source* is the sender's address, for the audit log. A grant is returned only when its event is
        in the audit log, and so is a refusal, except of messages that cannot be parsed and of those that come
        too fast.
        """
        trail = Trail(source=source, exchange=expected)
        init: KmsInit | None = None
        try:
            if len(message) > self._env.limits.message_bytes:
                raise LimitExceeded(f"{len(message)} octets, {self._env.limits.message_bytes} are allowed")
            init = KmsInit(self._env, message)
            trail.exchange = Exchange.REQUEST if init.kind is TICKET_REQUEST else Exchange.RESOLVE
            if expected not in (Exchange.UNKNOWN, trail.exchange):
                raise UnexpectedMessage(
                    f"a {init.kind.name}_INIT came as ticket {expected}", field="data type"
                )
            sender = await authenticate(self._env, self._settings, self._lookups, init, trail)
            if init.kind is TICKET_REQUEST:
                answer = await answer_request(
                    self._env, self._settings, self.policy, self._lookups, sender, trail
                )
                return await self._granted(trail, answer)
            return await self._resolve(sender, trail)
        except PeerError as error:
            body = self._error_message(message, init, trail, error)
            return await self._refused(trail, error, body, parsed=init is not None)
        except RateLimited as error:
            return self._rate_limited(trail, error)
        except StoreUnavailable as error:
            return self._unavailable(trail, error)
        except LocalError as error:
            # The request passed every check, and its ticket still cannot be built: the request is at fault.
            refusal = InvalidTicketPolicy(str(error))
            return await self._refused(trail, refusal, self._error_message(message, init, trail, refusal))

    async def forwarded(self, forward: Forward, response: bytes) -> Outcome:
        """Finish a forwarded resolve with the *response* of the other KMS."""
        pending = forward.pending
        assert isinstance(pending, forwarding.PendingResolve)
        authenticated = pending.sender.authenticated
        try:
            groups = tuple(await self._lookups.credentials.groups_of(pending.answerer))
            body = forwarding.relay(self._env, pending, response, kms=self._settings.identity, groups=groups)
            return await self._granted(pending.trail, Answer(body=body))
        except PeerReportedError as error:
            numbers = [ErrorNo(number) for number in error.error_numbers if number in set(ErrorNo)]
            refusal = NotAuthorized(f"{forward.kms} refused: {error.detail}", field="TICKET")
            return await self._refused(
                pending.trail, refusal, authenticated.error(numbers or [ErrorNo.UNSPECIFIED])
            )
        except (Refusal, UnacceptablePolicy) as error:
            body = authenticated.error([error.error_no or ErrorNo.UNSPECIFIED])
            return await self._refused(pending.trail, error, body)
        except (PeerError, LocalError) as error:
            return await self._refused(pending.trail, forwarding.BadGateway(f"{forward.kms}: {error}"), None)
        except StoreUnavailable as error:
            return self._unavailable(pending.trail, error)

    async def not_forwarded(self, forward: Forward, *, timed_out: bool, detail: str) -> Outcome:
        """Finish a forwarded resolve that got no answer: status 504 if *timed_out*, else 502."""
        pending = forward.pending
        assert isinstance(pending, forwarding.PendingResolve)
        error = forwarding.GatewayTimeout(detail) if timed_out else forwarding.BadGateway(detail)
        try:
            return await self._refused(pending.trail, error, None)
        except StoreUnavailable as failure:
            return self._unavailable(pending.trail, failure)

    async def _resolve(self, sender: Sender, trail: Trail) -> Outcome:
        resolve = ResolveAtKms(self._env, sender.authenticated)
        trail.ticket = resolve.ticket_id
        ticket = resolve.policy
        trail.peers = (ticket.initiator,) if ticket.initiator is not None else ()
        if ticket.kms is not None:
            kms = canonical_identity(ticket.kms, "TICKET IDRkms")
            if not self._settings.is_ours(kms):
                return await self._forward(kms, sender, resolve, trail)
        answer = await answer_resolve(
            self._env, self._settings, self.policy, self._lookups, sender, resolve, trail
        )
        return await self._granted(trail, answer)

    async def _forward(self, kms: str, sender: Sender, resolve: ResolveAtKms, trail: Trail) -> Outcome:
        trail.kms = kms
        peer = forwarding.choose_peer(self._settings.peers, kms, sender)
        initiator = canonical_identity(resolve.policy.initiator or "", "TICKET IDRi")
        resolve.policy.check_type()
        resolve.policy.check_validity(self._env.now_ns())
        answerer = await identity_passed_on(self._lookups, sender, resolve.policy, kms)
        asker = await party_of(self._lookups.credentials, initiator)
        trail.rule = self.policy.check_allowed(asker, await party_of(self._lookups.credentials, answerer))
        exchange = forwarding.start(self._env, peer, resolve, answerer)
        pending = forwarding.PendingResolve(
            sender=sender,
            answerer=answerer,
            initiator=asker,
            resolve=resolve,
            exchange=exchange,
            trail=trail,
            policy=self.policy,
        )
        event = trail.event(time_ns=self._env.now_ns(), decision=Decision.FORWARDED, reason="forwarded")
        await self._lookups.audit.append(event)
        forward = Forward(kms=kms, message=exchange.message, pending=pending)
        return Outcome(status=202, reason="forwarded", event=event, forward=forward)

    async def _granted(self, trail: Trail, answer: Answer) -> Outcome:
        event = trail.event(
            time_ns=self._env.now_ns(), decision=Decision.GRANTED, reason="granted", detail=answer.detail
        )
        await self._lookups.audit.append(event)
        return Outcome(status=200, reason="granted", event=event, body=answer.body)

    async def _refused(
        self, trail: Trail, error: PeerError, body: bytes | None, *, parsed: bool = True
    ) -> Outcome:
        if isinstance(error, Refusal | UnacceptablePolicy) and error.rule != NO_RULE:
            trail.rule = error.rule
        event = trail.event(
            time_ns=self._env.now_ns(), decision=Decision.REFUSED, reason=error.reason, detail=str(error)
        )
        try:
            if parsed:
                await self._lookups.audit.append(event)
        except StoreUnavailable as failure:
            return self._unavailable(trail, failure)
        return Outcome(status=error.http_status, reason=error.reason, event=event, body=body)

    def _rate_limited(self, trail: Trail, error: RateLimited) -> Outcome:
        event = trail.event(
            time_ns=self._env.now_ns(), decision=Decision.REFUSED, reason="rate-limited", detail=str(error)
        )
        return Outcome(status=429, reason="rate-limited", event=event, retry_after_s=error.retry_after_s)

    def _unavailable(self, trail: Trail, error: StoreUnavailable) -> Outcome:
        event = trail.event(
            time_ns=self._env.now_ns(), decision=Decision.REFUSED, reason="unavailable", detail=str(error)
        )
        return Outcome(status=503, reason="unavailable", event=event, retry_after_s=UNAVAILABLE_RETRY_S)

    def _error_message(
        self, message: bytes, init: KmsInit | None, trail: Trail, error: PeerError
    ) -> bytes | None:
        """Return the Error message RFC 6043 section 5.4 allows, authenticated where the sender is known."""
        if error.error_no is None:
            return None
        if trail.authenticated is not None:
            return trail.authenticated.error([error.error_no])
        if init is not None:
            return init.plain_error([error.error_no])
        try:
            header, _ = Header.decode(Reader(message[: self._env.limits.message_bytes]), self._env.limits)
        except PeerError:
            return None
        if header.data_type is DataType.ERROR:
            return None
        return build_error(self._env, header, [error.error_no])


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine of the service whose lookups never wait, without an event loop.

    Raises `LocalError` if a lookup waits after all.
    """
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise LocalError("a lookup waits for I/O: drive the service from an event loop")
