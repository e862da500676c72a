"""SIP messages: read, looked into, changed, written."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.sip import SipMalformed, SipMessage

INVITE = (
    "INVITE sip:b@example.com SIP/2.0\r\nv: SIP/2.0/TLS h;branch=z9hG4bK1 ,\r\n SIP/2.0/UDP i\r\n"
    "Subject: a\r\n b\r\nTO :\r\n <sip:b@example.com>\r\nFrom: \"A, B\" <sip:a@x>;tag=1\r\n"
    "c: application/sdp\r\nCSeq: 1 INVITE\r\n\r\nv=0"
)  # fmt: skip


def response(*lines: str) -> SipMessage:
    return SipMessage.parse("\r\n".join(("SIP/2.0 488 No", "CSeq: 1 INVITE", *lines, "", "")))


def test_folded_and_compact_fields() -> None:
    message = SipMessage.parse(INVITE)
    assert (message.transport, message.first("subject"), message.has_sdp) == ("tls", "a b", True)
    assert (message.uri("to"), message.uri("f"), message.tag("From")) == ("sip:b@example.com", "sip:a@x", "1")
    assert message.top_via is not None
    assert message.top_via.branch == "z9hG4bK1"
    assert len(list(message.items("via"))) == 2
    assert (message.method, message.status, message.request_uri) == ("INVITE", 0, "sip:b@example.com")


def test_the_start_line_of_a_response() -> None:
    message = response()
    assert (message.status, message.reason_phrase, message.method) == (488, "No", "INVITE")
    assert SipMessage.parse("SIP/2.0 200\r\n\r\n").reason_phrase == ""


@pytest.mark.parametrize(
    "text",
    ["", "\r\n\r\n", "x", "INVITE sip:b@c", "INVITE  sip:b@c SIP/2.0", "SIP/2.0 20 OK", "SIP/2.0 999 x",
     "GET / HTTP/1.1", "INVITE <sip:b@c> x SIP/2.0", "INVITE sip:b@c SIP/3.0"],
)  # fmt: skip
def test_what_is_not_a_sip_message_is_refused(text: str) -> None:
    with pytest.raises(SipMalformed, match="not a SIP message"):
        SipMessage.parse(text)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_lines_may_end_as_pjsip_takes_them(end: str) -> None:
    message = SipMessage.parse(INVITE.replace("\r\n", end))
    assert (message.tag("from"), message.sdp) == ("1", "v=0")


def test_other_line_separators_of_unicode_end_no_header_field() -> None:
    message = response("Subject: a\u2028From: <sip:mallory@x>\x0bTo: x\x85Contact: y")
    assert message.first("from") is None
    assert message.first("contact") is None


def test_octets_that_are_not_utf_8_can_be_read_and_encoded() -> None:
    octets = 'BYE sip:a@b SIP/2.0\r\nReason: SIP;text="Grüße"\r\n\r\n'.encode("latin-1")
    for data in (octets, octets.decode("utf-8", "surrogateescape")):
        message = SipMessage.parse(data)
        assert message.reason == "Grüße"
        assert message.encode().decode("utf-8")


def test_fields_that_stand_once_are_not_taken_from_two() -> None:
    message = response("From: <sip:a@b>", "f: <sip:c@d>")
    with pytest.raises(SipMalformed, match="2 header fields"):
        message.uri("from")
    with pytest.raises(SipMalformed, match="0 header fields"):
        message.one("to")


def test_all_contact_fields_count_in_compact_form_too() -> None:
    message = response("m: <sip:a@b>, <sip:c@d>", "Contact: <sip:e@f>")
    assert [contact.uri for contact in message.contacts()] == ["sip:a@b", "sip:c@d", "sip:e@f"]
    assert message.uri("contact") == "sip:a@b"


@pytest.mark.parametrize(
    ("values", "uri"),
    [
        (['"Smith,sip:fax@example.test,x" <sip:alice@example.test>'], "sip:alice@example.test"),
        (['"a, <sip:victim@example.com>" <sip:mallory@example.com>'], "sip:mallory@example.com"),
        (["<tel:+1>, <sips:a@b>"], "sips:a@b"),
        (["tel:+1", "SIP:a@b"], "SIP:a@b"),
        (["tel:+1", "mailto:a@b"], "tel:+1"),
        (["<sip:a@b>", "<sip:a@b>"], "sip:a@b"),
        ([], None),
    ],
)
def test_the_asserted_identity(values: list[str], uri: str | None) -> None:
    message = response(*(f"P-Asserted-Identity: {value}" for value in values))
    assert message.asserted_identity() == uri


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('399 host "a \\"b\\" \\\\c"', 'a "b" \\c'),
        ('399 host "a, b", 301 x "c"', "a, b"),
        ('399 "host" "b"', "b"),
        ("399 host text", "399 host text"),
        ('399 host "open', '399 host "open'),
        ("", ""),
    ],
)
def test_the_text_of_a_warning(value: str, text: str) -> None:
    assert response(f"Warning: {value}").warning == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('SIP;cause=200;text="Call completed elsewhere"', "Call completed elsewhere"),
        ('SIP ; text = "a;b, c" ;cause=1, Q.850;cause=16;text="x"', "a;b, c"),
        ("Q.850;cause=16", "Q.850;cause=16"),
        ("Q.850;cause=x", "Q.850;cause=x"),
    ],
)
def test_the_text_of_a_reason(value: str, text: str) -> None:
    assert response(f"Reason: {value}").reason == text


def test_what_was_changed_is_written_and_the_rest_stays() -> None:
    message = SipMessage.parse(INVITE)
    changed = message.with_header("To", "<sip:c@d>").with_header("subject", None).with_content(b"xyz")
    again = SipMessage.parse(changed.encode())
    assert (again.uri("to"), again.first("subject"), again.content) == ("sip:c@d", None, b"xyz")
    assert again.one("content-length") == "3"
    places = [name.lower() for name, _ in again.headers]
    assert places == ["v", "to", "from", "c", "cseq", "content-length"]


ODD = st.lists(
    st.sampled_from(["\r\n", "\n", "\r", " ", "From: ", "f:", "<sip:a@b>", '"', "Via: SIP/2.0/UDP h", ";",
                     "=", "c: multipart/mixed;boundary=", "x", "--", "application/sdp", "\udc80", "\x00",
                     "Contact: "])
    | st.characters(),
    max_size=40,
)  # fmt: skip


@given(ODD.map("".join))
def test_nothing_but_a_typed_error_comes_of_any_message(text: str) -> None:
    message = SipMessage.parse("INVITE sip:a@b SIP/2.0\r\n" + text)
    for look in (
        message.contacts, message.asserted_identity, lambda: message.uri("from"), lambda: message.to_tag,
    ):  # fmt: skip
        with contextlib.suppress(SipMalformed):
            look()
    for value in (message.transport, message.warning or "", message.reason or "", message.sdp):
        assert value.encode() is not None
    assert SipMessage.parse(message.encode()).content == message.content


TOKENS = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=" "), max_size=20)


@given(st.lists(st.tuples(TOKENS, VALUES), max_size=6), st.binary(max_size=40))
def test_a_message_that_was_written_is_read_back(headers: list[tuple[str, str]], content: bytes) -> None:
    kept = tuple((name, value) for name, value in headers if name.lower() not in ("l", "content-length"))
    made = SipMessage(start_line="OPTIONS sip:a@b SIP/2.0", headers=kept, content=content)
    assert SipMessage.parse(made.encode()) == made.with_header("Content-Length", str(len(content)))
