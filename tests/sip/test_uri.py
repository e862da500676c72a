"""SIP URIs that something can be sent to (RFC 3261 section 25.1)."""

from __future__ import annotations

import pytest

from sipmikey.sip.uri import fault_of


@pytest.mark.parametrize(
    "uri",
    [
        "sip:example.com",
        "SIPS:bob@example.com.",
        "sip:bob:secret@example.com:5060",
        "sip:+46-1;phone-context=x@example.com;user=phone",
        "sip:b%40b@192.0.2.1:1;transport=tcp;lr",
        "sip:[2001:db8::1]:65535;maddr=[::1]",
        "sip:bob@example.com?Subject=a%20b&X=",
        "sip:a?b/c@example.com",
    ],
)
def test_what_can_be_sent_to(uri: str) -> None:
    assert fault_of(uri) == ""


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("", "not a SIP URI"),
        ("tel:1", "not a SIP URI"),
        ("127.0.0.1", "not a SIP URI"),
        ("sip:", "not a SIP URI"),
        ("sip:@example.com", "not a SIP URI"),
        ('sip:b"b@example.com', "not a SIP URI"),
        ("sip:b b@example.com", "not a SIP URI"),
        ("sip:b%4@example.com", "not a SIP URI"),
        ("sip:bob@example.com ;x", "not a SIP URI"),
        ("sip:bob@example.com\r\nX: y", "not a SIP URI"),
        ("<sip:bob@example.com>", "not a SIP URI"),
        ("sip:bob@exämple.com", "not a SIP URI"),
        ("sip:bob@[]", "not a SIP URI"),
        ("sip:bob@[1::2::3]", "IPv6"),
        ("sip:bob@example.com:0", "port"),
        ("sip:bob@example.com:65536", "port"),
        ("sip:bob@example.com:" + "9" * 5000, "port"),
    ],
)
def test_what_cannot_be_sent_to(uri: str, fault: str) -> None:
    assert fault in fault_of(uri)
