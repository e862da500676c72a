"""Registration with digest authentication over UDP, TCP and TLS; several devices; a registrar that goes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.lab.agents import Agent, Failed, settings, wait_until
from tests.interop.lab.kamailio import DOMAIN, Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets import referee
from tests.interop.lab.packets.capture import Capture


def over(proxy: Kamailio, transport: str) -> dict[str, Any]:
    """Settings that reach the proxy by one transport only."""
    port = proxy.tls_port if transport == "tls" else proxy.port
    sip: dict[str, Any] = {
        "transports": [transport],
        "proxy": f"sip:127.0.0.1:{port};transport={transport};lr",
    }
    if transport == "tls":
        return {"sip": sip, "tls": str(proxy.folder / "authority.pem")}
    return {"sip": sip}


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_register_and_call_over(transport: str, capture: Capture, kamailio: Kamailio, kms: Kms) -> None:
    """Both register over it with a digest, and the call between them is shown as that."""
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, **over(kamailio, transport))) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio, **over(kamailio, transport))) as alice,
    ):
        for agent in (bob, alice):
            agent.do("register")
            assert agent.event("reg.ok")["registrar"] == f"sip:{DOMAIN}"
        contact = kamailio.contacts("bob")[0]
        assert ("transport=" + transport in contact.lower()) or transport == "udp"
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        assert alice.do("security", call=number)["signalling"] == transport
        alice.do("hangup", call=number)
        bob.event("call.end")
        bob.do("unregister")
        assert kamailio.contacts("bob") == []
    if transport != "tls":
        assert capture.count("sip.Method == REGISTER && sip.Authorization") >= 3
        assert capture.count("sip.Status-Code == 401") >= 2
        assert referee.sip_faults(capture) == []
    else:
        assert capture.count("sip.Method == INVITE") == 0, "readable SIP"


def test_tls_is_of_version_1_2_or_1_3(capture: Capture, kamailio: Kamailio, kms: Kms) -> None:
    """1.3 where pjsua2's OpenSSL has it; one that has not (the wheel's) sends no list of versions."""
    with Agent("bob", settings("bob", kms, proxy=kamailio, **over(kamailio, "tls"))) as bob:
        bob.do("register")
    names = ("tls.handshake.version", "tls.handshake.extensions.supported_version")
    decoded = ("-d", f"tcp.port=={kamailio.tls_port},tls")
    (hello,) = capture.fields("tls.handshake.type == 1", *names, options=decoded)
    assert hello in (["0x0303", ""], ["0x0303", "0x0304,0x0303"])
    (chosen,) = capture.fields("tls.handshake.type == 2", *names, options=decoded)
    assert chosen == ["0x0303", "0x0304" if hello[1] else ""]


def test_several_devices_under_one_identity(kamailio: Kamailio, kms: Kms) -> None:
    with (
        Agent("desk", settings("bob", kms, proxy=kamailio)) as desk,
        Agent("mobile", settings("bob", kms, proxy=kamailio)) as mobile,
    ):
        for agent in (desk, mobile):
            agent.do("register")
        assert len(kamailio.contacts("bob")) == 2
        desk.do("unregister")
        assert [str(mobile.port) in contact for contact in kamailio.contacts("bob")] == [True]


def test_the_wrong_password_is_a_reason(kamailio: Kamailio, kms: Kms) -> None:
    digest = {"username": "bob", "password": "guess"}
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, digest=digest)) as bob,
        pytest.raises(Failed) as failed,
    ):
        bob.do("register")
    assert failed.value.reason in ("registration-failed", "unauthorized")
    assert failed.value.status in (401, 403)
    assert kamailio.contacts("bob") == []


def test_registration_is_renewed_before_it_ends(kamailio: Kamailio, kms: Kms) -> None:
    with Agent("bob", settings("bob", kms, proxy=kamailio, sip={"registration_expires_s": 7})) as bob:
        bob.do("register")
        first = bob.event("reg.ok")
        assert first["expires_s"] == 7
        start = bob.now
        renewed = bob.event("reg.ok", start=start)
        assert renewed["at"] - first["at"] < 7
        assert len(kamailio.contacts("bob")) == 1


def test_the_registrar_goes_and_comes_back(kamailio: Kamailio, kms: Kms) -> None:
    """Without a registrar registering fails, with a reason; afterwards it works, in the same process."""
    quick = {"timeouts": {"register": 1.0}}
    with Agent("bob", settings("bob", kms, proxy=kamailio, **quick)) as bob:  # type: ignore[arg-type]
        bob.do("register")
        kamailio.stop()
        with pytest.raises(Failed) as failed:
            bob.do("register")
        assert failed.value.reason in ("registration-failed", "transport-failed")
        assert bob.event("reg.fail")["reason"] == failed.value.reason
        kamailio.start()
        wait_until(lambda: _registers(bob), "registration at the registrar that is back")
        assert len(kamailio.contacts("bob")) == 1


def test_a_lost_registrar_is_noticed_and_found_again(kamailio: Kamailio, kms: Kms) -> None:
    """The TCP connection breaks: an event says so, and the agent comes back by itself."""
    sip = {**over(kamailio, "tcp")["sip"], "registration_retry_s": 1}
    with Agent("bob", settings("bob", kms, proxy=kamailio, sip=sip)) as bob:
        bob.do("register")
        start = bob.now
        kamailio.stop()
        lost = bob.event("reg.fail", start=start)
        assert (lost["reason"], lost["side"]) == ("registration-failed", "network")
        start = bob.now
        kamailio.start()
        bob.event("reg.ok", start=start)
        assert len(kamailio.contacts("bob")) == 1


def _registers(agent: Agent) -> bool:
    try:
        agent.do("register")
    except Failed:
        return False
    return True
