"""What a branch offers (UPDATE) before its 200, at the caller's machine: RFC 3311 section 5.2."""

from __future__ import annotations

import pytest

from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.caller import CallerMachine
from sipmikey.call.inviting.consent import Consent
from sipmikey.call.keying.agreement import Agreement
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.policy import CallPolicy, Retarget
from sipmikey.call.settings import CallSettings
from sipmikey.call.state import CallState
from sipmikey.ticket.request import TicketGrant
from tests.call.fakes import BOB, ENV, GRANT, FakeKeyings, FakeSdes, FakeTicket
from tests.call.test_preconditions import MET, SDP, UNMET
from tests.call.worlds import ALICE, PATIENCE

ASKS = CallPolicy(retarget=Retarget.ASK)


class Recorder(FakeTicket):
    """Keeps the description that its last answer was made of."""

    described = ""

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        self.described = sdp
        return super().make_answer(sdp)


class Keyings(FakeKeyings):
    """Calls without a ticket are keyed by SDES."""

    def calling(
        self, kind: KeyingKind, *, called: str, consent: Consent, grant: TicketGrant | None = None
    ) -> Keying:
        return Recorder(calls=True) if kind.needs_ticket else FakeSdes(calls=True)


class Caller:
    """Alice's call to bob; branches in *reliable* have answered in a reliable 183."""

    def __init__(
        self,
        *reliable: str,
        policy: CallPolicy | None = None,
        preconditions: bool = False,
        many_dialogs: bool = False,
        sdes: bool = False,
    ) -> None:
        settings = CallSettings(
            identity=ALICE, policy=policy or CallPolicy(), patience=PATIENCE, preconditions=preconditions,
            many_dialogs=many_dialogs,
        )  # fmt: skip
        grant = None if sdes else GRANT
        self.machine = CallerMachine("1", settings, ENV, Keyings(), uri=BOB, called=BOB, grant=grant)
        for item in (i.Start(), i.Attached(), i.LocalDescription(sdp=SDP)):
            self.machine.take(item)
        self.machine.take(i.Sent(message=i.Message(method="INVITE", sdp="offer", call_id="x")))
        for tag in reliable:
            self.machine.take(i.StreamCreated(index=0))
            self.answers(tag, 183, reliable=True)

    def answers(
        self, tag: str, status: int, *, reliable: bool = False, sdp: str | None = ""
    ) -> list[o.Output]:
        sdp = f"good {tag}" if sdp == "" else sdp
        message = i.Message(method="INVITE", status=status, to_tag=tag, sdp=sdp, reliable=reliable)
        return list(self.machine.take(i.Received(message=message)))

    def offered(self, tag: str, sdp: str = "offer") -> o.Permit | o.Refuse:
        """Return the verdict on an offer of branch *tag*."""
        self.outputs = self.machine.take(i.RemoteOffer(sdp=sdp, to_tag=tag))
        (verdict,) = [output for output in self.outputs if isinstance(output, o.Permit | o.Refuse)]
        return verdict

    def describes(self, sdp: str = SDP) -> str:
        outputs = self.machine.take(i.LocalDescription(sdp=sdp, remote="offer"))
        (described,) = [output.sdp for output in outputs if isinstance(output, o.Describe)]
        return described

    def answered(self, status: int = 200) -> list[str]:
        """Our response to the UPDATE goes out: return the keys that the stack is given with it."""
        sdp = "answer" if status == 200 else None
        outputs = self.machine.take(i.Sent(message=i.Message(method="UPDATE", status=status, sdp=sdp)))
        return [str(output.keys) for output in outputs if isinstance(output, o.Key)]

    def held(self, tag: str) -> str:
        agreement = self.machine._attempt.branches.agreement(tag)
        assert agreement is not None
        return agreement.streams[0].send_key


def refused(verdict: o.Permit | o.Refuse) -> int:
    assert isinstance(verdict, o.Refuse)
    return verdict.status


def test_new_keys_are_those_of_the_branch_that_offers_and_of_the_call_with_its_200() -> None:
    caller = Caller("a", "b")
    assert caller.offered("b", "rekey") == o.Permit()
    assert caller.describes() == "answer"
    assert caller.answered() == ["again b"]
    assert (caller.held("a"), caller.held("b")) == ("good a", "again b")
    # The 200 repeats the first answer, which is ignored.
    caller.answers("b", 200)
    assert caller.machine.state is CallState.TALKING
    agreement = caller.machine._attempt.agreement
    assert agreement is not None
    assert agreement.streams[0].send_key == "again b"


def test_an_offer_without_new_keys_leaves_the_stream_the_keys_it_has() -> None:
    caller = Caller("a")
    assert caller.offered("a") == o.Permit()
    assert o.Unkey() not in caller.outputs
    caller.describes()
    caller.machine.take(i.StreamCreated(index=0))
    assert caller.answered() == []
    assert caller.machine._streams.running
    assert not caller.machine._streams.spent


