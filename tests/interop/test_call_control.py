"""Calls as people make them, through the proxy: busy, declined, moved, nobody there, two at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.capture import Capture
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace


@pytest.mark.parametrize(("status", "reason"), [(486, "busy"), (603, "declined"), (480, "no-answer")])
def test_a_callee_who_does_not_want_to(
    capture: Capture, kamailio: Kamailio, kms: Kms, status: int, reason: str
) -> None:
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, incoming="ring")) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio)) as alice,
    ):
        bob.do("register")
        number = alice.do("call", uri=uri("bob"))
        ringing = bob.incoming()["incoming"]
        alice.event("call.ringing")
        bob.do("reject", call=ringing, status=status)
        with pytest.raises(Failed) as failed:
            alice.do("established", call=number)
        assert (failed.value.reason, failed.value.status, failed.value.side) == (reason, status, "remote")
        assert bob.event("call.end")["side"] == "local"
    assert capture.rtp() == []


def test_nobody_is_registered(capture: Capture, kamailio: Kamailio, kms: Kms) -> None:
    with Agent("alice", settings("alice", kms, proxy=kamailio)) as alice:
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=uri("bob")))
        assert (failed.value.reason, failed.value.status) == ("no-answer", 480)
    assert capture.rtp() == []


def test_a_redirect_is_not_followed_behind_the_users_back(
    capture: Capture, network: Namespace, kms: Kms, tmp_path: Path
) -> None:
    """302 names somebody else: the ticket is for who was called, so the call ends and says where to."""
    with (
        Kamailio(tmp_path / "kamailio", moved={"bob": uri("carol")}) as proxy,
        Agent("alice", settings("alice", kms, proxy=proxy)) as alice,
    ):
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=uri("bob")))
        assert (failed.value.reason, failed.value.status) == ("redirected", 302)
    assert capture.count(f'sip.Method == INVITE && sip.r-uri contains "{uri("carol")}"') == 0
    assert capture.rtp() == []


def test_a_second_call_waits(kamailio: Kamailio, kms: Kms, speech: Path, other_speech: Path) -> None:
    """bob talks with alice while carol calls; each call has keys of its own."""
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, play=speech, incoming="ring")) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio, play=other_speech)) as alice,
        Agent("carol", settings("carol", kms, proxy=kamailio, play=other_speech)) as carol,
    ):
        bob.do("register")
        calls = {}
        start = 0
        for caller in (alice, carol):
            calls[caller] = caller.do("call", uri=uri("bob"))
            ringing = bob.incoming(start=start)
            start = bob.now
            assert ringing["caller"] == uri(caller.name)
            bob.do("answer", call=ringing["incoming"])
            caller.do("established", call=calls[caller])
            caller.do("proven", call=calls[caller])
        assert alice.sending_key() != carol.sending_key()
        for caller in (alice, carol):
            caller.hear(calls[caller], 20)
            caller.do("hangup", call=calls[caller])


def test_digits_of_the_dialled_uri_and_a_wrong_domain(kamailio: Kamailio, kms: Kms) -> None:
    """What the KMS gives no ticket for is not even sent."""
    with Agent("alice", settings("alice", kms, proxy=kamailio)) as alice:
        for target in ("sip:nobody@elsewhere.invalid", "sip:bob@127.0.0.1"):
            with pytest.raises(Failed) as failed:
                alice.do("established", call=alice.do("call", uri=target))
            assert failed.value.reason in ("kms-refused", "sip-failure", "no-answer")
