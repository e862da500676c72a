"""Agents over IPv6, with a build of pjsua2 that has it. Without, the tests are of the error that says so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sipmikey.agent.pjsua.library import has_ipv6
from sipmikey.testing.process import PeerFailed
from sipmikey.testing.stacks import chosen_stacks
from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kamailio import DOMAIN, Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee, srtp
from tests.interop.lab.packets.capture import PROBE_PORT, Capture
from tests.interop.lab.rtpengine import Rtpengine
from tests.interop.lab.speech import compare

HERE = "::1"
PACKETS = 40
WHOLE_SPEECH = 130
AUTH_TAG = 10
WITHOUT_MIKEY = ("--disable-protocol", "mikey")
ENGINES: dict[str, dict[str, Any]] = {
    "native": {"suites": ["256", "128"], "engine": "native"},
    "python": {"suites": ["128"], "engine": "python"},
}


SPEAK_IPV6 = has_ipv6() or set(chosen_stacks().values()) == {"python"}


@pytest.fixture(autouse=True, params=["IPv6" if SPEAK_IPV6 else "no IPv6 in pjsua2: refused"])
def _stack() -> None:
    """The names of the tests say what they were run with."""


def over_ipv6(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test with agents on ::1; a stack without IPv6 must refuse the first at once, with the reason."""

    @functools.wraps(test)
    def run(**given: Any) -> None:
        if SPEAK_IPV6:
            test(**given)
            return
        try:
            test(**given)
        except PeerFailed as refused:
            if "this build of pjsua2 has no IPv6: bind to an IPv4 address" not in str(refused):
                raise
        else:
            # The agents on ::1 were all on the other stack.
            assert "python" in chosen_stacks().values()

    return run


def here(user: str, kms: Kms, **more: Any) -> dict[str, Any]:
    """Settings of an agent on ::1."""
    return settings(user, kms, host=HERE, **more)


def assert_ipv6_only(capture: Capture) -> None:
    """Descriptions are about ::1, and nothing but the lab's own probes was sent over IPv4."""
    said = capture.fields("sdp", "sdp.connection_info", "sdp.owner.address", options=WITHOUT_MIKEY)
    # A description may say so for the session and for each m-line.
    assert {word for row in said for value in row for word in value.split(",")} == {"IN IP6 ::1", "::1"}
    probes = f"udp.port == {PROBE_PORT} || sip.Method == OPTIONS || sip.CSeq.method == OPTIONS"
    assert capture.count(f"ip && !({probes})") == 0


@over_ipv6
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_register_and_call_over(transport: str, capture: Capture, kamailio: Kamailio, kms6: Kms) -> None:
    """Both register with a digest; the call between them is shown as what it goes over."""
    sip = {"transports": [transport], "proxy": kamailio.route(transport, host=HERE)}
    more: dict[str, Any] = {"sip": sip}
    if transport == "tls":
        more["tls"] = str(kamailio.folder / "authority.pem")
    with (
        Agent("bob", here("bob", kms6, proxy=kamailio, **more)) as bob,
        Agent("alice", here("alice", kms6, proxy=kamailio, **more)) as alice,
    ):
        for agent in (bob, alice):
            agent.do("register")
            assert agent.event("reg.ok")["registrar"] == f"sip:{DOMAIN}"
            # The stack in Python listens on TLS only with a certificate.
            if agent.contact != uri(agent.name):
                assert agent.contact.startswith(f"sip:{agent.name}@[::1]:{agent.port}")
        (contact,) = kamailio.contacts("bob")
        assert contact.startswith("sip:bob@[::1]")
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        assert alice.do("security", call=number)["signalling"] == transport
        alice.do("hangup", call=number)
        bob.event("call.end")
        bob.do("unregister")
        assert kamailio.contacts("bob") == []
    if transport != "tls":
        assert capture.count("ipv6 && sip.Method == REGISTER && sip.Authorization") >= 3
        assert referee.sip_faults(capture) == []
        assert_ipv6_only(capture)


