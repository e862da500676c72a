"""IP versions: which descriptions an agent can do with, and what it names over IPv6."""

from __future__ import annotations

import pytest

from sipmikey.agent.config import AgentConfig, Sip, Transport
from sipmikey.agent.pjsua.settings import account_config
from sipmikey.agent.stack import Lane
from sipmikey.call.reasons import Reason, reason_of, side_of, status_of
from sipmikey.sdp.errors import OtherIpVersion
from sipmikey.sdp.ip_version import check_ip_version

IP4, IP6 = "c=IN IP4 192.0.2.1\r\n", "c=IN IP6 2001:db8::1\r\n"
START = "v=0\r\no=- 1 1 IN IP4 host.example\r\ns=-\r\n"
AUDIO, REJECTED = "m=audio 4000 RTP/SAVP 8\r\n", "m=audio 0 RTP/SAVP 8\r\n"


@pytest.mark.parametrize(
    ("sdp", "ipv4", "ipv6"),
    [
        (START + IP4 + AUDIO, True, False),
        (START + IP6 + AUDIO, False, True),
        (START + AUDIO + IP6, False, True),
        (START + IP4 + AUDIO + IP6, False, True),
        (START + IP6 + AUDIO + AUDIO + IP4, False, False),
        (START + IP6 + AUDIO + REJECTED + IP4, False, True),
        (START + AUDIO + IP4 + REJECTED + IP6, True, False),
        (START + IP6 + REJECTED, True, True),
        (START + IP6, True, True),
        (START + AUDIO, True, True),
        (START + "c=IN IP6 host.example\n" + AUDIO, False, True),
        ("", True, True),
    ],
)
def test_a_stream_in_use_is_at_an_address_of_the_own_version(sdp: str, ipv4: bool, ipv6: bool) -> None:
    assert (_fits(sdp, ipv6=False), _fits(sdp, ipv6=True)) == (ipv4, ipv6)


def _fits(sdp: str, *, ipv6: bool) -> bool:
    try:
        check_ip_version(sdp, ipv6=ipv6)
    except OtherIpVersion as error:
        found = reason_of(error), side_of(error), status_of(error)
        return found != (Reason.ADDRESS_FAMILY, "remote", 488)
    return True


@pytest.mark.parametrize(
    ("sip", "route"),
    [
        (Sip(proxy="sip:p"), "sip:p;lr"),
        (Sip(proxy="sip:p", bind="::1"), "sip:p;transport=tcp;lr"),
        (Sip(proxy="sip:p;lr", bind="::"), "sip:p;lr;transport=tcp"),
        (Sip(proxy="sip:p;transport=udp;lr", bind="::1"), "sip:p;transport=udp;lr"),
        (Sip(proxy="sip:p", bind="::1", prefer=Transport.UDP), "sip:p;lr"),
        (Sip(proxy="sip:p", bind="::1", transports=(Transport.UDP,)), "sip:p;lr"),
    ],
)
def test_over_ipv6_a_proxy_is_reached_by_tcp_where_nothing_else_is_said(sip: Sip, route: str) -> None:
    settings = account_config(AgentConfig(identity="sip:a@example.com", sip=sip), Lane.SECURED, None)
    assert list(settings.sipConfig.proxies) == [route]
