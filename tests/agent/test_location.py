"""Where the agent sends what is for a SIP domain: NAPTR, then SRV, then address records (RFC 3263)."""

from __future__ import annotations

import asyncio

import pytest

from sipmikey.agent.config import Sip, Transport
from sipmikey.agent.network.location import Locator
from sipmikey.call.reasons import AgentError, Reason
from tests.name_server import NameServer, Records

ALL = (Transport.UDP, Transport.TCP, Transport.TLS)
NAPTR = [
    '10 50 "s" "SIPS+D2T" "" _sips._tcp.example.com.',
    '20 50 "s" "SIP+D2T" "" _sip._tcp.example.com.',
    '30 50 "s" "SIP+D2U" "" _sip._udp.example.com.',
]


def located(uri: str, records: Records, *transports: Transport, silent: bool = False, **sip: object) -> str:
    with NameServer(records, silent=silent) as server:
        fields = {"transports": transports or ALL, "name_servers": ("127.0.0.1",)}
        settings = Sip(**(fields | sip))  # type: ignore[arg-type]
        return asyncio.run(Locator(settings, port=server.port).located(uri))


@pytest.mark.parametrize(
    ("transports", "suffix"),
    [
        (ALL, ";transport=tls"),
        ((Transport.UDP, Transport.TCP), ";transport=tcp"),
        ((Transport.UDP,), ""),
        ((Transport.TLS,), ";transport=tls"),
    ],
)
def test_the_domains_first_choice_of_our_transports_is_named(
    transports: tuple[Transport, ...], suffix: str
) -> None:
    records: Records = {("example.com", "NAPTR"): NAPTR}
    assert located("sip:bob@example.com", records, *transports) == f"sip:bob@example.com{suffix}"


def test_a_domain_that_takes_tls_only_is_never_called_over_udp() -> None:
    with pytest.raises(AgentError, match=r"takes SIP over tls only.*sip\.transports") as refused:
        located("sip:bob@example.com", {("example.com", "NAPTR"): NAPTR[:1]}, Transport.UDP, Transport.TCP)
    assert refused.value.reason == Reason.TRANSPORT_FAILED
    assert refused.value.side == "local"


def test_records_of_another_domain_choose_nothing() -> None:
    records: Records = {("example.com", "NAPTR"): ['10 50 "s" "SIP+D2U" "" _sip._udp.attacker.example.']}
    assert located("sip:example.com", records, Transport.TLS) == "sip:example.com;transport=tls"


@pytest.mark.parametrize(
    ("service", "suffix"),
    [("_sip._udp", ""), ("_sip._tcp", ";transport=tcp"), ("_sips._tcp", ";transport=tls")],
)
def test_without_naptr_records_a_transport_with_srv_records_is_taken(service: str, suffix: str) -> None:
    records: Records = {(f"{service}.example.com", "SRV"): ["1 1 5060 pbx.example.com."]}
    assert located("sip:example.com", records) == f"sip:example.com{suffix}"


def test_without_any_record_the_stack_decides_and_never_against_the_transports_there_are() -> None:
    assert located("sip:example.com", {}) == "sip:example.com"
    assert located("sip:example.com", {}, Transport.TCP) == "sip:example.com;transport=tcp"
    assert located("sip:example.com", {}, Transport.TLS) == "sip:example.com;transport=tls"


def test_name_servers_that_do_not_answer_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipmikey.agent.network.names._LIFETIME_S", 0.2)
    records: Records = {("example.com", "NAPTR"): NAPTR}
    assert located("sip:example.com", records, silent=True) == "sip:example.com"


def test_a_transport_that_the_user_names_is_not_looked_up() -> None:
    with NameServer({("example.com", "NAPTR"): NAPTR}) as server:
        sip = Sip(transports=ALL, prefer=Transport.TCP, name_servers=("127.0.0.1",))
        locator = Locator(sip, port=server.port)
        assert asyncio.run(locator.located("sip:example.com")) == "sip:example.com"
        assert not locator.asks_about("sip:example.com")
    assert server.asked == []


def test_the_proxy_is_located_or_else_the_registrar() -> None:
    with NameServer({("example.com", "NAPTR"): NAPTR}) as server:

        def found(**servers: str) -> Sip:
            sip = Sip(transports=ALL, name_servers=("127.0.0.1",), **servers)  # type: ignore[arg-type]
            return asyncio.run(Locator(sip, port=server.port).with_servers(sip))

        assert found(registrar="sip:example.com").registrar == "sip:example.com;transport=tls"
        both = found(registrar="sip:example.com", proxy="sip:example.com;lr")
    assert both.proxy == "sip:example.com;lr;transport=tls"
    assert both.registrar == "sip:example.com"
