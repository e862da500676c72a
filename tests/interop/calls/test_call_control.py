"""Calls as people make them, through the proxy: busy, declined, moved, nobody there, two at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kamailio import Kamailio, password
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee
from tests.interop.lab.packets.capture import Capture


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
        ringing = bob.incoming()["call"]
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


BOB, CAROL = uri("bob"), uri("carol")


def _offers(capture: Capture) -> set[bytes]:
    """alice's TRANSFER_INITs: one that was sent again, because of a challenge or by the proxy, is one."""
    return set(referee.mikey_messages(capture, 'sip.Method == INVITE && sip.from.user == "alice"'))


def test_who_moved_to_somebody_else_is_called_there(
    capture: Capture, network: Namespace, kms: Kms, tmp_path: Path, speech: Path, other_speech: Path
) -> None:
    """302 names carol: she is called with a ticket of her own, and alice sees that it is she who answers."""
    with (
        Kamailio(tmp_path / "kamailio", moved={"bob": CAROL}) as proxy,
        Agent("carol", settings("carol", kms, proxy=proxy, play=other_speech)) as carol,
        Agent("alice", settings("alice", kms, proxy=proxy, play=speech)) as alice,
    ):
        carol.do("register")
        number = alice.call(BOB)
        alice.do("proven", call=number)
        carol.event("media.proven")
        security = alice.do("security", call=number)
        assert (security["called"], security["peer"]) == (BOB, CAROL)
        moved = alice.event("call.redirected")
        assert (moved["status"], moved["target"], moved["called"]) == (302, CAROL, CAROL)
        tickets = [event["ticket"] for event in alice.events("kms.response")]
        assert [ticket["responders"] for ticket in tickets] == [[BOB], [CAROL]]
        assert security["ticket"] == tickets[1]["ticket"]
        assert security["ticket"] == carol.event("call.answered")["security"]["ticket"]
        alice.hear(number, 20)
        alice.do("hangup", call=number)
        assert carol.event("call.end")["reason"] == "hangup"
    assert len(_offers(capture)) == 2
    assert referee.sip_faults(capture) == []


def test_who_moved_to_a_device_is_called_there(
    capture: Capture, network: Namespace, kms: Kms, tmp_path: Path, speech: Path, other_speech: Path
) -> None:
    """302 names the address of bob's phone, which alice calls without the proxy, with the ticket for bob."""
    digest = {"username": "alice", "password": password("alice")}
    with (
        Agent("bob", settings("bob", kms, play=other_speech)) as bob,
        Kamailio(tmp_path / "kamailio", moved={"bob": bob.contact}) as proxy,
        Agent("alice", settings("alice", kms, play=speech, digest=digest)) as alice,
    ):
        number = alice.do("call", uri=BOB, via=f"sip:bob@{proxy.address}:{proxy.port}")
        alice.do("established", call=number)
        alice.do("proven", call=number)
        bob.event("media.proven")
        security = alice.do("security", call=number)
        assert (security["called"], security["peer"]) == (BOB, BOB)
        assert alice.event("call.redirected")["target"] == bob.contact
        assert len(alice.events("kms.request")) == 1, "the ticket may be used again (J)"
        alice.do("hangup", call=number)
        bob.event("call.end")
    assert len(_offers(capture)) == 2
    assert referee.sip_faults(capture) == []


@pytest.mark.parametrize(
    ("moved", "more", "side", "words", "called"),
    [
        ({"bob": CAROL}, {"sip": {"redirects": 0}}, "remote", "302", [BOB]),
        ({"bob": CAROL}, {"policy": {"retarget": "refuse"}}, "local", "security.retarget", [BOB]),
        ({"bob": CAROL, "carol": BOB}, {}, "remote", "a loop", [BOB, CAROL]),
    ],
)
def test_a_redirection_that_is_not_followed(
    capture: Capture,
    network: Namespace,
    kms: Kms,
    tmp_path: Path,
    moved: dict[str, str],
    more: dict[str, Any],
    side: str,
    words: str,
    called: list[str],
) -> None:
    with (
        Kamailio(tmp_path / "kamailio", moved=moved) as proxy,
        Agent("alice", settings("alice", kms, proxy=proxy, **more)) as alice,
    ):
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=BOB))
        assert (failed.value.reason, failed.value.status, failed.value.side) == ("redirected", 302, side)
        assert words in failed.value.detail
        assert [event["uri"] for event in alice.events("call.out")] == called
    assert len(_offers(capture)) == len(called)
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
            bob.do("answer", call=ringing["call"])
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
