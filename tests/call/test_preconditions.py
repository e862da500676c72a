"""Preconditions in the callee's machine: what it waits for, and what ends the waiting."""

from __future__ import annotations

import pytest

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.callee import CalleeMachine, Invitation
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.clear_keying import ClearKeying
from sipmikey.call.keying.keying import Keying
from sipmikey.call.reasons import Reason
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState
from tests.call.fakes import BOB, ENV, FakeTicket
from tests.call.worlds import ALICE, PATIENCE

SDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 8\r\n"
WANTED = "a=des:qos mandatory local sendrecv\r\n"
UNMET = f"{SDP}a=curr:qos local none\r\n{WANTED}"
MET = f"{SDP}a=curr:qos local sendrecv\r\n{WANTED}"


class Plain(FakeTicket):
    """Leaves descriptions as they are."""

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        return sdp, super().make_answer(sdp)[1]

    def check_sent(self, sdp: str, transport: str) -> None:
        pass


def judged(
    sdp: str, *, on: bool = True, keying: Keying | None = None
) -> tuple[CalleeMachine, list[o.Output]]:
    """A call that was judged; the KMS has answered."""
    settings = CallSettings(identity=BOB, patience=PATIENCE, preconditions=on)
    invitation = Invitation(caller=ALICE, called=BOB, sdp=sdp)
    machine = CalleeMachine("1", settings, ENV, invitation, keying or FakeTicket(calls=False))
    given: list[o.Output] = []
    for item in (i.Attached(), i.LocalDescription(sdp=SDP), i.Start(), i.KmsAnswered(response=b"good")):
        given += machine.take(item)
    return machine, given


def rings(outputs: list[o.Output]) -> bool:
    return any(isinstance(output, o.Rings) for output in outputs)


def statuses(outputs: list[o.Output]) -> list[int]:
    return [output.status for output in outputs if isinstance(output, o.Answer | o.EndInvite)]


@pytest.mark.parametrize(("sdp", "on"), [(SDP, True), (MET, True), (UNMET, False)])
def test_it_rings_where_nothing_is_waited_for(sdp: str, on: bool) -> None:
    machine, outputs = judged(sdp, on=on)
    assert rings(outputs)
    assert statuses(outputs) == []
    assert machine.state is CallState.RINGING


def test_it_answers_early_and_does_not_ring() -> None:
    _, outputs = judged(UNMET)
    assert not rings(outputs)
    assert statuses(outputs) == [183]
    assert o.StartTimer(timer=o.Timer.SETUP, after_s=PATIENCE.setup) in outputs


def test_nothing_is_sent_or_played_before_the_user_takes_the_call() -> None:
    """The keys are agreed on in the 183: a caller that never gets ready must not listen meanwhile."""
    machine, outputs = judged(UNMET)
    outputs += machine.take(i.StreamCreated(index=0))
    outputs += machine.take(i.Sent(message=i.Message(method="INVITE", status=183, to_tag="x", sdp="answer")))
    outputs += machine.take(i.RemoteOffer(sdp=f"{MET}a=curr:qos remote sendrecv\r\n"))
    outputs += machine.take(i.LocalDescription(sdp=SDP, remote=MET))
    outputs += machine.take(i.Sent(message=i.Message(method="UPDATE", status=200, to_tag="x", sdp="answer")))
    assert rings(outputs)
    assert not any(isinstance(output, o.Key | o.OpenAudio) for output in outputs)
    taken = machine.take(i.Accept())
    assert statuses(list(taken)) == [200]
    assert [type(output) for output in taken if isinstance(output, o.Key | o.OpenAudio)] == [
        o.Key,
        o.OpenAudio,
    ]


def test_an_offer_within_the_call_waits_for_nothing() -> None:
    """RFC 3312 section 6: the old parameters stay in use; section 8: 580."""
    machine, _ = judged(SDP, keying=Plain(calls=False))
    for item in (i.StreamCreated(index=0), i.Accept(), i.Confirmed()):
        machine.take(item)
    assert machine.state is CallState.TALKING
    refused = machine.take(i.RemoteOffer(sdp=UNMET))
    assert [output.status for output in refused if isinstance(output, o.Refuse)] == [580]
    machine.take(i.RemoteOffer(sdp=MET))
    outputs = machine.take(i.LocalDescription(sdp=SDP, remote=MET))
    (described,) = (output.sdp for output in outputs if isinstance(output, o.Describe))
    assert "a=curr:qos remote sendrecv" in described


def test_a_caller_that_never_gets_ready_is_refused() -> None:
    machine, _ = judged(UNMET)
    outputs = list(machine.take(i.Rang(timer=o.Timer.SETUP)))
    assert statuses(outputs) == [580]
    assert machine.ending is not None
    assert machine.ending.reason is Reason.PRECONDITION_FAILURE
    assert "remote recv, remote send" in machine.ending.detail
    (ends,) = (output for output in outputs if isinstance(output, o.EndInvite))
    assert ends.sdp is not None
    assert "m=audio 0 RTP/SAVP 8\r\na=des:qos failure remote sendrecv" in ends.sdp


def test_an_offer_before_the_183_is_refused() -> None:
    machine, _ = judged(MET)
    assert machine.take(i.RemoteOffer(sdp=MET)) == (o.Refuse(status=481),)
    assert machine.state is CallState.RINGING


def test_an_update_that_is_malformed_leaves_the_call_waiting() -> None:
    machine, _ = judged(UNMET)
    outputs = machine.take(i.RemoteOffer(sdp=f"{SDP}a=curr:qos local\r\n"))
    assert [output.status for output in outputs if isinstance(output, o.Refuse)] == [400]
    assert machine.state is CallState.RINGING


def test_a_call_in_clear_that_would_have_to_wait_is_refused() -> None:
    machine, outputs = judged(UNMET, keying=ClearKeying())
    assert statuses(outputs) == [580]
    assert machine.state is CallState.ENDING
