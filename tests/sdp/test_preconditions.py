"""Preconditions (RFC 3312): the examples of the RFC, what each side concludes, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sdp import SdpMalformed
from sipmikey.sdp.preconditions.lines import Direction, Precondition, Status, Strength, parse
from sipmikey.sdp.preconditions.negotiation import Preconditions

SDP = (
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    "m=audio 20000 RTP/AVP 0\r\na=sendrecv\r\n"
)
NAMES = st.sampled_from(["curr", "conf"])
STRENGTHS = st.sampled_from(list(Strength))
STATUSES = st.sampled_from(list(Status))
DIRECTIONS = st.sampled_from(list(Direction))


def lines_of(sdp: str) -> list[str]:
    return [line for line in sdp.splitlines() if line.startswith(("a=curr", "a=des", "a=conf"))]


def offer(*more: str) -> str:
    return SDP + "".join(f"a={line}\r\n" for line in more)


def answering(sdp: str, *, ours: bool = True) -> Preconditions:
    made = Preconditions(ours=ours, offers=False)
    made.hear_offer(sdp)
    return made


@given(
    st.one_of(
        st.builds(Precondition, name=NAMES, status=STATUSES, direction=DIRECTIONS),
        st.builds(
            Precondition, name=st.just("des"), strength=STRENGTHS, status=STATUSES, direction=DIRECTIONS
        ),
    )
)
def test_a_line_reads_as_it_was_written(line: Precondition) -> None:
    assert parse(line.text()) == line


@pytest.mark.parametrize(
    "line",
    [
        "curr:qos local", "curr:qos here none", "curr:qos local both", "des:qos local sendrecv",
        "des:qos very local sendrecv", "conf:", "curr:qos mandatory local none", "des:qos",
    ],
)  # fmt: skip
def test_what_is_not_a_precondition_is_refused_and_names_its_field(line: str) -> None:
    with pytest.raises(SdpMalformed) as refused:
        answering(offer(line))
    assert refused.value.field == f"a={line.partition(':')[0]}"


def test_the_caller_reserves_and_tells_by_update() -> None:
    """The segmented status type of RFC 3312 section 13: offer, answer, UPDATE, its answer."""
    caller, callee = Preconditions(ours=False, offers=True), Preconditions(ours=True, offers=False)
    first = caller.describe(SDP)
    assert lines_of(first) == [
        "a=curr:qos local none",
        "a=curr:qos remote none",
        "a=des:qos mandatory local sendrecv",
        "a=des:qos none remote sendrecv",
    ]
    callee.hear_offer(first)
    assert not callee.met
    assert callee.missing == "remote recv, remote send"
    answer = callee.describe(SDP)
    assert lines_of(answer) == [
        "a=curr:qos local sendrecv",
        "a=curr:qos remote none",
        "a=des:qos none local sendrecv",
        "a=des:qos mandatory remote sendrecv",
        "a=conf:qos remote sendrecv",
    ]
    caller.hear_answer(answer)
    assert not caller.must_tell
    caller.reserved()
    assert caller.must_tell
    update = caller.describe(SDP)
    assert not caller.must_tell
    assert lines_of(update)[:2] == ["a=curr:qos local sendrecv", "a=curr:qos remote sendrecv"]
    callee.hear_offer(update)
    assert callee.met
    assert lines_of(callee.describe(SDP))[:2] == ["a=curr:qos local sendrecv", "a=curr:qos remote sendrecv"]
    assert "a=conf" not in callee.describe(SDP)


def test_the_whole_way_is_there_when_both_directions_are() -> None:
    """The end-to-end status type of RFC 3312 section 13: each side reserves the direction it sends in."""
    callee = answering(offer("curr:qos e2e none", "des:qos mandatory e2e sendrecv"))
    assert not callee.met
    assert lines_of(callee.describe(SDP)) == [
        "a=curr:qos e2e send",
        "a=des:qos mandatory e2e sendrecv",
        "a=conf:qos e2e recv",
    ]
    callee.hear_offer(offer("curr:qos e2e send", "des:qos mandatory e2e sendrecv"))
    assert callee.met
    assert lines_of(callee.describe(SDP))[0] == "a=curr:qos e2e sendrecv"


def test_one_direction_only() -> None:
    callee = answering(offer("curr:qos local recv", "curr:qos remote none", "des:qos mandatory local recv"))
    assert callee.met
    callee = answering(offer("curr:qos local recv", "des:qos mandatory local send"))
    assert callee.missing == "remote recv"


def test_an_offer_whose_preconditions_are_met_may_ring_at_once() -> None:
    ready = offer(
        "curr:qos local sendrecv", "curr:qos remote none", "des:qos mandatory local sendrecv",
        "des:qos optional remote sendrecv",
    )  # fmt: skip
    callee = answering(ready)
    assert (callee.stated, callee.met) == (True, True)
    assert not answering(offer("des:qos mandatory remote sendrecv"), ours=False).met


def test_a_description_without_preconditions_stays_as_it_is() -> None:
    callee = answering(SDP)
    assert (callee.stated, callee.met, callee.must_tell) == (False, True, False)
    assert callee.describe(SDP) == SDP


def test_an_answer_may_want_more_than_the_offer_and_never_less() -> None:
    """RFC 3312 section 5.2."""
    caller = Preconditions(ours=False, offers=True)
    caller.describe(SDP)
    caller.hear_answer(
        offer("curr:qos remote none", "des:qos none remote sendrecv", "des:qos mandatory local sendrecv")
    )
    assert caller.missing == "local recv, local send, remote recv, remote send"


def test_an_offer_may_want_less_than_the_one_before() -> None:
    """RFC 4032 section 4.2."""
    callee = answering(offer("curr:qos local none", "des:qos mandatory local sendrecv"))
    callee.hear_offer(offer("curr:qos local none", "des:qos optional local sendrecv"))
    assert callee.met


def test_an_offer_that_says_nothing_leaves_what_there_was() -> None:
    """As that of a session timer's refresh, while the call waits."""
    callee = answering(offer("curr:qos local none", "des:qos mandatory local sendrecv"))
    callee.hear_offer(SDP)
    assert callee.missing == "remote recv, remote send"


