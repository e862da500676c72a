"""A KMS that is down, slow, or says no: the set-up ends with that reason, and nothing has been sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets.capture import Capture

WRONG_PSK = {"keys": {"psk": "00" * 32}}
QUICK = {"timeouts": {"kms": 0.5}}
AHEAD = {"clock_offset_s": 1000.0}
REFUSING_POLICY = """
[[rule]]
name = "not bob"
from = ["*"]
to = ["sip:bob@example.test"]
decision = "refuse"

[[rule]]
name = "others"
from = ["*"]
to = ["*"]
decision = "allow"
"""


@pytest.fixture
def closed_port(network: Namespace) -> int:
    """A TCP port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def silent_port(network: Namespace) -> Iterator[int]:
    """A TCP port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def _at(port: int) -> dict[str, Any]:
    return {"kms_url": f"http://127.0.0.1:{port}", **QUICK}


def _caller_fails(capture: Capture, alice: Agent, reasons: set[str]) -> None:
    """The call fails at once: no INVITE leaves, and no other packet."""
    with alice:
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=uri("bob")))
        assert failed.value.reason in reasons
        assert failed.value.side == "kms"
        error = alice.event("kms.error")
        assert (error["exchange"], error["reason"]) == ("ticket-request", failed.value.reason)
        assert alice.running
    assert capture.count("sip.Method == INVITE") == 0
    _check_silence(capture)


def _callee_fails(capture: Capture, kms: Kms, bob: Agent, reasons: set[str], status: int) -> None:
    """bob refuses with *status* and a Warning; alice is told his reason."""
    with bob, Agent("alice", settings("alice", kms, peer=bob)) as alice:
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=uri("bob")))
        ended = bob.event("call.end")
        assert ended["reason"] in reasons
        assert (failed.value.reason, failed.value.status) == (ended["reason"], status)
        assert ended["status"] == status
        assert not alice.keys()
        assert not bob.keys()
    warnings = capture.fields(f"sip.Status-Code == {status}", "sip.Warning")
    assert warnings
    assert ended["reason"] in warnings[0][0]
    _check_silence(capture)


def _check_silence(capture: Capture) -> None:
    assert capture.rtp() == []
    assert capture.rtcp() == []


def test_caller_with_the_wrong_key(capture: Capture, kms: Kms) -> None:
    _caller_fails(capture, Agent("alice", settings("alice", kms, peer=9, **WRONG_PSK)), {"kms-refused"})  # type: ignore[arg-type]


def test_caller_with_the_wrong_clock(capture: Capture, kms: Kms) -> None:
    _caller_fails(capture, Agent("alice", settings("alice", kms, peer=9, **AHEAD)), {"kms-refused"})  # type: ignore[arg-type]


def test_kms_down_at_the_caller(capture: Capture, kms: Kms, closed_port: int) -> None:
    alice = Agent("alice", settings("alice", kms, peer=9, **_at(closed_port)))
    _caller_fails(capture, alice, {"kms-unreachable"})


def test_kms_silent_at_the_caller(capture: Capture, kms: Kms, silent_port: int) -> None:
    alice = Agent("alice", settings("alice", kms, peer=9, **_at(silent_port)))
    _caller_fails(capture, alice, {"kms-timeout"})


def test_callee_with_the_wrong_key(capture: Capture, kms: Kms) -> None:
    _callee_fails(capture, kms, Agent("bob", settings("bob", kms, **WRONG_PSK)), {"kms-refused"}, 500)  # type: ignore[arg-type]


def test_kms_down_at_the_callee(capture: Capture, kms: Kms, closed_port: int) -> None:
    bob = Agent("bob", settings("bob", kms, **_at(closed_port)))
    _callee_fails(capture, kms, bob, {"kms-unreachable"}, 500)


def test_kms_silent_at_the_callee(capture: Capture, kms: Kms, silent_port: int) -> None:
    bob = Agent("bob", settings("bob", kms, **_at(silent_port)))
    _callee_fails(capture, kms, bob, {"kms-timeout"}, 500)


def test_kms_that_refuses_by_policy(capture: Capture, network: Namespace, tmp_path: Path) -> None:
    strict = Kms(tmp_path / "kms")
    strict.add_user("alice")
    strict.set_policy(REFUSING_POLICY)
    with strict, Agent("alice", settings("alice", strict, peer=9)) as alice:
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=uri("bob")))
        assert (failed.value.reason, failed.value.side) == ("kms-refused", "kms")
        assert "not-authorized" in failed.value.detail
        alice.do("prefetch", uri=uri("carol"))
    assert capture.count("sip.Method == INVITE") == 0
    _check_silence(capture)


def test_kms_killed_between_ticket_and_resolve(capture: Capture, network: Namespace, tmp_path: Path) -> None:
    """alice has her ticket; when bob asks, the KMS is gone. Once it is back, the same call succeeds."""
    own = Kms(tmp_path / "kms")
    own.add_user("alice")
    own.add_user("bob")
    with (
        own,
        Agent("bob", settings("bob", own, **QUICK)) as bob,  # type: ignore[arg-type]
        Agent("alice", settings("alice", own, peer=bob)) as alice,
    ):
        alice.do("prefetch", uri=uri("bob"))
        own.stop()
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=uri("bob")))
        assert (failed.value.reason, failed.value.status) == ("kms-unreachable", 500)
        assert not alice.events("kms.error"), "a call with a cached ticket needs no KMS at the caller"
        own.start(port=int(own.url.rpartition(":")[2]))
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        alice.do("hangup", call=number)