def test_a_branch_that_is_not_heard_takes_the_stream_without_the_keys_of_the_other() -> None:
    caller = Caller("a", "b")
    assert caller.offered("a", "rekey") == o.Permit()
    assert o.Unkey() in caller.outputs
    caller.describes()
    caller.machine.take(i.StreamCreated(index=0))
    assert caller.answered() == ["again a"]
    assert caller.held("b") == "good b"


@pytest.mark.parametrize(("tag", "status"), [("x", 481), ("", 481), ("rings", 491), ("unreliable", 491)])
def test_who_may_not_offer_yet_is_told_so(tag: str, status: int) -> None:
    caller = Caller("a")
    caller.answers("rings", 180, sdp=None)
    caller.answers("unreliable", 183)
    assert refused(caller.offered(tag)) == status
    assert caller.machine.state is CallState.CALLING


def test_a_bad_offer_leaves_the_branch_as_it_was() -> None:
    caller = Caller("a")
    verdict = caller.offered("a", "bad")
    assert isinstance(verdict, o.Refuse)
    assert verdict.status == 488
    assert "auth-failure" in dict(verdict.headers)["Warning"]
    assert caller.held("a") == "good a"
    assert caller.machine._streams.running
    assert caller.offered("a", "rekey") == o.Permit()


def test_a_branch_whose_answer_was_refused_gets_the_same_reason() -> None:
    caller = Caller("a")
    caller.answers("b", 183, reliable=True, sdp="bad")
    assert refused(caller.offered("b")) == 488


def test_an_offer_while_another_has_no_answer_is_to_come_later() -> None:
    caller = Caller("a", "b")
    caller.offered("b")
    for tag in ("a", "b"):
        verdict = caller.offered(tag)
        assert isinstance(verdict, o.Refuse)
        assert (verdict.status, dict(verdict.headers)["Retry-After"]) == (500, "1")
    # That refusal is not the answer to the first.
    caller.answered(500)
    assert caller.describes() == "answer"
    caller.answered()
    assert caller.offered("a") == o.Permit()


def test_what_the_stack_could_not_answer_changes_nothing() -> None:
    caller = Caller("a")
    caller.offered("a", "rekey")
    caller.answered(488)
    assert caller.held("a") == "good a"
    assert caller.machine._streams.running
    assert caller.offered("a", "rekey") == o.Permit()
    caller.describes()
    assert caller.answered() == ["again a"]


def test_the_200_of_another_branch_ends_the_offer() -> None:
    caller = Caller("a", "b", many_dialogs=True)
    caller.offered("a", "rekey")
    caller.answers("b", 200)
    assert caller.machine.state is CallState.TALKING
    assert caller.answered() == []
    keying = caller.machine._attempt.keying
    assert isinstance(keying, FakeTicket)
    assert keying.held == {"b": "good b"}


def test_who_is_not_accepted_is_answered_and_not_heard() -> None:
    caller = Caller("b", policy=ASKS)
    assert caller.offered("b", "rekey") == o.Permit()
    caller.describes()
    caller.machine.take(i.StreamCreated(index=0))
    assert caller.answered() == []
    caller.answers("b", 200)
    assert caller.machine.state is CallState.ASKING
    assert refused(caller.offered("b")) == 488
    assert not caller.machine._streams.running
    outputs = caller.machine.take(i.Decided(refusal=""))
    assert [str(output.keys) for output in outputs if isinstance(output, o.Key)] == ["again b"]


@pytest.mark.parametrize(("offer", "there"), [(UNMET, "none"), (MET, "sendrecv")])
def test_the_answer_states_what_is_there_of_the_resources(offer: str, there: str) -> None:
    caller = Caller("a", preconditions=True)
    assert caller.offered("a", offer) == o.Permit()
    caller.describes()
    keying = caller.machine._attempt.keying
    assert isinstance(keying, Recorder)
    stated = [line for line in keying.described.splitlines() if line.startswith("a=curr")]
    assert stated == ["a=curr:qos local sendrecv", f"a=curr:qos remote {there}"]
    caller.answered()
    # Lines that cannot be read change nothing; where there are none, none are answered.
    assert refused(caller.offered("a", f"{SDP}a=curr:qos local\r\n")) == 400
    assert caller.offered("a", SDP) == o.Permit()
    caller.describes()
    assert keying.described == SDP


def test_a_branch_keyed_by_sdes_may_offer_too() -> None:
    caller = Caller("a", "b", sdes=True)
    assert caller.offered("b", "rekey") == o.Permit()
    caller.describes()
    assert caller.answered() == []
    caller.answers("b", 200)
    assert caller.machine.state is CallState.TALKING
