"""Several values where one is looked for: none of them may choose another caller's policy, or hide why."""

from __future__ import annotations

import pytest

from sipmikey.agent.driver.call_driver import message_of
from sipmikey.agent.stack import Lane
from sipmikey.call.reasons import Reason, reason_of_status
from sipmikey.sip import SipMessage
from tests.regress.test_asserted_identity import ALICE, FAX, incoming, invite

REFUSED = "auth-failure: the MAC does not verify"


@pytest.mark.parametrize(
    "asserted",
    [
        f"P-Asserted-Identity: <{FAX}>, <{ALICE}>\r\n",
        f"P-Asserted-Identity: <{FAX}>\r\np-asserted-identity: <{ALICE}>\r\n",
        f"P-Asserted-Identity: <tel:+461>, <{FAX}>\r\nP-Asserted-Identity:\r\n <sips:alice@example.com>\r\n",
        "P-Asserted-Identity: <tel:+461>, <tel:+462>\r\n",
        f"P-Asserted-Identity: <mailto:{FAX[4:]}>\r\n",
    ],
)
def test_two_asserted_callers_are_none(asserted: str) -> None:
    for sender in (f"<{FAX}>", "<sip:gateway@example.com>"):
        assert incoming().judge(invite(asserted, sender), "192.0.2.1:5060").lane is Lane.REFUSED


def test_an_asserted_number_is_the_caller_and_not_who_stands_in_from() -> None:
    verdict = incoming().judge(invite("P-Asserted-Identity: <tel:+461>\r\n", f"<{FAX}>"), "192.0.2.1:5060")
    assert (verdict.caller, verdict.lane) == ("tel:+461", Lane.REFUSED)


def test_a_uri_with_two_at_signs_names_nobody() -> None:
    for uri in (f"{FAX};x=y@alice.example.com", f"{ALICE}?From={FAX}"):
        assert incoming().judge(invite("", f"<{uri}>"), "198.51.100.7:5060").lane is Lane.REFUSED


def response(*headers: str) -> SipMessage:
    return SipMessage.parse("\r\n".join(("SIP/2.0 488 No", "CSeq: 1 INVITE", *headers, "", "")))


@pytest.mark.parametrize(
    "headers",
    [
        (f'Warning: 399 proxy "busy, \\"auth-failure: x", 399 bob "{REFUSED}"',),
        (
            'Warning: 399 proxy "try again"',
            "Warning: 301 [2001:db8::1]:5060 bad",
            f'Warning: 399 bob "{REFUSED}"',
        ),
        ('Warning: 399 proxy "open', f'Warning: 399 bob "{REFUSED}"'),
    ],
)
def test_a_warning_before_the_peers_does_not_hide_why_it_refused(headers: tuple[str, ...]) -> None:
    """A call may be repeated with less protection where the peer gives no reason of ours."""
    told = message_of(response(*headers))
    assert reason_of_status(488, warning=told.warning) is Reason.AUTH_FAILURE


@pytest.mark.parametrize(
    "headers",
    [
        (f'Reason: Q.850;cause=16;text="a, SIP;cause=1", sip ; cause=488 ; text="{REFUSED}"',),
        ("Reason: Q.850;cause=x", f'Reason: SIP;cause=488;text="{REFUSED}"'),
        ('Reason: Q.850;text="open', f'Reason: SIP;cause=488;text="{REFUSED}"'),
    ],
)
def test_the_reason_of_sip_is_found_behind_that_of_another_protocol(headers: tuple[str, ...]) -> None:
    told = message_of(response(*headers))
    assert (told.cause, told.reason) == (488, REFUSED)
