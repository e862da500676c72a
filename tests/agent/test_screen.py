"""Which SIP messages may reach pjsip: those RFC 3261 allows, odd ones too, and not those that end it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.agent.screening import screen
from sipmikey.agent.screening.screen import Fault, examine


def judge(octets: bytes) -> Fault | None:
    return examine(octets).fault


def message(
    start: str = "INVITE sip:bob@192.0.2.1 SIP/2.0", body: str = "", cseq: str = "", **fields: str
) -> bytes:
    method = cseq or ("INVITE" if start.startswith("SIP/") else start.split()[0])
    own = {
        "Via": "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKx;rport",
        "From": "<sip:alice@example.com>;tag=1",
        "To": "<sip:bob@example.com>",
        "Call-ID": "x",
        "CSeq": f"1 {method}",
        "Contact": "<sip:alice@192.0.2.7>",
        "Content-Length": str(len(body)),
    }
    own |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = [start, *(f"{name}: {value}" for name, value in own.items() if value != "absent")]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"From": '"a, \\"b" <sip:alice@example.com>;tag=1'},
        {"From": "sip:alice@example.com;tag=1"},
        {"From": "alice<sip:alice@example.com>;tag=1"},
        {"To": '"<sip:[]>" <tel:+1-201-555-0123>'},
        {"To": "<isbn:2983792873>"},
        {"From": "<sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1@example.com>;tag=1"},
        {"From": "<sip:null-%00-null@example.com>;tag=1"},
        {"From": "<sip:user;par=u%40example.net@example.com>;tag=1"},
        {"Contact": '"a,b" <sip:alice@[2001:db8::1]:5070;transport=tcp>;q=0.2, <sip:alice@host.>'},
        {"Contact": "sip:alice@192.0.2.7, sip:alice@192.0.2.8"},
        {"Contact": "absent"},
        {"Record_Route": "<sip:p1.example.com;lr>, <sip:p2.example.com;lr;unknown-no-value>"},
        {"Route": "<sips:p1.example.com:5061>"},
        {"Via": "SIP  / 2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw, SIP/2.0/UNKNOWN [2001:db8::1]:5060"},
        {"v": "SIP/2.0/TLS host.example.com : 5061 ;received=[2001:db8::9:255]", "Via": "absent"},
        {"Refer_To": "<sip:carol@example.com?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>"},
        {"Replaces": "a@b;from-tag=1;to-tag=2;early-only"},
        {"P_Asserted_Identity": '"Alice" <sip:alice@example.com>, <tel:+12015550123>'},
        {"Event": "refer;id=7"},
        {"Subject": "\xff\x00 no rule for this one"},
    ],
)
def test_what_is_only_unusual_passes(fields: dict[str, str]) -> None:
    assert judge(message(**fields)) is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"From": "<sip:[]>;tag=1"}, "from"),
        ({"f": "<sip:[]>;tag=1", "From": "absent"}, "from"),
        ({"From": "\r\n <sip:>;tag=1"}, "from"),
        ({"To": "<sips:a@[]>"}, "to"),
        ({"To": '"Mr. J. <sip:j@example.com>'}, "to"),
        ({"Contact": "<sip:[]>"}, "contact"),
        ({"m": "<sip:a@[]>", "Contact": "absent"}, "contact"),
        ({"Contact": '"x" <sip:ok@example.com>, "<sip:ok@example.com>" <sip:a@[]>'}, "contact"),
        ({"Contact": "<tel:1>"}, "contact"),
        ({"Contact": ","}, "contact"),
        ({"Record_Route": "<tel:1>"}, "record-route"),
        ({"Record_Route": "<sip:ok.example.com;lr>,<sip:[]>"}, "record-route"),
        ({"Route": "sip:no-brackets.example.com"}, "route"),
        ({"Path": "<sip:[]>"}, "path"),
        ({"Service_Route": "<mailto:a@example.com>"}, "service-route"),
        ({"Refer_To": "<sip:[]>"}, "refer-to"),
        ({"r": "<sip:a@>"}, "refer-to"),
        ({"P_Asserted_Identity": "<http://example.com>"}, "p-asserted-identity"),
        ({"Replaces": "a@b;to-tag=1"}, "replaces"),
        ({"Replaces": ";to-tag=1;from-tag=2"}, "replaces"),
        ({"Event": ";id=1"}, "event"),
        ({"Via": "SIP/2.0/UDP []:5060;branch=z9hG4bKx"}, "via"),
        ({"Via": "SIP/2.0/UDP 192.0.2.7,"}, "via"),
        ({"CSeq": "1 BYE"}, "cseq"),
        ({"CSeq": "4294967296 INVITE"}, "cseq"),
        ({"Call_ID": ""}, "call-id"),
        ({"Content_Length": "-1"}, "content-length"),
        ({"Content_Length": "5"}, "content-length"),
        ({"Content_Type": "multipart/mixed"}, "content-type"),
        ({"To": "absent"}, "to"),
        ({"t": "<sip:second@example.com>"}, "to"),
    ],
)
def test_what_the_grammar_does_not_allow_is_refused(fields: dict[str, str], field: str) -> None:
    fault = judge(message(**fields))
    assert fault is not None
    assert fault.field == field
    answerable = field not in ("from", "to", "via", "call-id", "cseq", "record-route")
    assert fault.answerable is answerable


@pytest.mark.parametrize("end", ["\n", "\r"])
@pytest.mark.parametrize("hidden", ["Contact: <sip:[]>", "Record-Route: <sip:[]>", "Require: x", " folded"])
def test_no_field_hides_behind_a_line_end_that_only_pjsip_sees(hidden: str, end: str) -> None:
    fault = judge(message(Subject=f"x{end}{hidden}"))
    assert fault is not None
    assert fault.field == "head"
    assert not fault.answerable


@pytest.mark.parametrize("method", ["bye", "Cancel", "iNVITE", "options"])
def test_a_method_in_another_case_is_another_method(method: str) -> None:
    """pjsip would take it for the one it resembles, and end the call."""
    fault = judge(message(f"{method} sip:bob@192.0.2.1 SIP/2.0", To="<sip:bob@example.com>;tag=2"))
    assert fault is not None
    assert (fault.field, fault.answerable) == ("start-line", False)
    assert judge(message("nOSUCH sip:bob@192.0.2.1 SIP/2.0")) is None


def test_another_scheme_may_stand_where_nothing_is_sent_to_it() -> None:
    contact = "<mailto:alice@example.com>, <tel:+12015550123>"
    assert judge(message("SIP/2.0 302 Moved", Contact=contact)) is None
    assert judge(message("REGISTER sip:example.com SIP/2.0", Contact=contact)) is None
    assert judge(message("REGISTER sip:example.com SIP/2.0", Contact="*")) is None
    for start in ("SIP/2.0 200 OK", "SIP/2.0 180 Ringing", "UPDATE sip:bob@192.0.2.1 SIP/2.0"):
        fault = judge(message(start, Contact=contact))
        assert fault is not None
        assert fault.field == "contact"
    assert judge(message("SIP/2.0 302 Moved", Contact="<sip:[]>")) is not None


def test_responses_and_acknowledgements_are_never_answered() -> None:
    for start in ("SIP/2.0 200 OK", "ACK sip:bob@192.0.2.1 SIP/2.0"):
        fault = judge(message(start, To="<sip:bob@example.com>;tag=2", Contact="<sip:[]>"))
        assert fault is None or not fault.answerable


def test_an_acknowledgement_belongs_to_an_answer() -> None:
    ack = "ACK sip:bob@192.0.2.1 SIP/2.0"
    assert judge(message(ack, To='"a;tag=1" <sip:bob@example.com;tag=1>')) is not None
    assert judge(message(ack, To="<sip:bob@example.com>;tag=2")) is None


def test_a_dtmf_relay_names_a_digit() -> None:
    info = "INFO sip:bob@192.0.2.1 SIP/2.0"
    kind = "Application/DTMF-Relay"
    assert judge(message(info, "Signal=\r\nDuration=100\r\n", Content_Type=kind)) is not None
    assert judge(message(info, "", c=kind)) is not None
    assert judge(message(info, "Signal= 5\r\nDuration=100\r\n", Content_Type=kind)) is None


def test_keep_alives_pass() -> None:
    assert judge(b"\r\n\r\n") is None
    assert judge(b"\r\n" + message()) is None


@given(st.binary(max_size=400))
def test_any_octets_are_judged(octets: bytes) -> None:
    judge(octets)


@given(st.binary(max_size=60), st.integers(0, 500), st.integers(0, 40))
def test_any_change_of_a_message_is_judged(octets: bytes, at: int, removed: int) -> None:
    whole = message(
        Record_Route="<sip:p.example.com;lr>", Replaces="a;to-tag=1;from-tag=2", Content_Type="text/plain"
    )
    judge(whole[:at] + octets + whole[at + removed :])


def test_long_fields_take_no_longer_than_their_length() -> None:
    long = ", ".join(f"<sip:{n}@example.com>" for n in range(2000))
    assert judge(message(Contact=long)) is None
    assert judge(message(Contact='"' * 60_001)) is not None
    assert judge(message(Via="SIP/2.0/UDP " + " " * 60_000 + ",")) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"From": "<sip:[]>;tag=1"},
        {"To": "<sip:[]>"},
        {"Record-Route": "<sip:[]>"},
        {"Via": "SIP/2.0/UDP []"},
        {"CSeq": "x"},
    ],
)
def test_no_answer_repeats_a_second_fault(fields: dict[str, str]) -> None:
    """pjsip would end its process by printing the answer."""
    for other in ({"Contact": "<sip:[]>"}, {"Refer-To": "<sip:[]>"}, {"Content-Length": "x"}):
        fault = judge(message(**other, **fields))
        assert fault is not None
        assert not fault.answerable


@given(st.from_regex(screen._USUAL_ADDRESS, fullmatch=True), st.sampled_from(sorted(screen._ADDRESSES)))
def test_an_address_that_is_let_in_at_first_look_passes_the_whole_check(value: bytes, name: bytes) -> None:
    never = re.compile(rb"(?!)")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(screen, "_USUAL_ADDRESS", never)
        screen._check_field(name, value, b"INVITE", 0)


@pytest.mark.parametrize("name", sorted(screen._ADDRESSES))
@pytest.mark.parametrize(
    "value", [b"<sip:>", b"<sip:a@>;tag=1", b"<sip:[>]>", b"<sip:a@b>>", b'<sip:a@b>;x="']
)
def test_the_first_look_lets_in_nothing_unfit(name: bytes, value: bytes) -> None:
    assert screen._USUAL_ADDRESS.fullmatch(value) is None
