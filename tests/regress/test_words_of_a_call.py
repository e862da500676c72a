"""Event lines that new users stumbled over: who calls, who gave up, who is silent, a password asked for."""

from __future__ import annotations

import io

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.callee import CalleeMachine, Invitation
from sipmikey.call.caller import CallerMachine
from sipmikey.call.events import CallEnded, document
from sipmikey.call.keying.clear_keying import ClearKeying
from sipmikey.call.settings import CallSettings
from sipmikey.cli.calls.narrate import narrate
from sipmikey.cli.output import Paint
from tests.call.fakes import BOB, ENV, GRANT, FakeKeyings

ALICE = "sip:alice@example.com"
SETTINGS = CallSettings(identity=BOB)


def lines(outputs: list[o.Output]) -> str:
    events = [output.event for output in outputs if isinstance(output, o.Tell)]
    return "\n".join(filter(None, (narrate(document(event), Paint(io.StringIO())) for event in events)))


def test_the_name_of_the_caller_is_shown_beside_its_address_and_told_again_when_it_gives_up() -> None:
    invitation = Invitation(caller=ALICE, called=BOB, sdp="offer", display_name="Alice, the first")
    keying = ClearKeying()
    machine = CalleeMachine("1", SETTINGS, ENV, invitation, keying)
    told = list(machine.take(i.Start()))
    told += machine.take(i.Disconnected(status=487, reason="Request Terminated"))
    assert 'call from sip:alice@example.com, who calls itself "Alice, the first", to' in lines(told)
    assert "sip:alice@example.com gave up" in lines(told)


def calling() -> tuple[CallerMachine, list[o.Output]]:
    machine = CallerMachine("1", SETTINGS, ENV, FakeKeyings(), uri=BOB, called=BOB, grant=GRANT)
    told = [*machine.take(i.Start()), *machine.take(i.Attached())]
    told += machine.take(i.LocalDescription(sdp="sdp", remote=""))
    told += machine.take(i.Sent(message=i.Message(method="INVITE", sdp="offer")))
    return machine, told


def test_a_password_that_is_asked_for_is_told() -> None:
    machine, told = calling()
    told += machine.take(i.Received(message=i.Message(method="INVITE", status=407, phrase="407 No")))
    assert "a proxy wants the password (407): the INVITE goes out again" in lines(told)


def test_nobody_at_the_address_is_told_from_nobody_who_answers() -> None:
    for rings, said in ((False, "no sign of life came in 32 s"), (True, "Request Timeout")):
        machine, told = calling()
        if rings:
            told += machine.take(i.Received(message=i.Message(method="INVITE", status=180, to_tag="a")))
        told += machine.take(i.Disconnected(status=408, reason="Request Timeout"))
        (end,) = [
            output.event for output in told
            if isinstance(output, o.Tell) and isinstance(output.event, CallEnded)
        ]  # fmt: skip
        assert (end.reason, end.side) == ("no-answer", "network")
        assert said in end.detail


def test_a_caller_that_leaves_before_an_answer_gave_up_itself() -> None:
    machine, told = calling()
    told += machine.take(i.Disconnected(status=487, reason="Request Terminated"))
    assert "cancelled by local" in lines(told)
    assert "remote" not in lines(told)


def test_who_is_busy_did_not_ask_its_user() -> None:
    keying = ClearKeying()
    machine = CalleeMachine("1", SETTINGS, ENV, Invitation(caller=ALICE, called=BOB, sdp="offer"), keying)
    told = [*machine.take(i.Start()), *machine.take(i.Reject(status=486))]
    told += machine.take(i.Disconnected(status=486, reason="Busy Here"))
    assert "refused as busy" in lines(told)
    assert "by the user" not in lines(told)


def test_an_event_that_says_nothing_is_not_an_empty_line() -> None:
    event = {"type": "stats", "call": "1", "streams": []}
    assert narrate(event, Paint(io.StringIO())) is None
