"""The transport that a SIP domain wants, by its NAPTR records (RFC 3263 section 4.1)."""

from __future__ import annotations

import pytest

from sipmikey.sip.location import Naptr, looked_up, transports_of, with_transport


def naptr(order: int, service: str, replacement: str, **changes: object) -> Naptr:
    fields = {
        "order": order,
        "preference": 50,
        "flags": "s",
        "service": service,
        "regexp": "",
        "replacement": replacement,
    }
    return Naptr(**(fields | changes))  # type: ignore[arg-type]


UDP = naptr(50, "SIP+D2U", "_sip._udp.example.com")
TCP = naptr(90, "SIP+D2T", "_sip._tcp.example.com")
TLS = naptr(100, "SIPS+D2T", "_sips._tcp.example.com")


@pytest.mark.parametrize(
    ("uri", "domain"),
    [
        ("sip:example.com", "example.com"),
        ("sip:bob@Example.COM.", "example.com"),
        ('"Bob" <sip:bob@example.com>', "example.com"),
        ("sip:bob@example.com;user=phone", "example.com"),
        ("sip:b%40b;x=y@example.com?Subject=z", "example.com"),
        ("sip:bob@example.com:5060", None),
        ("sip:bob@example.com;transport=udp", None),
        ("sip:bob@example.com; Transport = tcp", None),
        ("sip:bob@example.com;maddr=192.0.2.1", None),
        ("sip:bob@192.0.2.1", None),
        ("sip:bob@[2001:db8::1]", None),
        ("sips:bob@example.com", None),
        ("tel:+4612345", None),
        ("sip:bob@exa mple.com", None),
        ("sip:", None),
        ("sip:" + "a" * 64 + ".com", None),
        ("", None),
    ],
)
def test_dns_is_asked_only_where_the_uri_leaves_the_transport_open(uri: str, domain: str | None) -> None:
    assert looked_up(uri) == domain


def test_the_order_counts_first_and_then_the_preference() -> None:
    assert transports_of([TCP, TLS, UDP], "example.com") == ("udp", "tcp", "tls")
    first = naptr(50, "sips+d2t", "_SIPS._tcp.example.com.", preference=10, flags="S")
    assert transports_of([TCP, UDP, first], "example.com") == ("tls", "udp", "tcp")


@pytest.mark.parametrize(
    "record",
    [
        naptr(1, "SIP+D2T", "_sip._tcp.attacker.example"),
        naptr(1, "SIPS+D2T", "_sip._udp.example.com"),
        naptr(1, "SIP+D2S", "_sip._sctp.example.com"),
        naptr(1, "E2U+sip", "_sip._udp.example.com"),
        naptr(1, "SIP+D2U", "_sip._udp.example.com", flags="u"),
        naptr(1, "SIP+D2U", "_sip._udp.example.com", flags=""),
        naptr(1, "SIP+D2U", "_sip._udp.example.com", regexp="!.*!sip:x@y!"),
        naptr(1, "", ""),
    ],
)
def test_records_that_mean_something_else_do_not_count(record: Naptr) -> None:
    assert transports_of([record], "example.com") == ()
    assert transports_of([record, TCP], "example.com") == ("tcp",)


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("sip:example.com", "sip:example.com;transport=tcp"),
        ("sip:b@example.com;lr?a=b", "sip:b@example.com;lr;transport=tcp?a=b"),
        ('"B" <sip:b@example.com>;x', '"B" <sip:b@example.com;transport=tcp>;x'),
    ],
)
def test_the_transport_is_named_within_the_uri(uri: str, named: str) -> None:
    assert with_transport(uri, "tcp") == named
    assert looked_up(named) is None
