"""Where a redirected call is made next: order, loops, limits, and what no redirection may do."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent.driver.call_driver import message_of
from sipmikey.call.inputs import Message
from sipmikey.call.inviting.redirection import Course, first_course, onward
from sipmikey.call.keying.clear import CLEAR
from sipmikey.call.keying.permission import permits_again
from sipmikey.call.keying.sdes import SDES
from sipmikey.call.policy import CallPolicy, Fallback, Retarget, SecurityMode
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.sip import SipMessage

BOB, CAROL, DAVE = (f"sip:{user}@example.com" for user in ("bob", "carol", "dave"))
PLAIN = CallPolicy()


def start(uri: str = BOB, *, via: str | None = None, policy: CallPolicy = PLAIN) -> Course:
    return first_course(uri, via, called=uri, policy=policy)


def response(status: int, *contacts: str) -> Message:
    lines = "".join(f"Contact: {contact}\r\n" for contact in contacts)
    return message_of(SipMessage.parse(f"SIP/2.0 {status} No\r\nCSeq: 1 INVITE\r\n{lines}\r\n"))


def redirect(
    course: Course, *contacts: str, status: int = 302, policy: CallPolicy = PLAIN, most: int = 5
) -> Course:
    after = onward(course, status, response(status, *contacts), policy=policy, most=most)
    assert after is not None
    return after


def refuse(course: Course, status: int, *, policy: CallPolicy = PLAIN, most: int = 5) -> Course | None:
    return onward(course, status, response(status), policy=policy, most=most)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 399])
def test_another_identity_is_called_by_itself(status: int) -> None:
    target = redirect(start(), f"Carol <{CAROL};transport=tcp>", status=status).target
    assert (target.uri, target.called) == (f"{CAROL};transport=tcp", CAROL)
    assert target.identities == (CAROL, BOB)


@pytest.mark.parametrize(
    "contact",
    [
        "sip:phone@192.0.2.7:5070;transport=tcp", "sip:192.0.2.7", "sip:bob@[2001:db8::7]",
        f"{BOB};transport=tcp", "sip:bob@EXAMPLE.COM;gr=one", "sips:bob@example.com",
    ],
)  # fmt: skip
def test_a_device_and_another_way_to_the_same_are_called_for_who_was_called(contact: str) -> None:
    target = redirect(start(), f"<{contact}>").target
    assert (target.uri, target.identities) == (contact, (BOB,))


def test_what_a_uri_wants_in_the_request_is_left_out() -> None:
    contact = f"<{CAROL};x=1;method=INVITE;y?Replaces=1%40h&Route=%3Csip:evil%3E>"
    assert redirect(start(), contact).target.uri == f"{CAROL};x=1;y"


def test_contacts_are_tried_in_the_order_of_their_preference() -> None:
    course = redirect(start(), f"<{DAVE}>;q=0.1, <tel:+1>;q=1, <{CAROL}>;q=0.7", "<sip:192.0.2.1>;q=0.4")
    tried = [course.target.uri]
    while (after := refuse(course, 486)) is not None:
        course = after
        tried.append(course.target.uri)
    assert tried == [CAROL, "sip:192.0.2.1", DAVE]
    assert (course.followed, course.waiting) == (3, ())


def test_a_redirected_redirection_comes_before_what_was_waiting() -> None:
    course = redirect(redirect(start(), f"<{CAROL}>, <{DAVE}>"), f"<sip:192.0.2.1>, <{BOB}>")
    assert (course.target.uri, course.target.called) == ("sip:192.0.2.1", CAROL)
    assert [target.uri for target in course.waiting] == [DAVE]


def test_contacts_that_lead_nowhere_give_way_to_those_waiting() -> None:
    course = redirect(redirect(start(), f"<{CAROL}>, <{DAVE}>"), f"<{BOB}>")
    assert course.target.uri == DAVE


@pytest.mark.parametrize("status", [600, 603, 604, 606])
def test_6xx_speaks_for_all(status: int) -> None:
    assert refuse(redirect(start(), f"<{CAROL}>, <{DAVE}>"), status) is None


def test_a_refusal_is_no_redirection() -> None:
    assert refuse(start(), 486) is None
    assert onward(start(), 503, None, policy=PLAIN, most=5) is None


def test_none_is_followed_where_none_is_wanted() -> None:
    assert onward(start(), 302, response(302, f"<{CAROL}>"), policy=PLAIN, most=0) is None


def test_the_limit_holds_for_redirections_and_for_contacts() -> None:
    course = redirect(start(), f"<{CAROL}>, <{DAVE}>", most=1)
    assert refuse(course, 486, most=1) is None
    with pytest.raises(AgentError, match="more than 1 times"):
        redirect(course, "<sip:192.0.2.1>", most=1)


@pytest.mark.parametrize(
    ("status", "contacts", "words"),
    [
        (302, (), "has no Contact"),
        (302, ("*",), "malformed Contact"),
        (302, (f"<{CAROL}>, <sip:x",), "malformed Contact"),
        (302, ("<tel:+1>, mailto:a@b",), r"'tel:\+1' cannot be called.*'mailto:a@b' cannot be called"),
        (302, ("<sip:a@b@example.com>",), "not a SIP URI"),
        (302, ("<sip:a@good.example?x=@bad.example>",), "not a SIP URI"),
        (302, ("<sip:a@exam_ple.com>",), "not a SIP URI"),
        (302, ("<sip:a@example.com;method=BYE>",), "another method"),
        (302, (f"<{BOB}>",), "a loop"),
        (302, ("<sip:bob@EXAMPLE.com:5060>",), "a loop"),
        (305, ("<sip:192.0.2.1;lr>",), "proxy"),
        (380, (f"<{CAROL}>",), "another service"),
    ],
)
def test_a_redirection_that_leads_nowhere_says_why(
    status: int, contacts: tuple[str, ...], words: str
) -> None:
    with pytest.raises(AgentError, match=words) as caught:
        redirect(start(), *contacts, status=status)
    assert (caught.value.reason, caught.value.sip_status) == (Reason.REDIRECTED, status)


def test_parameters_in_another_order_are_a_loop() -> None:
    course = start(BOB, via="sip:192.0.2.1;transport=tcp;lr")
    with pytest.raises(AgentError, match="a loop"):
        redirect(course, "<sip:192.0.2.1;LR;Transport=TCP>")


def test_nobody_else_is_called_where_policy_does_not_want_it() -> None:
    policy = CallPolicy(retarget=Retarget.REFUSE)
    with pytest.raises(AgentError, match=r"security\.retarget.*sip:carol@example\.com") as caught:
        redirect(start(), f"<{CAROL}>", policy=policy)
    assert caught.value.side == "local"
    assert redirect(start(), f"<{CAROL}>, <sip:192.0.2.1>", policy=policy).target.called == BOB


SIPS_BOB = "sips:bob@example.com"


@pytest.mark.parametrize("secure", [start(SIPS_BOB), start(BOB, via="sips:192.0.2.1")])
def test_sips_leads_to_sips_only(secure: Course) -> None:
    with pytest.raises(AgentError, match="not a sips: URI") as caught:
        redirect(secure, f"<{CAROL}>, <sip:192.0.2.1;transport=tls>")
    assert caught.value.side == "local"
    assert redirect(secure, "<sips:carol@example.com>").target.secure


def test_a_detour_by_sips_does_not_lead_back_to_sip() -> None:
    with pytest.raises(AgentError, match="not a sips: URI"):
        redirect(redirect(start(), "<sips:carol@example.com>"), f"<{DAVE}>")


@pytest.mark.parametrize(("dialled", "contact"), list(itertools.product(SecurityMode, repeat=2)))
def test_the_stricter_policy_holds(dialled: SecurityMode, contact: SecurityMode) -> None:
    policy = CallPolicy(
        fallback=Fallback.BOTH,
        alternative="sdes-without-tls",
        contacts={BOB: dialled, CAROL: contact, DAVE: SecurityMode.OFF},
    )
    target = redirect(start(policy=policy), f"<{CAROL}>", policy=policy).target
    order = [SecurityMode.OFF, SecurityMode.PREFERRED, SecurityMode.REQUIRED]
    assert target.mode is max(dialled, contact, key=order.index)
    lesser = target.mode is SecurityMode.PREFERRED
    assert permits_again(policy, CLEAR, target.called, least=target.mode) is lesser
    assert permits_again(policy, SDES, target.called, least=target.mode) is lesser
    further = redirect(
        redirect(start(policy=policy), f"<{CAROL}>", policy=policy), f"<{DAVE}>", policy=policy
    )
    assert further.target.mode is target.mode


CONTACTS = st.lists(
    st.sampled_from([f"<{BOB}>", f"<{CAROL}>;q=0.5", f"<{DAVE}>", "<sip:192.0.2.1>", "<sips:x@y>", "tel:+1"])
    | st.text(max_size=20).filter(lambda text: "\r\n" not in text),
    max_size=4,
)


@given(st.lists(st.tuples(st.sampled_from([300, 302, 305, 404, 486, 500, 603]), CONTACTS), max_size=12))
def test_any_responses_end_within_the_limit_and_no_target_is_called_twice(
    responses: list[tuple[int, list[str]]],
) -> None:
    course: Course | None = start()
    uris = [BOB]
    with contextlib.suppress(AgentError):
        for status, contacts in responses:
            assert course is not None
            course = onward(course, status, response(status, *contacts), policy=PLAIN, most=3)
            if course is None:
                break
            uris.append(course.target.uri)
            assert course.target.mode is SecurityMode.REQUIRED
    assert len(uris) == len(set(uris)) <= 4
