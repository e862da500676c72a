"""A peer that keys in its own way: baresip, which puts a=crypto into every answer."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from pylibsrtp import Error, Policy, Session

from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.baresip import baresip
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets.capture import Capture


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


@pytest.mark.parametrize("encryption", ["srtp", "srtp-mand"])
def test_a_peer_with_keys_of_its_own_is_called_again_by_sdes_where_policy_names_it(
    capture: Capture, kms: Kms, speech: Path, tmp_path: Path, encryption: str
) -> None:
    """Every packet towards baresip opens under the key in the second INVITE: none is in clear."""
    policy = {"security": "preferred", "alternative": "sdes-without-tls"}
    more = {"policy": policy, "sip": {"transports": ["udp"]}, "keys": {"suites": ["128"]}}
    with (
        baresip(tmp_path / "baresip", user="bob", port=5121, speech=speech, encryption=encryption),
        Agent("alice", settings("alice", kms, peer=5121, **more)) as alice,  # type: ignore[arg-type]
    ):
        number = alice.call(uri("bob"))
        alice.event("media.proven")
        alice.hear(number, 50)
        alice.do("hangup", call=number)
        end = alice.event("call.end")
        assert len(alice.events("policy.alternative")) == 1
    assert (end["security"]["keying"], end["security"]["peer"]) == ("sdes", None)
    offered = capture.fields('sip.Method == "INVITE" && sdp.media_attr contains "crypto"', "sdp.media_attr")
    assert capture.count('sip.Method == "INVITE" && sdp') == 2
    assert len(offered) == 1
    key = re.search(r"AES_CM_128_HMAC_SHA1_80 inline:([A-Za-z0-9+/=]+)", str(offered))
    assert key is not None
    session = Session(policy=Policy(key=base64.b64decode(key[1]), ssrc_type=Policy.SSRC_ANY_INBOUND))
    from_alice = [row for row in capture.rtp() if _port_of(alice, row.source)]
    assert len(from_alice) > 20
    unopened = []
    for row in from_alice:
        try:
            session.unprotect(row.raw)
        except Error as error:
            unopened.append(
                (row.source, row.destination, row.payload_type, row.sequence, len(row.raw), str(error))
            )
    assert not unopened


def _port_of(agent: Agent, port: int) -> bool:
    """True where a port is not one of baresip's: then it is the agent's.

    baresip was given 6121 to 6161, and may take 6120, the even port below, for RTP.
    """
    return not 6120 <= port <= 6162
