"""Tickets of the caller: fetched, kept while they are valid, and never fetched twice at the same time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.shelf import MemoryShelf, Shelf
from sipmikey.call.events import TicketFacts
from sipmikey.call.reasons import AgentError, Reason, kms_fault, reason_of
from sipmikey.keys.suite import suite_named
from sipmikey.mikey.errors import InvalidTicketPolicy, PeerError, TicketNotValid
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.mode import flags_for, mode_of
from sipmikey.ticket.policy import RequestedKey, TicketPolicy
from sipmikey.ticket.request import TicketGrant, TicketRequest, check_acceptable, make_ticket
from sipmikey.ticket.shared_keys import key_shared_with

Ask = Callable[[bytes], Awaitable[bytes]]
"""Carries a REQUEST_INIT to the KMS and returns its response."""

_MARGIN_NS = 5_000_000_000
"""A ticket that expires within five seconds is no longer used: the callee must still resolve it."""

_LEFT = 5
"""A ticket is renewed when this part of its validity is left."""


def facts(grant: TicketGrant) -> TicketFacts:
    """Return what may be shown of a ticket."""
    return policy_facts(grant.ticket_id, grant.policy)


def policy_facts(ticket_id: str, policy: TicketPolicy) -> TicketFacts:
    """Return what may be shown of a ticket of which the policy is known."""
    start, end = policy.valid_from, policy.valid_until
    return TicketFacts(
        ticket=ticket_id[:8],
        kms=policy.kms or "",
        initiator=policy.initiator or "",
        responders=policy.responders,
        valid_from=None if start is None else start.unix_ns() / 1e9,
        valid_until=None if end is None else end.unix_ns() / 1e9,
        flags=str(policy.flags),
        suite=policy.suite.name,
        mode=mode_of(policy.flags),
    )


REFUSALS = frozenset({Reason.KMS_REFUSED, Reason.NOT_AUTHORIZED, Reason.PEER_REPORTED_ERROR})
"""Reasons with which the KMS refuses a ticket; with any other it gave no usable answer."""


async def first_granted(
    identities: tuple[str, ...], get: Callable[[str], Awaitable[TicketGrant]]
) -> tuple[str, TicketGrant]:
    """Return a ticket for the first of *identities* that the KMS does not refuse, and that identity.

    Raises what *get* raises, for the last a refusal as well.
    """
    *before, last = identities
    for called in before:
        try:
            return called, await get(called)
        except (PeerError, AgentError) as error:
            if reason_of(error) not in REFUSALS:
                raise
    return last, await get(last)


def desired_policy(keys: KeyManagement, identity: str, called: str) -> TicketPolicy:
    """Return the policy of a ticket with which *identity* calls *called*."""
    suite = suite_named(keys.suites[0])
    return TicketPolicy(
        suite=suite,
        flags=flags_for(keys.mode_for(called), key_forking=keys.key_forking, reuse=keys.reuse),
        responders=(called,),
        initiator=identity,
        kms=keys.kms or None,
        requested_keys=(RequestedKey(length=suite.key_length),),
    )


def make_own_ticket(env: Environment, keys: KeyManagement, policy: TicketPolicy) -> TicketGrant:
    """Make a ticket here (modes 3 and 4), with the key shared with the one who opens it.

    Raises ``AgentError`` where none is shared.
    """
    opener = keys.kms if policy.flags.resolve_mandatory else policy.responders[0]
    tpk = key_shared_with(opener, keys.ticket_keys)
    if tpk is None:
        detail = f"no ticket key is shared with {opener}: name one in kms.ticket_keys"
        raise AgentError(Reason.UNKNOWN_KEY, detail, side="local")
    until = Timestamp.ntp_utc(env.now_ns() + round(keys.ticket_lifetime_s * 1e9))
    return make_ticket(env, replace(policy, valid_until=until), tpk)


def check_wanted(wanted: TicketPolicy, grant: TicketGrant) -> None:
    """Check that a kept ticket is one the settings ask for today. Raises ``PeerError`` where it is not."""
    check_acceptable(wanted, grant.policy)
    if mode_of(wanted.flags) is not mode_of(grant.policy.flags):
        raise InvalidTicketPolicy("the ticket is of another mode", field="TICKET flags")
    if grant.policy.flags.reusable and not wanted.flags.reusable:
        raise InvalidTicketPolicy("the ticket allows reuse", field="TICKET flags")
    if not same_identity(wanted.kms or "", grant.policy.kms or ""):
        raise InvalidTicketPolicy("the ticket is from another KMS", field="TICKET IDRkms")


class TicketStore:
    """The tickets of one identity, by the identity called (canonical URI).

    Used from the event loop only, except ``at_hand``, which takes a ticket in one step. *shelf*: where
    they are kept.
    """

    def __init__(
        self,
        env: Environment,
        keys: KeyManagement,
        identity: str,
        shelf: Shelf[TicketGrant] | None = None,
    ) -> None:
        self._env = env
        self._keys = keys
        self._identity = identity
        self._kept: Shelf[TicketGrant] = MemoryShelf() if shelf is None else shelf
        self._flights: dict[str, asyncio.Task[TicketGrant]] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    async def get(self, called: str, ask: Ask) -> TicketGrant:
        """Return a ticket for *called*: a kept one, or one asked for now. Raises what `prefetch` raises."""
        if (grant := self._take(called)) is None:
            await self.prefetch(called, ask)
            grant = self._take(called)
        # Another call may have taken a ticket that is good for one call: this one then asks for its own.
        return grant or await self._fetch(called, ask)

    async def prefetch(self, called: str, ask: Ask) -> TicketGrant:
        """Get a ticket for *called* and keep it; concurrent calls share one request.

        Raises what *ask* raises, and an ``AgentError`` of side ``kms`` when the answer of the KMS is not
        authentic, grants less than was asked for, or grants a ticket that cannot be used now.
        """
        if (kept := self._kept.get(called)) is not None and self.usable(called, kept):
            return kept
        return await self.renew(called, ask)

    async def renew(self, called: str, ask: Ask) -> TicketGrant:
        """Get a new ticket for *called*, and keep it in place of the old one. Raises as `prefetch` does."""
        flight = self._flights.get(called)
        if flight is None:
            flight = asyncio.ensure_future(self._fetch(called, ask))
            self._flights[called] = flight
            flight.add_done_callback(lambda done: self._landed(called, done))
        return await asyncio.shield(flight)

    def renewal_in_s(self, called: str) -> float:
        """Return the seconds until the ticket kept for *called* is to be renewed, 0 where none is usable.

        That is when a fifth of its validity is left. It begins when it is first asked about here, where the
        ticket does not say since when it is valid. One without an end is not renewed (infinity).
        """
        grant = self._kept.get(called)
        if grant is None or not self.usable(called, grant):
            return 0.0
        start, end = grant.policy.valid_from, grant.policy.valid_until
        if end is None:
            return math.inf
        now_ns, end_ns = self._env.now_ns(), end.unix_ns()
        if self._seen.get(called, (0, 0))[0] != end_ns:
            self._seen[called] = end_ns, now_ns
        start_ns = self._seen[called][1] if start is None else start.unix_ns()
        return max(0.0, (end_ns - max(0, end_ns - start_ns) / _LEFT - now_ns) / 1e9)

    def at_hand(self, called: str) -> TicketGrant | None:
        """Return a kept ticket for *called*, if there is one. May be called from the engine's thread."""
        return self._take(called)

    def forget(self, called: str) -> None:
        """Drop the ticket kept for *called*, for example because the peer refused it."""
        self._kept.drop(called)

    def _take(self, called: str) -> TicketGrant | None:
        """Return a kept ticket; forget one that may not be reused (J), even if the call fails."""
        grant = self._kept.get(called)
        if grant is None:
            return None
        if not self.usable(called, grant):
            self._kept.drop(called)
            return None
        if not grant.policy.flags.reusable and not self._kept.drop(called):
            return None
        return grant

    def usable(self, called: str, grant: TicketGrant) -> bool:
        """Return whether a kept ticket is valid now and still what the settings ask for."""
        try:
            check_wanted(desired_policy(self._keys, self._identity, called), grant)
            grant.policy.check_validity(self._env.now_ns())
            grant.policy.check_validity(self._env.now_ns() + _MARGIN_NS)
        except PeerError:
            return False
        return True

    async def _fetch(self, called: str, ask: Ask) -> TicketGrant:
        policy = desired_policy(self._keys, self._identity, called)
        if not policy.flags.kms_generated:
            return make_own_ticket(self._env, self._keys, policy)
        request = self._request(policy)
        try:
            response = await ask(request.message)
        except PeerError as error:
            if not getattr(error, "ask_again", False):
                raise
            # The KMS may have taken the message before the connection broke: a fresh one is not a replay.
            request = self._request(policy)
            response = await ask(request.message)
        try:
            grant = request.receive(response)
            request.check_acceptable(grant)
            self._check_usable(grant)
        except PeerError as error:
            raise kms_fault(error) from None
        return grant

    def _request(self, policy: TicketPolicy) -> TicketRequest:
        credential = self._keys.credential
        assert credential is not None  # KeyManagement has checked it
        return TicketRequest.start(
            self._env,
            policy=policy,
            credential=credential,
            identity=self._identity,
            kms=self._keys.kms,
        )

    def _check_usable(self, grant: TicketGrant) -> None:
        """Raise ``TicketNotValid`` where asking again could not help either."""
        now_ns, until = self._env.now_ns(), grant.policy.valid_until
        try:
            grant.policy.check_validity(now_ns)
        except TicketNotValid as error:
            raise TicketNotValid(
                f"{error.detail} by the clock of this machine when the KMS granted it: set the clocks of both"
                " (NTP), or have the KMS's policy grant a longer validity (max_validity_s)",
                field=error.field,
            ) from None
        if until is not None and now_ns + _MARGIN_NS >= until.unix_ns():
            left_s = (until.unix_ns() - now_ns) / 1e9
            raise TicketNotValid(
                f"the KMS granted a ticket that ends in {left_s:.1f} s, and a call needs"
                f" {_MARGIN_NS / 1e9:.0f} s: have its policy grant a longer validity (max_validity_s), or set"
                " the clocks of both (NTP)",
                field="TRe",
            )

    def _landed(self, called: str, flight: asyncio.Task[TicketGrant]) -> None:
        del self._flights[called]
        if flight.cancelled() or flight.exception() is not None:
            return
        self._kept.put(called, flight.result())
