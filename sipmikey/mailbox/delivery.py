"""A message from one user to another: its ticket from the KMS, and the keys to open it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sipmikey.agent.config import KeyManagement
from sipmikey.call.reasons import AgentError, Reason, kms_fault
from sipmikey.deferred.claims import DepositFacts, facts_of
from sipmikey.deferred.deposit import Deposit, parse_deposit
from sipmikey.deferred.leaving import deferred_ticket_policy, leave_message
from sipmikey.deferred.opening import OpenedMessage, open_message, read_transfer
from sipmikey.keys.suite import suite_named
from sipmikey.media.g711 import G711
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.credentials import ClientCredential
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.request import TicketRequest
from sipmikey.ticket.resolve import TicketResolve

KEPT_FOR_S = 10 * 365 * 86_400
"""How old a message may be; the end of its ticket's validity comes first."""

_NS = 1_000_000_000


class KmsClient(Protocol):
    """Carries MIKEY messages to a KMS, as ``sipmikey.kms.client`` does."""

    async def request(self, message: bytes, *, kms: str | None = None) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedMessage:
    """``valid_until``: Unix seconds until which it can be opened, 0 for ever; ``shortened``: by the KMS."""

    deposit: Deposit
    valid_until: float
    shortened: bool


class Delivery:
    """What *identity* leaves and opens, with the keys it shares with the KMS.

    Raises ``AgentError`` where *keys* name no KMS: every ticket of a message is one that the KMS resolves.
    """

    def __init__(
        self, env: Environment, keys: KeyManagement | None, kms: KmsClient | None, identity: str
    ) -> None:
        if keys is None or kms is None or keys.credential is None:
            raise AgentError(Reason.NO_KMS, "a message that is left needs a KMS (kms.url)", side="local")
        self._env = env
        self._keys = keys
        self._credential: ClientCredential = keys.credential
        self._kms = kms
        self._identity = identity

    async def seal(self, to: str, frames: Sequence[bytes], codec: G711, *, valid_s: float) -> SealedMessage:
        """Get a ticket for *to* and make the deposit. *frames*: 20 ms each, encoded by *codec*.

        Raises ``AgentError`` with side ``kms`` where the KMS refuses or gives no usable answer.
        """
        suite = suite_named(self._keys.suites[0])
        until = Timestamp.ntp_utc_32(self._env.now_ns() // _NS + round(valid_s))
        policy = deferred_ticket_policy(
            suite, initiator=self._identity, addressee=to, kms=self._keys.kms, valid_until=until
        )
        request = TicketRequest.start(
            self._env, policy=policy, credential=self._credential, identity=self._identity,
            kms=self._keys.kms,
        )  # fmt: skip
        response = await self._kms.request(request.message)
        try:
            grant = request.receive(response)
            request.check_acceptable(grant)
        except PeerError as error:
            raise kms_fault(error) from None
        deposit = leave_message(
            self._env, grant, frames, codec=codec, srtp=SrtpPolicy.aes_gcm(suite.key_length),
            initiator=self._identity, addressee=to,
        )  # fmt: skip
        granted = grant.policy.valid_until
        return SealedMessage(
            deposit=deposit,
            valid_until=0.0 if granted is None else granted.unix_ns() / _NS,
            shortened=granted is not None and granted.unix_ns() < until.unix_ns(),
        )

    async def open(self, octets: bytes) -> tuple[OpenedMessage, DepositFacts]:
        """Have the KMS resolve the ticket of a deposit, verify all of it, and decrypt it.

        Raises ``AgentError`` with side ``kms`` where the KMS refuses, and the `PeerError` that says what is
        wrong with the deposit, `TicketNotValid` where its time is over.
        """
        keys = self._keys
        deposit = parse_deposit(octets)
        facts = facts_of(deposit.transfer_init)
        transfer = read_transfer(
            self._env, deposit.transfer_init, identity=self._identity, kept_for_s=KEPT_FOR_S
        )
        other = keys.asked_about(transfer.policy.kms)
        resolve = TicketResolve.start(
            self._env, ticket=transfer.ticket, credential=self._credential, identity=self._identity,
            kms=other or keys.kms,
        )  # fmt: skip
        response = await self._kms.request(resolve.message, kms=other)
        try:
            resolved = resolve.receive(response)
        except PeerError as error:
            raise kms_fault(error) from None
        transfer.verify(resolved)
        return open_message(transfer, deposit), facts
