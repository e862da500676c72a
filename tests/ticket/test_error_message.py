"""Error messages: RFC 6043 section 5.4."""

from __future__ import annotations

import pytest

from sipmikey.mikey import Message
from sipmikey.mikey.errors import (
    AuthenticationFailure,
    LocalError,
    PeerReportedError,
    UnexpectedMessage,
)
from sipmikey.mikey.registry import DataType, ErrorNo
from sipmikey.ticket import (
    KmsInit,
    TicketRequest,
    TransferResponder,
    build_error,
)
from tests.ticket.parties import (
    ALICE,
    BOB,
    KMS,
    Clock,
    Kms,
    environment,
    policy,
    psk,
    request_ticket,
    resolve_ticket,
    start_transfer,
)


def started(clock: Clock) -> TicketRequest:
    return TicketRequest.start(
        environment(clock, "alice"), policy=policy(), credential=psk(ALICE), identity=ALICE, kms=KMS
    )


@pytest.mark.parametrize("authenticated", [True, False])
def test_an_error_of_the_kms_reaches_the_client(authenticated: bool) -> None:
    clock = Clock()
    request = started(clock)
    init = KmsInit(environment(clock, "kms"), request.message)
    if authenticated:
        error = init.verify_psk(psk(ALICE), owner=ALICE, kms=KMS).error([ErrorNo.INVALID_TPPAR])
    else:
        error = init.plain_error([ErrorNo.INVALID_TPPAR])
    with pytest.raises(PeerReportedError) as caught:
        request.receive(error)
    assert caught.value.error_numbers == (15,)
    assert caught.value.authenticated is authenticated


def test_a_forged_error_is_refused() -> None:
    clock = Clock()
    request = started(clock)
    init = KmsInit(environment(clock, "kms"), request.message)
    error = init.verify_psk(psk(ALICE), owner=ALICE, kms=KMS).error([ErrorNo.INVALID_ID])
    with pytest.raises(AuthenticationFailure):
        request.receive(error[:-1] + bytes((error[-1] ^ 1,)))
    other = KmsInit(environment(clock, "kms"), started(Clock(clock.ns)).message)
    with pytest.raises(UnexpectedMessage):
        TicketRequest.start(
            environment(clock, "somebody"), policy=policy(), credential=psk(ALICE), identity=ALICE, kms=KMS
        ).receive(other.plain_error([ErrorNo.INVALID_ID]))


def test_an_error_repeats_the_header_of_what_it_is_about() -> None:
    clock = Clock()
    request = started(clock)
    init = KmsInit(environment(clock, "kms"), request.message)
    error = Message.parse(init.plain_error([ErrorNo.INVALID_ID]))
    about = Message.parse(request.message).header
    assert error.header.data_type is DataType.ERROR
    assert (error.header.prf, error.header.csb_id, error.header.v) == (about.prf, about.csb_id, False)


def test_an_error_is_not_answered_with_an_error() -> None:
    clock = Clock()
    env = environment(clock, "kms")
    error = Message.parse(KmsInit(env, started(clock).message).plain_error([ErrorNo.INVALID_ID]))
    with pytest.raises(LocalError):
        build_error(env, error.header, [ErrorNo.UNSPECIFIED])


@pytest.mark.parametrize("resolved", [True, False])
def test_the_responder_reports_the_policies_it_supports(resolved: bool) -> None:
    clock = Clock()
    kms = Kms(environment(clock, "kms"))
    grant = request_ticket(environment(clock, "alice"), kms, policy())
    transfer = start_transfer(environment(clock, "alice2"), grant)
    env = environment(clock, "bob")
    responder = TransferResponder(env, transfer.message, identity=BOB)
    if resolved:
        responder.verify(resolve_ticket(env, kms, responder))
    error = responder.error([ErrorNo.INVALID_SPPAR], supported=list(responder.policies.values()))
    with pytest.raises(PeerReportedError) as caught:
        transfer.receive(error)
    assert caught.value.error_numbers == (10,)
    assert caught.value.authenticated is resolved
