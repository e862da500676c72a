"""Where no call comes about: a peer that keys in its own way, an INVITE too large, a build without IPv6."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.baresip import baresip
from tests.interop.lab.capture import Capture
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.process import PeerFailed


def test_a_call_that_does_not_fit_is_an_error_that_says_so(capture: Capture, kms: Kms) -> None:
    """pjsip refuses messages over about 4000 bytes; four streams and long names make one."""
    headers = {f"X-Filler-{number}": "x" * 400 for number in range(8)}
    with (
        Agent("alice", settings("alice", kms, peer=9, sip={"headers": headers})) as alice,
        pytest.raises(Failed) as failed,
    ):
        alice.do("established", call=alice.do("call", uri=uri("bob")))
    assert failed.value.reason == "message-too-large"
    assert capture.count("sip.Method == INVITE") == 0


@pytest.mark.parametrize("encryption", ["srtp", "srtp-mand"])
def test_a_peer_that_answers_with_keys_of_its_own_is_hung_up_on(
    capture: Capture, kms: Kms, speech: Path, tmp_path: Path, encryption: str
) -> None:
    """baresip takes our offer and answers with a=crypto: no packet is sent, and it is told why."""
    with (
        baresip(tmp_path / "baresip", user="bob", port=5121, speech=speech, encryption=encryption),
        Agent("alice", settings("alice", kms, peer=5121, sip={"transports": ["udp"]})) as alice,
    ):
        number = alice.do("call", uri=uri("bob"))
        with pytest.raises(Failed) as failed:
            alice.do("established", call=number)
        assert failed.value.reason == "key-mgmt-missing"
        assert alice.do("ended", call=number)["reason"] == "key-mgmt-missing"
        assert not alice.keys()
        from_alice = [row for row in capture.rtp() if _port_of(alice, row.source)]
    assert capture.count('sip.Status-Code == 200 && sdp.media_attr contains "crypto"') >= 1
    assert capture.count("sip.Method == BYE") == 1
    assert from_alice == []


def _port_of(agent: Agent, port: int) -> bool:
    """Whether a port is not one of baresip's, which are 6121 to 6161: then it is the agent's."""
    return not 6121 <= port <= 6161


def test_ipv6_where_the_build_of_pjsua2_has_it(network: Namespace, capture: Capture, kms: Kms) -> None:
    """A call over ::1, or, with a build without IPv6 (the wheel), an error that says just that."""
    over_ipv6 = {"sip": {"bind": "::1"}}
    try:
        bob = Agent("bob", settings("bob", kms, **over_ipv6))
    except PeerFailed as failed:
        said = str(failed)
    else:
        said = ""
    if said:
        assert "this build of pjsua2 has no IPv6" in said
        return
    six = {"sip": {"bind": "::1", "proxy": f"sip:[::1]:{bob.contact.rpartition(':')[2]};lr"}}
    with bob, Agent("alice", settings("alice", kms, **six)) as alice:
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        alice.do("hangup", call=number)
    assert capture.count("ipv6 && sip.Method == INVITE") > 0
