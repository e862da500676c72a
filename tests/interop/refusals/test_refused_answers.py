"""Answers that alice, who requires security, must not accept: she hangs up, says why, and sends nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets.capture import Capture, recording
from tests.interop.lab.packets.fields import fields
from tests.interop.lab.peer import Device, SipPeer, plain_sdp
from tests.interop.lab.sip import KEY_MGMT, changed_mikey

SDES = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"
CALLS_OF_AN_AGENT = 10
Change = Callable[[str], str]


@pytest.fixture(scope="module", autouse=True)
def nothing_in_clear(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    """Not one RTP or RTCP packet goes to a peer whose answer is refused."""
    with namespace, recording(tmp_path_factory.mktemp("answers") / "all.pcap") as capture:
        yield capture
        assert capture.count("sip.Method == INVITE") > 0
        assert capture.rtp() == []
        assert capture.rtcp() == []


@pytest.fixture(scope="module")
def peer(nothing_in_clear: Capture) -> Iterator[SipPeer]:
    with SipPeer("bob") as made:
        yield made


@pytest.fixture(scope="module")
def alices(peer: SipPeer, kms: Kms) -> Iterator[Callable[[], Agent]]:
    agents: list[Agent] = []
    uses = 0

    def alice() -> Agent:
        nonlocal uses
        if uses % CALLS_OF_AN_AGENT == 0:
            for agent in agents:
                agent.stop()
            agents.append(Agent("alice", settings("alice", kms, peer=peer.port, sip={"transports": ["udp"]})))
        uses += 1
        return agents[-1]

    yield alice
    for agent in agents:
        agent.stop()


@pytest.fixture
def alice(alices: Callable[[], Agent]) -> Agent:
    return alices()


@pytest.fixture
def device(kms: Kms) -> Iterator[Device]:
    made = Device(kms, "bob", "right")
    yield made
    made.close()


def _mikey(change: Callable[[bytes], bytes]) -> Change:
    """Change the MIKEY message of a description."""

    def apply(sdp: str) -> str:
        return changed_mikey(sdp, change)

    return apply


def _mac_flipped(octets: bytes) -> bytes:
    field = next(field for field in fields(octets) if field.name == "V MAC")
    return octets[: field.end - 1] + bytes((octets[field.end - 1] ^ 1,)) + octets[field.end :]


def _without_key_mgmt(sdp: str) -> str:
    return re.sub(r"a=key-mgmt.*\r\n", "", sdp)


ANSWERS: tuple[tuple[str, Change, str], ...] = (
    ("no key-mgmt", _without_key_mgmt, "key-mgmt-missing"),
    ("its own SDES", lambda sdp: _without_key_mgmt(sdp) + SDES + "\r\n", "key-mgmt-missing"),
    ("plain RTP", lambda sdp: _without_key_mgmt(sdp).replace("SAVP", "AVP"), "media-not-secured"),
    ("plain RTP with key-mgmt", lambda sdp: sdp.replace("SAVP", "AVP"), "media-not-secured"),
    ("twice", lambda sdp: re.sub(r"(a=key-mgmt.*\r\n)", r"\1\1", sdp), "key-mgmt-duplicate"),
    ("no base64", lambda sdp: re.sub("mikey .*", "mikey ?*?", sdp), "key-mgmt-malformed"),
    ("cut", _mikey(lambda octets: octets[:-1]), "malformed-message"),
    ("wrong MAC", _mikey(_mac_flipped), "auth-failure"),
    ("a TRANSFER_INIT", _mikey(lambda octets: octets[:1] + b"\x0e" + octets[2:]), "unexpected-message"),
)


@pytest.mark.parametrize(
    ("change", "reason"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
def test_an_answer_that_must_be_refused(
    alice: Agent, peer: SipPeer, device: Device, change: Change, reason: str
) -> None:
    start, seen = alice.now, len(peer.received)
    number = alice.do("call", uri=uri("bob"))
    invite = peer.request("INVITE", start=seen)
    sdp, keyed = device.answer(invite, caller=uri("alice"))
    assert keyed.peer == uri("alice")
    peer.respond(invite, 200, "OK", tag=device.tag, body=change(sdp))
    with pytest.raises(Failed) as failed:
        alice.do("established", call=number)
    assert failed.value.reason == reason
    _check_hung_up(alice, peer, number, reason, start, seen)


def test_an_answer_without_sdp(alice: Agent, peer: SipPeer) -> None:
    """pjsip hangs up by itself, in words of its own; the call's reason is ours on both stacks."""
    start, seen = alice.now, len(peer.received)
    number = alice.do("call", uri=uri("bob"))
    peer.respond(peer.request("INVITE", start=seen), 200, "OK", tag="silent")
    with pytest.raises(Failed) as failed:
        alice.do("established", call=number)
    assert failed.value.reason == "answer-missing"
    bye = peer.request("BYE", start=seen)
    peer.respond(bye, 200, "OK")
    assert "offer/answer" in bye["Reason"] or "answer-missing" in bye["Reason"]
    assert alice.do("ended", call=number)["reason"] == "answer-missing"
    assert not alice.keys(start=start)


def test_an_answer_to_another_call(alice: Agent, peer: SipPeer, device: Device) -> None:
    """A TRANSFER_RESP that was good in the call before."""
    seen = len(peer.received)
    number = alice.do("call", uri=uri("bob"))
    first = peer.request("INVITE", start=seen)
    old, _ = device.answer(first, caller=uri("alice"))
    peer.respond(first, 486, "Busy Here", tag="busy")
    assert alice.do("ended", call=number)["reason"] == "busy"

    start, seen = alice.now, len(peer.received)
    number = alice.do("call", uri=uri("bob"))
    second = peer.request("INVITE", start=seen)
    peer.respond(second, 200, "OK", tag="replayed", body=old)
    with pytest.raises(Failed) as failed:
        alice.do("established", call=number)
    assert failed.value.reason == "unexpected-message"
    _check_hung_up(alice, peer, number, "unexpected-message", start, seen)


def test_an_answer_reflected(alice: Agent, peer: SipPeer) -> None:
    """The caller's own TRANSFER_INIT comes back as the answer."""
    start, seen = alice.now, len(peer.received)
    number = alice.do("call", uri=uri("bob"))
    invite = peer.request("INVITE", start=seen)
    attribute = KEY_MGMT.search(invite.sdp)
    assert attribute is not None
    body = plain_sdp(9000, profile="RTP/SAVP").replace("m=", attribute.group(0) + "\r\nm=")
    peer.respond(invite, 200, "OK", tag="mirror", body=body)
    with pytest.raises(Failed) as failed:
        alice.do("established", call=number)
    assert failed.value.reason == "unexpected-message"
    _check_hung_up(alice, peer, number, "unexpected-message", start, seen)


def _check_hung_up(alice: Agent, peer: SipPeer, number: str, reason: str, start: int, seen: int) -> None:
    """The 200 is acknowledged, as it must be, and followed by a BYE that says why."""
    peer.request("ACK", start=seen)
    bye = peer.request("BYE", start=seen)
    peer.respond(bye, 200, "OK")
    told = " ".join((*bye.all("Warning"), *bye.all("Reason")))
    assert reason in told, bye.headers
    ended = alice.do("ended", call=number)
    assert ended["reason"] == reason
    assert not alice.keys(start=start)
    assert not alice.events("call.answered", start=start)