def test_a_stream_of_port_0_has_no_preconditions() -> None:
    """RFC 3312 section 8.1: neither side takes them into account, and either may reject the stream."""
    lines = "a=curr:qos local none\r\na=des:qos mandatory local sendrecv\r\na=des:x mandatory e2e send\r\n"
    second = "m=audio 20002 RTP/AVP 0\r\n" + lines
    callee = answering(SDP + second)
    assert (callee.met, callee.may_be_met) == (False, False)
    callee.reject(SDP + "m=audio 0 RTP/AVP 0\r\n")
    assert (callee.met, callee.may_be_met, callee.must_tell) == (True, True, False)
    assert lines_of(callee.describe(SDP + "m=audio 0 RTP/AVP 0\r\n")) == []
    assert answering(SDP + second.replace("20002", "0")).met
    callee.hear_offer(SDP + second)
    assert not callee.met


def test_each_segment_is_described_as_a_whole() -> None:
    """RFC 3312 section 5.1.1: two current status lines, and desired status for each segment."""
    callee = answering(offer("curr:qos local none", "des:qos mandatory local send"))
    assert lines_of(callee.describe(SDP)) == [
        "a=curr:qos local sendrecv",
        "a=curr:qos remote none",
        "a=des:qos none local sendrecv",
        "a=des:qos mandatory remote recv",
        "a=des:qos none remote send",
        "a=conf:qos remote recv",
    ]


def test_the_peer_is_told_once_all_that_it_asked_about_is_there_and_when_it_is_not() -> None:
    """RFC 3312 section 7."""
    caller = Preconditions(ours=False, offers=True)
    caller.describe(SDP)
    answer = offer("curr:qos remote none", "des:qos mandatory remote sendrecv", "conf:qos remote sendrecv")
    caller.hear_answer(answer)
    assert not caller.must_tell
    caller.reserved()
    assert caller.must_tell
    caller.describe(SDP)
    assert not caller.must_tell
    caller.reserved(False)
    assert caller.must_tell
    assert lines_of(caller.describe(SDP))[0] == "a=curr:qos local none"
    assert not caller.must_tell


