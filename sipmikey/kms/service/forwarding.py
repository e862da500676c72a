"""Between KMSs (RFC 6043 section 10): a ticket of another KMS is resolved there, and the keys relayed.

Sans-I/O: makes the RESOLVE_INIT for the other KMS and turns its answer into ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sipmikey.kms.policy.rules import Party, Policy
from sipmikey.kms.service.authenticate import Sender
from sipmikey.kms.service.settings import PeerKms
from sipmikey.kms.service.trail import Trail
from sipmikey.mikey.errors import InvalidIdentity, NotAuthorized, PeerError
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.payload import Payload
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import IdRole, RandRole
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical, uri_identity
from sipmikey.ticket.request import mpk_data
from sipmikey.ticket.resolve import ResolveAtKms, ResolvedTicket, TicketResolve


class ForwardingLoop(NotAuthorized):
    """Another KMS passed on a resolve that this KMS would pass on again: it could loop."""

    reason = "forwarding-loop"


class UntrustedKms(NotAuthorized):
    """The ticket is of a KMS this one does not trust."""

    reason = "untrusted-kms"


class BadGateway(PeerError):
    """The other KMS answered with something that cannot be used."""

    reason = "bad-gateway"
    error_no = None
    http_status = 502


class GatewayTimeout(BadGateway):
    """The other KMS did not answer in time."""

    reason = "gateway-timeout"
    http_status = 504


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingResolve:
    """A resolve waiting for the other KMS."""

    sender: Sender
    answerer: str
    initiator: Party
    resolve: ResolveAtKms
    exchange: TicketResolve
    trail: Trail
    policy: Policy


def choose_peer(peers: Mapping[str, PeerKms], kms: str, sender: Sender) -> PeerKms:
    """Return the KMS to pass a ticket of *kms* on to; raise `ForwardingLoop` or `UntrustedKms`.

    What another KMS passed on to us is not passed on again: one step is all that section 10 needs.
    """
    if sender.principal.is_kms:
        raise ForwardingLoop(
            f"a ticket of {kms} was passed on by {sender.principal.name!r}", field="TICKET IDRkms"
        )
    peer = peers.get(kms)
    if peer is None:
        raise UntrustedKms(f"the ticket is of {kms}, which this KMS does not trust", field="TICKET IDRkms")
    return peer


def start(env: Environment, peer: PeerKms, resolve: ResolveAtKms, identity: str) -> TicketResolve:
    """Return the exchange with *peer*: its message has the IDRr and TICKET of the one received."""
    return TicketResolve.start(
        env, ticket=resolve.ticket, credential=peer.credential, identity=identity, kms=peer.identity
    )


def relay(
    env: Environment, pending: PendingResolve, response: bytes, *, kms: str, groups: tuple[str, ...]
) -> bytes:
    """Return our RESOLVE_RESP with the keys in the *response* of the other KMS.

    *groups* are those of the answering party, for the policy, which is asked again with the keys now known.
    Raises `PeerReportedError` if the other KMS refused, `BadGateway` if its answer cannot be used, or what
    policy raises.
    """
    resolved = pending.exchange.receive(response)
    answerer = pending.answerer
    if resolved.answerer is not None:
        answerer = _owned(pending.sender, resolved)
    ticket = pending.resolve.policy
    pending.trail.identity = answerer
    pending.trail.rule = pending.policy.decide_resolve(
        pending.initiator,
        Party(identities=(answerer,), groups=groups, subscriber=not pending.sender.principal.is_kms),
        ticket,
        resolved.keys,
        now_s=env.now_ns() // 1_000_000_000,
    )
    keys: tuple[KeyData, ...] = (mpk_data(env, resolved.mpk_i),)
    if resolved.mpk_r is not None:
        keys += (mpk_data(env, resolved.mpk_r),)
    after: list[Payload] = [resolved.answerer or uri_identity(IdRole.RESPONDER, answerer)]
    if resolved.modifier is not None:
        after.append(RANDR(role=RandRole.KMS, rand=resolved.modifier.rand_kms))
    before: list[Payload] = [uri_identity(IdRole.KMS, kms)]
    return pending.sender.authenticated.respond(before, (*keys, *resolved.keys), after)


def _owned(sender: Sender, resolved: ResolvedTicket) -> str:
    assert resolved.answerer is not None
    try:
        identity = canonical(resolved.answerer.data.decode())
    except ValueError:
        raise BadGateway("the other KMS returned an IDRr that is not a URI", field="IDRr") from None
    if not sender.principal.owns(identity):
        raise InvalidIdentity(f"the other KMS returned {identity}, which is not the sender's", field="IDRr")
    return identity
