"""Which of several answers has the call: RFC 3261 section 13.2, at the caller's machine, without I/O."""

from __future__ import annotations

from sipmikey.call import events as e
from sipmikey.call import inputs as i
from sipmikey.call import outputs as o
from sipmikey.call.caller import CallerMachine
from sipmikey.call.reasons import Reason
from sipmikey.call.settings import CallSettings
from sipmikey.mikey.errors import PeerError
from sipmikey.sdp import MediaMismatch
from tests.call.fakes import BOB, ENV, GRANT, FakeKeyings


class Caller:
    """Alice's call to bob, whose INVITE is out; what the machine wanted, in order."""

    def __init__(self, settings: CallSettings | None = None) -> None:
        settings = settings or CallSettings(identity="sip:alice@example.com")
        self.machine = CallerMachine("1", settings, ENV, FakeKeyings(), uri=BOB, called=BOB, grant=GRANT)
        self.wanted: list[o.Output] = []
        self.give(i.Start())
        self.give(i.Attached())
        self.give(i.LocalDescription(sdp="sdp", remote=""))
        self.give(i.Sent(message=i.Message(method="INVITE", sdp="offer", call_id="id")))

    def give(self, item: i.Input) -> None:
        self.wanted += self.machine.take(item)

    def hears(self, status: int, tag: str, sdp: str | None = None) -> None:
        """A response to the INVITE comes from branch *tag*."""
        message = i.Message(method="INVITE", status=status, to_tag=tag, sdp=sdp, phrase=f"{status} OK")
        self.give(i.Received(message=message))

    def told(self, kind: type[e.Event]) -> list[e.Event]:
        events = [output.event for output in self.wanted if isinstance(output, o.Tell)]
        return [event for event in events if isinstance(event, kind)]

    def answered_by(self) -> list[str]:
        return [event.to_tag for event in self.told(e.CallAnswered) if isinstance(event, e.CallAnswered)]


def test_a_200_without_a_description_is_of_any_branch_that_answered_before() -> None:
    caller = Caller()
    caller.hears(183, "a", "good a")
    caller.hears(183, "b", "good b")
    caller.hears(200, "a")
    assert caller.answered_by() == ["a"]


def test_each_2xx_is_acknowledged_and_a_good_one_after_a_bad_one_has_the_call() -> None:
    caller = Caller()
    caller.hears(180, "a")
    caller.hears(180, "b")
    caller.hears(200, "a", "bad")
    caller.hears(200, "b", "good b")
    caller.hears(200, "c", "good c")
    assert caller.answered_by() == ["b"]
    acknowledged = [output.to_tag for output in caller.wanted if isinstance(output, o.Acknowledge)]
    ended = [output.to_tag for output in caller.wanted if isinstance(output, o.EndBranch)]
    assert (acknowledged, ended) == (["a", "b", "c"], ["a", "c"])


def test_the_first_answer_of_a_branch_stays_its_answer() -> None:
    caller = Caller()
    caller.hears(183, "a", "good a")
    caller.hears(200, "a", "bad")
    assert caller.answered_by() == ["a"]
    assert not caller.told(e.MikeyRefused)


def test_a_200_without_a_description_after_a_refused_183_is_refused_for_the_same() -> None:
    caller = Caller()
    caller.hears(183, "a", "bad")
    caller.hears(200, "a")
    ending = caller.machine.ending
    assert ending is not None
    assert (ending.reason, ending.side) == (Reason.AUTH_FAILURE, "remote")
    assert len(caller.told(e.MikeyRefused)) == 1


def test_a_description_that_cannot_be_used_is_the_end_of_its_branch_only() -> None:
    def check(sdp: str) -> None:
        if sdp == "good a":
            raise MediaMismatch("no codec in common")

    caller = Caller(CallSettings(identity="sip:alice@example.com", check_description=check))
    caller.hears(183, "a", "good a")
    caller.hears(183, "b", "good b")
    caller.hears(200, "b")
    assert caller.answered_by() == ["b"]
    assert [event.to_tag for event in caller.told(e.ForkAbandoned) if isinstance(event, e.ForkAbandoned)] == [
        "a"
    ]


def test_an_offer_of_a_branch_without_a_reliable_answer_has_to_wait() -> None:
    for sdp in ("good a", "none"):
        caller = Caller()
        caller.hears(183, "a", "good a")
        caller.give(i.RemoteOffer(sdp=sdp, to_tag="a"))
        (refused,) = [output for output in caller.wanted if isinstance(output, o.Refuse)]
        assert refused.status == 491
        assert "glare: our offer has no answer of this branch yet" in dict(refused.headers)["Warning"]
        caller.hears(200, "a")
        assert caller.answered_by() == ["a"]


def test_the_stack_ends_a_call_whose_answer_it_cannot_use() -> None:
    def check(sdp: str) -> None:
        raise PeerError("no codec in common")

    for says, detail in ((None, "Unable to create media session"), (check, "no codec in common")):
        settings = CallSettings(identity="sip:alice@example.com")
        if says is not None:
            settings = CallSettings(identity="sip:alice@example.com", check_description=says)
        caller = Caller(settings)
        reason = "Unable to create media session"
        caller.give(i.Sent(message=i.Message(method="BYE", to_tag="a", reason=reason, cause=488)))
        caller.hears(200, "a", "good a")
        caller.give(i.Disconnected(status=488, reason=reason))
        assert not caller.answered_by()
        (end,) = caller.told(e.CallEnded)
        assert isinstance(end, e.CallEnded)
        assert end.side == "remote"
        assert end.detail.endswith(detail)


def test_the_session_timer_of_the_stack_is_no_fault_of_a_description() -> None:
    caller = Caller()
    caller.hears(200, "a", "good a")
    caller.give(i.Sent(message=i.Message(method="BYE", to_tag="a", reason="Session expired", cause=408)))
    caller.give(i.Disconnected(status=408, reason="Request Timeout"))
    (end,) = caller.told(e.CallEnded)
    assert isinstance(end, e.CallEnded)
    assert (end.reason, end.side) == (Reason.NO_ANSWER, "network")
