"""A ticket that is opened without the KMS is opened with a key that its maker shares with us only."""

from __future__ import annotations

import pytest

from sipmikey.mikey import Secret, TicketFlags
from sipmikey.mikey.errors import AuthenticationFailure, InvalidTicketPolicy, NotAuthorized, UnknownKey
from sipmikey.ticket import TicketGrant, TicketProtectionKey, make_ticket
from sipmikey.ticket.mode import Mode, flags_for, limits_of, mode_of
from sipmikey.ticket.shared_keys import SharedTicketKey, key_shared_with, resolve_with
from tests.ticket.parties import ALICE, BOB, CAROL, KMS, Clock, Kms, environment, policy, request_ticket

PRESHARED = flags_for(Mode.PRESHARED)
KERBEROS = flags_for(Mode.KERBEROS)


def key(name: str, key_id: bytes | None = None) -> TicketProtectionKey:
    return TicketProtectionKey(key=Secret(name.encode().ljust(32, b".")), key_id=key_id)


def shared(owner: str, name: str, key_id: bytes | None = None) -> SharedTicketKey:
    return SharedTicketKey(owner=owner, tpk=key(name, key_id))


def made(flags: TicketFlags = PRESHARED, name: str = "with bob", key_id: bytes | None = None) -> TicketGrant:
    return make_ticket(environment(Clock(), "a"), policy(flags=flags), key(name, key_id))


def opened(grant: TicketGrant, *keys: SharedTicketKey, initiator: str = ALICE, identity: str = BOB) -> None:
    resolved = resolve_with(
        environment(Clock(), "b"), grant.ticket, keys, initiator=initiator, identity=identity
    )
    assert resolved.mpk_i == grant.mpk_i
    assert resolved.keys == grant.keys


@pytest.mark.parametrize("key_id", [None, b"one"], ids=["unnamed", "named"])
def test_a_ticket_of_a_peer_is_opened_with_the_key_shared_with_that_peer(key_id: bytes | None) -> None:
    others = shared(CAROL, "with carol"), shared(ALICE, "an older one", b"zero")
    opened(made(key_id=key_id), *others, shared(ALICE, "with bob", key_id))


def test_a_peer_cannot_call_in_the_name_of_another() -> None:
    """Carol shares a key with bob, and makes a ticket with it that says alice."""
    with pytest.raises(UnknownKey, match=r"alice@example\.com"):
        opened(made(name="with carol"), shared(CAROL, "with carol"))


def test_a_peer_cannot_make_a_ticket_of_the_kms() -> None:
    """D says that the KMS made the ticket; a key shared with a peer opens none of the KMS's."""
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "a"), kms, policy(flags=KERBEROS))
    opened(grant, SharedTicketKey(owner=KMS, tpk=kms.tpk))
    with pytest.raises(UnknownKey, match=r"kms@example\.com"):
        opened(grant, SharedTicketKey(owner=ALICE, tpk=kms.tpk))


def test_the_kms_key_opens_no_ticket_of_a_peer() -> None:
    with pytest.raises(UnknownKey):
        opened(made(), shared(KMS, "with bob"))


def test_another_key_of_the_same_peer_does_not_verify() -> None:
    with pytest.raises(AuthenticationFailure):
        opened(made(), shared(ALICE, "another"))


def test_a_ticket_for_somebody_else_is_not_opened() -> None:
    with pytest.raises(NotAuthorized):
        opened(made(), shared(ALICE, "with bob"), identity=CAROL)


def test_what_the_kms_must_resolve_is_not_opened() -> None:
    grant = made(flags_for(Mode.OTWAY_REES))
    with pytest.raises(InvalidTicketPolicy):
        opened(grant, shared(ALICE, "with bob"))


def test_the_owner_of_a_key_is_found_by_identity() -> None:
    keys = shared(CAROL, "c"), shared(BOB, "b")
    assert key_shared_with("sip:bob@EXAMPLE.com", keys) == keys[1].tpk
    assert key_shared_with(ALICE, keys) is None


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("key_forking", [True, False])
@pytest.mark.parametrize("reuse", [True, False])
def test_the_flags_of_a_mode_say_which_it_is(mode: Mode, key_forking: bool, reuse: bool) -> None:
    flags = flags_for(mode, key_forking=key_forking, reuse=reuse)
    assert mode_of(flags) is mode
    assert flags.reusable is reuse
    assert flags.key_forking is (key_forking and mode.resolved_by_kms)
    assert flags.response_sent


def test_what_a_mode_does_without_is_told() -> None:
    assert limits_of(Mode.FULL) == ()
    assert len(limits_of(Mode.FULL, key_forking=False)) == 1
    assert len(limits_of(Mode.PRESHARED)) == 3
