"""The caller whom a trusted proxy asserts is the URI in the header field, whatever stands in the quotes."""

from __future__ import annotations

import pytest

from sipmikey.agent.config import AgentConfig, Sip
from sipmikey.agent.incoming_calls import IncomingCalls
from sipmikey.agent.settings import UsableHere, keyings
from sipmikey.agent.stack import Lane
from sipmikey.call.policy import CallPolicy, SecurityMode
from sipmikey.sip import SipMessage
from sipmikey.system import environment

ALICE, BOB, FAX = "sip:alice@example.com", "sip:bob@example.com", "sip:fax@example.com"
CLEAR = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)


def incoming() -> IncomingCalls:
    """Bob's agent, which protects every call but the fax's, and trusts 192.0.2.1."""
    config = AgentConfig(
        identity=BOB,
        sip=Sip(trusted_proxies=frozenset({"192.0.2.1"})),
        policy=CallPolicy(security=SecurityMode.REQUIRED, contacts={FAX: SecurityMode.OFF}),
    )
    # What is judged here reaches neither the agent nor the stack.
    return IncomingCalls(
        config, keyings(config, environment()), None, lambda work: None, UsableHere(config)  # type: ignore[arg-type]
    )  # fmt: skip


def invite(asserted: str, sender: str = "<sip:gateway@example.com>") -> SipMessage:
    return SipMessage.parse(
        f"INVITE {BOB} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: {sender};tag=1\r\n"
        f"To: <{BOB}>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{asserted}Content-Type: application/sdp\r\n"
        f"Content-Length: {len(CLEAR)}\r\n\r\n{CLEAR}"
    )


@pytest.mark.parametrize(
    ("asserted", "caller"),
    [
        (f'P-Asserted-Identity: "Smith,{FAX},x" <{ALICE}>\r\n', ALICE),
        (f'P-Asserted-Identity: "a, <{FAX}>" <{ALICE}>\r\n', ALICE),
        (f'P-Asserted-Identity: "\\"{FAX}\\",<{FAX}>\\\\" <{ALICE}>\r\n', ALICE),
        (f'P-Asserted-Identity: "A;x <{FAX}>" <{ALICE}>, <tel:+461>\r\n', ALICE),
        (f"P-Asserted-Identity: <tel:+461;x={FAX}>\r\nP-Asserted-Identity: <{ALICE}>\r\n", ALICE),
        (f"P-Asserted-Identity: <{FAX}>\r\n", FAX),
    ],
)  # fmt: skip
def test_a_display_name_selects_no_policy(asserted: str, caller: str) -> None:
    verdict = incoming().judge(invite(asserted), "192.0.2.1:5060")
    assert verdict.caller == caller
    assert verdict.lane is (Lane.CLEAR if caller == FAX else Lane.REFUSED)


@pytest.mark.parametrize(
    "asserted",
    [f'P-Asserted-Identity: "{FAX}, <{ALICE}>\r\n', f"P-Asserted-Identity: {ALICE} <{FAX}\r\n"],
)
def test_who_writes_what_cannot_be_read_has_asserted_nothing(asserted: str) -> None:
    assert incoming().judge(invite(asserted), "192.0.2.1:5060").lane is Lane.REFUSED


def test_a_quoted_uri_in_from_is_no_caller_either() -> None:
    verdict = incoming().judge(invite("", f'"<{FAX}>, {FAX}" <{ALICE}>'), "198.51.100.7:5060")
    assert (verdict.caller, verdict.lane) == (ALICE, Lane.REFUSED)
    asserted = f"P-Asserted-Identity: <{FAX}>\r\n"
    assert incoming().judge(invite(asserted), "198.51.100.7:5060").lane is Lane.REFUSED