def test_nothing_is_told_while_only_a_part_of_it_is_there() -> None:
    callee = answering(
        offer("curr:qos e2e none", "des:qos mandatory e2e sendrecv", "conf:qos e2e sendrecv"), ours=False
    )
    callee.describe(SDP)
    callee.reserved()
    assert not callee.must_tell
    callee.hear_offer(offer("curr:qos e2e send", "des:qos mandatory e2e sendrecv", "conf:qos e2e sendrecv"))
    assert callee.must_tell


@pytest.mark.parametrize(("ours", "required"), [(True, False), (False, True)])
def test_what_is_there_already_is_not_made_mandatory(ours: bool, required: bool) -> None:
    """RFC 3312 section 11: an offer with something mandatory needs ``Require: precondition``."""
    caller = Preconditions(ours=ours, offers=True)
    assert ("mandatory" in caller.describe(SDP)) == required
    assert caller.required == required


def test_a_type_that_only_the_caller_meets_is_waited_for() -> None:
    """RFC 3312 section 9: unknown, mandatory and local, as who offers sees it."""
    callee = answering(offer("curr:foo local none", "des:foo mandatory local sendrecv"))
    assert (callee.met, callee.may_be_met) == (False, True)
    assert lines_of(callee.describe(SDP)) == [
        "a=curr:foo local none",
        "a=curr:foo remote none",
        "a=des:foo none local sendrecv",
        "a=des:foo mandatory remote sendrecv",
        "a=conf:foo remote sendrecv",
    ]
    callee.hear_offer(offer("curr:foo local sendrecv", "des:foo mandatory local sendrecv"))
    assert callee.met


def test_a_refusal_says_what_cannot_be_met_as_we_see_it() -> None:
    """RFC 3312 section 8: each m-line of what was received, with port 0; section 9: of unknown types."""
    callee = answering(
        offer("curr:qos local send", "des:qos mandatory local sendrecv", "des:foo mandatory remote send")
        + "m=audio 20002/2 RTP/AVP 0 8\r\n"
    )
    assert callee.refusal().splitlines()[5:] == [
        "m=audio 0 RTP/AVP 0",
        "a=des:foo unknown local recv",
        "a=des:qos failure remote send",
        "m=audio 0 RTP/AVP 0 8",
    ]


def test_a_peer_cannot_say_that_our_own_resources_are_there() -> None:
    unready = answering(offer("curr:qos remote sendrecv", "des:qos mandatory remote sendrecv"), ours=False)
    assert unready.missing == "local recv, local send"
    unready.reserved()
    assert unready.met


def test_lines_of_before_are_replaced_and_other_lines_kept() -> None:
    callee = answering(offer("curr:qos local none", "des:qos mandatory local sendrecv"))
    again = callee.describe(callee.describe(SDP + "a=ptime:20\r\n"))
    assert len(lines_of(again)) == len(set(lines_of(again)))
    assert "a=ptime:20" in again


def test_each_stream_has_its_own() -> None:
    two = offer("curr:qos local sendrecv", "des:qos mandatory local sendrecv") + "m=audio 20002 RTP/AVP 0\r\n"
    callee = answering(two + "a=curr:qos local none\r\na=des:qos mandatory local sendrecv\r\n")
    assert not callee.met
    first, second = callee.describe(SDP + "m=audio 20002 RTP/AVP 0\r\n").split("m=audio 20002")
    assert "a=conf" not in first
    assert "a=conf:qos remote sendrecv" in second


def test_a_mandatory_precondition_of_another_type_cannot_be_met() -> None:
    """As ``sec`` of RFC 5027: an unknown type is told in the refusal."""
    callee = answering(offer("curr:sec e2e none", "des:sec mandatory e2e sendrecv"))
    assert (callee.met, callee.may_be_met, callee.missing) == (False, False, "unknown type sec")
    assert lines_of(callee.refusal()) == ["a=des:sec unknown e2e sendrecv"]
    assert answering(offer("des:sec optional e2e sendrecv")).met


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(SdpMalformed):
        answering(offer(*["curr:qos local none"] * 65))
