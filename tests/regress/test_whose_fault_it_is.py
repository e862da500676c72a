"""Side, exit code and words say whose fault it is: the KMS's, the peer's, the network's or ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.cli.exit_codes import ExitCode, for_end
from tests.cli.commands import Start
from tests.interop.lab.peer import SipPeer
from tests.regress.kms.strange_kms import StrangeKms
from tests.sdp.parties import ALICE, BOB

IN_CLEAR = ["--security", "off", "--null-audio", "--listen", "127.0.0.1:0", "--identity", ALICE, "--json"]


@pytest.mark.parametrize(
    ("family", "side", "code"),
    [
        ("keying", "kms", ExitCode.KMS), ("keying", "remote", ExitCode.PEER_REFUSED),
        ("internal", "local", ExitCode.INTERNAL), ("internal", "remote", ExitCode.CALL_FAILED),
        ("internal", "network", ExitCode.CALL_FAILED), ("kms", "kms", ExitCode.KMS),
        ("transport", "network", ExitCode.TRANSPORT), ("ended", "remote", ExitCode.OK),
    ],
)  # fmt: skip
def test_the_exit_code_follows_the_side(family: str, side: str, code: ExitCode) -> None:
    assert for_end(family, side) is code


@pytest.mark.parametrize("spoil", ["mac", "cut", "garbage"])
def test_a_spoilt_answer_of_the_kms_is_its_own_fault(spoil: str, command: Start, tmp_path: Path) -> None:
    kms = StrangeKms()
    made = kms.answer
    change = {
        "mac": lambda octets: octets[:-1] + bytes((octets[-1] ^ 1,)),
        "cut": lambda octets: octets[:-9],
        "garbage": lambda octets: b"\x01" + bytes(80),
    }[spoil]
    kms.answer = lambda message: change(made(message))
    with kms:
        alice = command("call", BOB, "--via", "sip:127.0.0.1:9", *kms.options(ALICE, tmp_path))
        assert alice.finish() == 4
    assert (alice.last("kms.error")["side"], alice.last("call.end")["side"]) == ("kms", "kms")
    assert alice.last("result")["side"] == "kms"
    assert not any(event["type"] == "call.out" for event in alice.seen)


def test_an_internal_error_of_the_other_side_is_not_ours(command: Start) -> None:
    with SipPeer("bob") as peer:
        alice = command("call", BOB, "--via", f"sip:{peer.hostport}", *IN_CLEAR)
        invite = peer.request("INVITE")
        warning = {"Warning": '399 example.com "internal-error: LocalError"'}
        peer.respond(invite, 500, "Server Internal Error", tag="x", headers=warning)
        assert alice.finish() == 1
    assert "bug" not in alice.stderr
    assert "the other side had an error of its own" in alice.stderr


def test_the_kms_of_the_other_side_is_named_as_such(command: Start) -> None:
    with SipPeer("bob") as peer:
        alice = command("call", BOB, "--via", f"sip:{peer.hostport}", *IN_CLEAR)
        invite = peer.request("INVITE")
        warning = {"Warning": '399 example.com "kms-unreachable"'}
        peer.respond(invite, 503, "Service Unavailable", tag="x", headers=warning)
        assert alice.finish() == 4
    assert "the KMS of the other side" in alice.stderr
    assert alice.last("result")["side"] == "remote"


def test_a_refused_password_is_a_matter_of_registration(command: Start) -> None:
    with SipPeer("registrar") as registrar:
        words = ["--registrar", f"sip:{registrar.hostport}", *IN_CLEAR]
        phone = command("register", "--once", *words)
        asked = registrar.request("REGISTER")
        challenge = {"WWW-Authenticate": 'Digest realm="x", nonce="y", algorithm=MD5'}
        registrar.respond(asked, 401, "Unauthorized", tag="x", headers=challenge)
        assert phone.finish() == 3
    assert "password is wrong, or none is set" in phone.stderr


@pytest.mark.parametrize(
    ("uri", "said"), [("tel:+4670123", "sip:+4670123@DOMAIN;user=phone"), ("bob", "not a SIP URI")]
)
def test_what_cannot_be_called_is_refused_before_anything_starts(uri: str, said: str, command: Start) -> None:
    alice = command("call", uri, *IN_CLEAR)
    assert alice.finish() == 2
    assert said in alice.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cal",), "did you mean call?"),
        (("call", "sip:b@c", "--nul-audio"), "did you mean --null-audio?"),
        (("kms", "usr"), "did you mean user?"),
    ],
)
def test_mistyped_commands_and_options_are_guessed(words: tuple[str, ...], said: str, command: Start) -> None:
    one = command(*words)
    assert one.finish() == 2
    assert said in one.stderr
