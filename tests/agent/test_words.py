"""The closed set of reasons, the events as JSON, the headers, and SIP messages as they are read."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Iterator

import pytest

import sipmikey
from sipmikey.agent.pjsua.socket_budget import HandleBudget
from sipmikey.agent.tickets.rehearsal import rehearse
from sipmikey.call import events
from sipmikey.call.keying.clear import CLEAR
from sipmikey.call.keying.permission import permits, permits_again
from sipmikey.call.policy import CallPolicy, Fallback, SecurityMode
from sipmikey.call.reasons import (
    AgentError,
    Family,
    Reason,
    reason_of,
    reason_of_status,
    side_of,
    status_of,
    warning_header,
)
from sipmikey.mikey.errors import PeerError
from sipmikey.sip import SipMessage
from sipmikey.system import environment


def peer_errors() -> Iterator[type[PeerError]]:
    for package in ("mikey", "keys", "ticket", "sdp", "kms"):
        for found in pkgutil.walk_packages([f"{sipmikey.__path__[0]}/{package}"], f"sipmikey.{package}."):
            importlib.import_module(found.name)
    seen, waiting = set(), [PeerError]
    while waiting:
        kind = waiting.pop()
        if kind not in seen:
            seen.add(kind)
            waiting += kind.__subclasses__()
            yield kind


def test_the_reason_of_every_error_a_call_can_end_with_is_in_the_closed_set() -> None:
    service_only = {"sipmikey.kms.service", "sipmikey.kms.policy.rules", "sipmikey.kms.server.body"}
    missing = {
        (kind.__module__, kind.reason)
        for kind in peer_errors()
        if kind.reason not in set(Reason)
        and not any(kind.__module__.startswith(module) for module in service_only)
        and kind.__module__.split(".")[1] in ("mikey", "keys", "ticket", "sdp")
    }
    assert missing == set()


def test_every_reason_has_a_family_and_a_word() -> None:
    for reason in Reason:
        assert isinstance(reason.family, Family)
        assert reason == reason.lower()
        assert " " not in reason


def test_an_unexpected_error_is_an_internal_one_and_local() -> None:
    error = ValueError("a detail that is nobody's business")
    assert (reason_of(error), side_of(error), status_of(error)) == (Reason.INTERNAL_ERROR, "local", 500)


@pytest.mark.parametrize(
    ("reason", "status"),
    [(Reason.KMS_TIMEOUT, 500), (Reason.NO_KMS, 500), (Reason.KMS_REFUSED, 403), (Reason.AUTH_FAILURE, 488)],
)
def test_reasons_have_their_status(reason: Reason, status: int) -> None:
    assert status_of(AgentError(reason, "x")) == status


def test_a_warning_survives_what_a_detail_may_hold_and_is_read_back() -> None:
    value = warning_header(Reason.AUTH_FAILURE, 'a "quoted"\r\nInjected: header \\ é' + "x" * 400, agent="h")
    assert "\r" not in value
    assert "\n" not in value
    assert len(value) < 230
    message = SipMessage.parse(f"SIP/2.0 488 No\r\nCSeq: 1 INVITE\r\nWarning: {value}\r\n\r\n")
    assert reason_of_status(488, warning=message.warning) is Reason.AUTH_FAILURE


@pytest.mark.parametrize(
    ("status", "warning", "reason"),
    [
        (488, None, Reason.PEER_REFUSED_KEYING),
        (488, "no such thing: x", Reason.PEER_REFUSED_KEYING),
        (302, None, Reason.REDIRECTED),
        (500, None, Reason.SIP_FAILURE),
        (488, "kms-timeout: slow", Reason.KMS_TIMEOUT),
    ],
)
def test_the_reason_of_a_refusal(status: int, warning: str | None, reason: Reason) -> None:
    assert reason_of_status(status, warning=warning) is reason


ENDINGS = ("end", "fail", "failed", "error", "refused", "expired", "abandoned")


def every_event() -> Iterator[type[events.Event]]:
    for value in vars(events).values():
        if isinstance(value, type) and issubclass(value, events.Event) and value is not events.Event:
            yield value


def test_every_event_has_a_type_of_its_own_and_ending_ones_say_why() -> None:
    kinds = list(every_event())
    types = [kind.type for kind in kinds]
    assert len(set(types)) == len(types)
    for kind in kinds:
        names = {field.name for field in dataclasses.fields(kind)}
        if kind.type.rpartition(".")[2] in (
            "end",
            "fail",
            "failed",
            "error",
            "refused",
            "expired",
            "abandoned",
        ):
            assert {"reason", "side", "detail"} <= names


def test_an_event_becomes_plain_json() -> None:
    security = events.Security(
        signalling="tls", media=events.MediaProtection.PROVEN, peer="sip:b@example.com"
    )
    event = events.CallEnded(
        at=1.5, call="1", reason=Reason.HANGUP, side="local", status=200, detail="", duration_s=2.0,
        security=security,
    )  # fmt: skip
    document = json.loads(json.dumps(events.document(event)))
    assert list(document)[:3] == ["v", "type", "at"]
    assert (document["type"], document["reason"]) == ("call.end", "hangup")
    assert document["security"]["media"] == "proven"


def test_handles_come_back_after_their_delay() -> None:
    budget = HandleBudget(total=4, delay_s=0.5)
    assert budget.take(4, 10.0)
    assert not budget.take(1, 10.0)
    assert budget.wait_s(1, 10.0) is None
    budget.give_back(2, 11.0)
    assert budget.wait_s(2, 11.0) == pytest.approx(0.5)
    assert not budget.take(2, 11.4)
    assert budget.take(2, 11.5)


@pytest.mark.parametrize("suite", ["128", "256"])
def test_the_rehearsal_goes_through(suite: str) -> None:
    rehearse(environment(), suite)


@pytest.mark.parametrize("fallback", list(Fallback))
@pytest.mark.parametrize("mode", list(SecurityMode))
def test_the_matrix_of_policy(mode: SecurityMode, fallback: Fallback) -> None:
    policy = CallPolicy(security=mode, fallback=fallback)
    uri = "sip:b@example.com"
    accepted = mode is SecurityMode.OFF or (mode is SecurityMode.PREFERRED and fallback is not Fallback.NEVER)
    assert permits(policy, CLEAR, uri, calls=False) is accepted
    assert permits_again(policy, CLEAR, uri) is (mode is SecurityMode.PREFERRED and fallback is Fallback.BOTH)
    stricter = CallPolicy(security=mode, fallback=fallback, contacts={uri: SecurityMode.REQUIRED})
    assert not permits(stricter, CLEAR, uri, calls=False)
    assert not permits_again(stricter, CLEAR, uri)
