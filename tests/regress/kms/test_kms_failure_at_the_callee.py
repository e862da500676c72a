"""A failure between the callee and its KMS is not the caller's fault, and tells it nothing of our network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipmikey.keys.suite import SUITE_256
from sipmikey.sdp import Offerer
from sipmikey.system import environment
from sipmikey.ticket import FULL_MODE, RequestedKey, TicketPolicy, TicketRequest
from tests.cli.commands import Command, Start
from tests.interop.lab.peer import SipPeer, plain_sdp
from tests.interop.lab.sip import SipMessage
from tests.regress.kms.strange_kms import Answer, StrangeKms
from tests.sdp.parties import ALICE, BOB, KMS, credential


def offer(kms: StrangeKms) -> str:
    """An offer of alice to bob under a ticket of *kms*."""
    env = environment()
    keys = (RequestedKey(length=SUITE_256.key_length),)
    policy = TicketPolicy(
        suite=SUITE_256, flags=FULL_MODE, responders=(BOB,), kms=KMS, initiator=ALICE, requested_keys=keys
    )
    request = TicketRequest.start(env, policy=policy, credential=credential(ALICE), identity=ALICE, kms=KMS)
    grant = request.receive(kms.kms.request(request.message))
    return Offerer(env, grant=grant, called=BOB).make_offer(plain_sdp(4000))


def call(command: Start, kms: StrangeKms, folder: Path) -> tuple[SipMessage, Command]:
    """Call bob, whose KMS is *kms*; his final response, and his command when it has ended."""
    sdp = offer(kms)
    bob = command("answer", "--auto", "--once", *kms.options(BOB, folder))
    found = re.search(r"127\.0\.0\.1:(\d+)", bob.until("agent.ready")["contact"])
    assert found is not None
    to = ("127.0.0.1", int(found[1]))
    with SipPeer("alice") as peer:
        invite = peer.invite(BOB, to, body=sdp, sender=ALICE)
        final = peer.final(invite, to)
        if final.status == 200:
            peer.in_dialog("BYE", invite, final, to, cseq=2)
        bob.finish()
    return final, bob


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda octets: octets[:-1] + bytes((octets[-1] ^ 1,)), "auth-failure"),
        (lambda octets: octets[:40], "malformed-message"),
        (lambda octets: (403, {"KMS-Reason": "auth-failure"}), "kms-refused"),
        (lambda octets: (503, {}), "kms-busy"),
    ],
    ids=["wrong MAC", "cut", "refused", "busy"],
)
def test_the_caller_gets_a_bare_word(spoil: object, word: str, command: Start, tmp_path: Path) -> None:
    kms = StrangeKms()
    kms.answer = lambda message: spoil(kms.kms.request(message))  # type: ignore[operator]
    with kms:
        final, bob = call(command, kms, tmp_path)
    assert final.status == 500
    assert final.warning == word
    assert "127.0.0.1" not in (final.first("warning") or "") + (final.first("reason") or "")
    assert (bob.last("kms.error")["side"], bob.last("call.end")["side"]) == ("kms", "kms")
    assert bob.last("result")["exit_code"] == 4
    assert not any(event["type"] == "mikey.refused" for event in bob.seen)


def test_where_the_kms_is_stays_here(command: Start, tmp_path: Path) -> None:
    kms = StrangeKms()
    with kms:
        kms.answer = lambda message: None
        final, bob = call(command, kms, tmp_path)
    assert (final.status, final.warning) == (500, "kms-unreachable")
    assert kms.url in bob.last("kms.error")["detail"]


def test_the_callee_asks_again_with_a_fresh_message(command: Start, tmp_path: Path) -> None:
    kms = StrangeKms()
    seen: list[bytes] = []

    def break_once(message: bytes) -> Answer:
        seen.append(message)
        return None if len(seen) == 1 else kms.kms.request(message)

    kms.answer = break_once
    with kms:
        final, bob = call(command, kms, tmp_path)
    assert final.status == 200, bob.seen
    assert len(set(seen)) == 2