@over_ipv6
@pytest.mark.parametrize("engine", list(ENGINES))
def test_speech_arrives_and_only_the_keys_open_it(
    engine: str,
    capture: Capture,
    kamailio: Kamailio,
    kms6: Kms,
    speech: Path,
    other_speech: Path,
    tmp_path: Path,
) -> None:
    at_alice, at_bob = tmp_path / "at-alice.wav", tmp_path / "at-bob.wav"
    more = {
        "audio": {"repeat": False, "engine": ENGINES[engine]["engine"]},
        "keys": {"suites": ENGINES[engine]["suites"]},
        "proxy": kamailio,
    }
    with (
        Agent("bob", here("bob", kms6, play=other_speech, record=at_bob, **more)) as bob,
        Agent("alice", here("alice", kms6, play=speech, record=at_alice, **more)) as alice,
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        facts = alice.do("security", call=number)
        assert (facts["peer"], facts["signalling"]) == (uri("bob"), "tcp")
        alice.hear(number, WHOLE_SPEECH)
        bob.hear(bob.event("call.answered")["call"], WHOLE_SPEECH)
        alice.do("hangup", call=number)
        bob.event("call.end")
        sent = {agent.name: agent.event("stats")["streams"][0]["sent"] for agent in (alice, bob)}
    assert referee.sip_faults(capture) == []
    assert_ipv6_only(capture)
    packets = capture.rtp()
    assert len({packet.ssrc for packet in packets}) == 2, "one stream each way"
    for agent, played, heard in ((alice, speech, at_bob), (bob, other_speech, at_alice)):
        assert compare(played, heard).correlation > 0.8
        key = agent.sending_key()
        stream = srtp.stream_under(packets, key.key, key.salt)
        assert srtp.authentic(stream, key.key, key.salt) == len(stream) == sent[agent.name]
        octets = srtp.decrypt_with_gstreamer(stream, key.key, key.salt, tmp_path)
        assert compare(played, srtp.decode_g711(octets, stream[0].payload_type)).correlation > 0.95
        assert srtp.decrypt_with_gstreamer(stream, bytes(len(key.key)), key.salt, tmp_path) == b""
    reports = [raw for _, _, raw in capture.rtcp()]
    assert reports or engine == "python", "pjmedia reports early, sipmikey.media after five seconds"
    assert all(raw[-AUTH_TAG - 4] & 0x80 for raw in reports), "SRTCP's E flag"


@over_ipv6
def test_hold_and_new_keys_from_either_side(
    capture: Capture, kamailio: Kamailio, kms6: Kms, speech: Path, other_speech: Path
) -> None:
    with (
        Agent("bob", here("bob", kms6, proxy=kamailio, play=other_speech)) as bob,
        Agent("alice", here("alice", kms6, proxy=kamailio, play=speech)) as alice,
    ):
        bob.do("register")
        call = {alice: alice.call(uri("bob"))}
        alice.do("proven", call=call[alice])
        call[bob] = bob.event("call.answered")["call"]
        for one, other in ((alice, bob), (bob, alice)):
            start, at_other = one.now, other.now
            one.do("hold", call=call[one])
            other.event("call.state", state="held", start=at_other)
            one.do("resume", call=call[one])
            other.event("call.state", state="talking", start=at_other)
            one.do("rekey", call=call[one])
            for agent, place in ((one, start), (other, at_other)):
                agent.event("media.rekeyed", start=place)
            for agent in (one, other):
                heard = agent.do("stats", call=call[agent])["streams"][0]["decrypted"]
                agent.hear(call[agent], heard + PACKETS)
        alice.do("hangup", call=call[alice])
        bob.event("call.end")
    assert_ipv6_only(capture)
    assert referee.sip_faults(capture) == []
    packets = capture.rtp()
    for agent in (alice, bob):
        history = agent.keys()
        keys = list(dict.fromkeys(bytes.fromhex(given["send"]) for given in history))
        assert len(keys) == 3
        stream = srtp.stream_under(packets, keys[0][:32], keys[0][32:])
        counts = [srtp.authentic(stream, key[:32], key[32:]) for key in keys]
        assert sum(counts) == len(stream)
        assert all(counts)


@over_ipv6
def test_two_devices_ring_and_one_answers(
    capture: Capture, kamailio: Kamailio, kms6: Kms, speech: Path, other_speech: Path
) -> None:
    ringing = {"proxy": kamailio, "play": other_speech, "incoming": "ring"}
    with (
        Agent("desk", here("bob", kms6, **ringing)) as desk,
        Agent("mobile", here("bob", kms6, **ringing)) as mobile,
        Agent("alice", here("alice", kms6, proxy=kamailio, play=speech)) as alice,
    ):
        for agent in (desk, mobile):
            agent.do("register")
        assert len(kamailio.contacts("bob")) == 2
        number = alice.do("call", uri=uri("bob"))
        rings = {agent: agent.incoming()["call"] for agent in (desk, mobile)}
        mobile.do("answer", call=rings[mobile])
        alice.do("established", call=number)
        alice.do("proven", call=number)
        alice.hear(number, PACKETS)
        assert desk.event("call.end")["reason"] == "cancelled"
        assert not desk.keys()
        assert alice.keys()[-1]["send"] == mobile.keys()[-1]["receive"]
        alice.do("hangup", call=number)
        mobile.event("call.end")
    assert_ipv6_only(capture)
    assert referee.sip_faults(capture) == []


@over_ipv6
@pytest.mark.parametrize(("prefer", "used"), [(None, "tcp"), ("udp", "udp")])
def test_a_large_invite_goes_over_tcp_unless_udp_is_asked_for(
    prefer: str | None, used: str, capture: Capture, kamailio: Kamailio, kms6: Kms
) -> None:
    """pjsip itself moves a request to TCP (RFC 3261 section 18.1.1) over IPv4 only."""
    sip = {"prefer": prefer}
    with (
        Agent("bob", here("bob", kms6, proxy=kamailio, sip=sip)) as bob,
        Agent("alice", here("alice", kms6, proxy=kamailio, sip=sip)) as alice,
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        assert alice.do("security", call=number)["signalling"] == used
        alice.do("hangup", call=number)
        bob.event("call.end")
    sent = {kind: capture.count(f"sip.Method == INVITE && ipv6 && {kind}") for kind in ("udp", "tcp")}
    assert sent.pop(used) >= 3
    assert list(sent.values()) == [0]


@over_ipv6
@pytest.mark.parametrize("bind", ["::1", "::"])
def test_called_without_a_proxy(bind: str, capture: Capture, kms6: Kms) -> None:
    with (
        Agent("bob", here("bob", kms6, sip={"bind": bind})) as bob,
        Agent("alice", here("alice", kms6, peer=bob)) as alice,
    ):
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        alice.do("hangup", call=number)
        bob.event("call.end")
    assert_ipv6_only(capture)


@pytest.mark.pjsua2_only("the Contact of the stack in Python always names TCP")
@over_ipv6
def test_a_contact_that_names_no_transport(capture: Capture, kms6: Kms) -> None:
    """The INVITE goes over TCP to an address given, the rest where Contact says: pjsip can crash on it."""
    with (
        Agent("bob", here("bob", kms6)) as bob,
        Agent("alice", here("alice", kms6)) as alice,
    ):
        number = alice.do("call", uri=uri("bob"), via=f"sip:[{HERE}]:{bob.port}")
        alice.do("established", call=number)
        assert alice.do("security", call=number)["signalling"] == "tcp"
        alice.do("proven", call=number)
        for agent, call in ((alice, number), (bob, bob.event("call.answered")["call"])):
            agent.do("hold", call=call)
            agent.do("resume", call=call)
        alice.do("hangup", call=number)
        bob.event("call.end")
    contacts = capture.fields("sip.Status-Code == 200 && sip.CSeq.method == INVITE", "sip.Contact")
    assert any("transport" not in row[0] for row in contacts)
    assert_ipv6_only(capture)


@over_ipv6
def test_a_public_address_stands_in_brackets(kms6: Kms, network: Namespace) -> None:
    public = {"public_address": "2001:db8::7"}
    with Agent("bob", here("bob", kms6, sip=public)) as bob:
        assert bob.contact == f"sip:bob@[2001:db8::7]:{bob.port}"


@over_ipv6
@pytest.mark.parametrize("caller", ["IPv4", "IPv6"])
def test_a_relay_joins_the_ip_versions(
    caller: str,
    relayed: tuple[Kamailio, Rtpengine],
    capture: Capture,
    kms: Kms,
    speech: Path,
    other_speech: Path,
) -> None:
    """The same call, held and rekeyed, where the proxy leads the media through rtpengine."""
    alice_on, bob_on = ("127.0.0.1", HERE) if caller == "IPv4" else (HERE, "127.0.0.1")
    proxy, _ = relayed
    with (
        Agent("bob", settings("bob", kms, proxy=proxy, host=bob_on, play=other_speech)) as bob,
        Agent("alice", settings("alice", kms, proxy=proxy, host=alice_on, play=speech)) as alice,
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        other = bob.event("call.answered")["call"]
        bob.do("proven", call=other)
        alice.do("hold", call=number)
        alice.do("resume", call=number)
        bob.do("rekey", call=other)
        alice.event("media.rekeyed")
        for agent, call in ((alice, number), (bob, other)):
            heard = agent.do("stats", call=call)["streams"][0]["decrypted"]
            agent.hear(call, heard + PACKETS)
        alice.do("hangup", call=number)
        bob.event("call.end")
    for version, said in (("ip", "IN IP4 127.0.0.1"), ("ipv6", "IN IP6 ::1")):
        rows = capture.fields(f"{version} && sdp", "sdp.connection_info", options=WITHOUT_MIKEY)
        # A description may say so for the session and for each m-line.
        assert {word for row in rows for word in row[0].split(",")} == {said}
    assert referee.sip_faults(capture) == []


@over_ipv6
@pytest.mark.parametrize("caller", ["IPv4", "IPv6"])
def test_without_a_relay_there_is_no_call_between_the_ip_versions(
    caller: str, capture: Capture, kamailio: Kamailio, kms: Kms
) -> None:
    """SIP passes, the proxy has both; of the media's address the callee says that it cannot reach it."""
    alice_on, bob_on = ("127.0.0.1", HERE) if caller == "IPv4" else (HERE, "127.0.0.1")
    with (
        Agent("bob", settings("bob", kms, proxy=kamailio, host=bob_on)) as bob,
        Agent("alice", settings("alice", kms, proxy=kamailio, host=alice_on)) as alice,
    ):
        bob.do("register")
        with pytest.raises(Failed) as failed:
            alice.call(uri("bob"))
        assert (failed.value.reason, failed.value.side) == ("address-family", "remote")
        assert failed.value.status == 488
        assert not alice.keys()
        assert not bob.keys()
        assert bob.event("call.end")["reason"] == "address-family"
    assert capture.rtp() == []
