"""SIPp as a peer that follows its scenario to the letter, whatever we make of it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.interop.lab import sipp
from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets.capture import Capture

SIPP_PORT = 5090
GARBAGE = {
    "empty": "",
    "one octet": base64.b64encode(b"\x01").decode(),
    "zeros": base64.b64encode(bytes(200)).decode(),
    "ones": base64.b64encode(b"\xff" * 200).decode(),
    "a header alone": base64.b64encode(bytes.fromhex("010e0001000000010001")).decode(),
    "promising more": base64.b64encode(bytes.fromhex("010e0501000000010202" + "01" * 20)).decode(),
    "a REQUEST_INIT": base64.b64encode(bytes.fromhex("010b05810000000100010000") + bytes(40)).decode(),
    "half a quantum": "AQ4FgQ",
    "letters beyond ASCII": "AQ4FgÄÖÜ==",
    "3000 letters": "A" * 3000,
}


def _hung_up_on(status: str, body: str) -> str:
    """A callee that answers with *body* and must then be acknowledged and hung up on."""
    return sipp.scenario(
        sipp.receive("INVITE"),
        sipp.respond("180 Ringing"),
        sipp.respond(status, body=body),
        sipp.receive("ACK"),
        sipp.receive("BYE"),
        sipp.respond("200 OK", dialog=True),
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (sipp.sdp(), "key-mgmt-missing"),
        (sipp.sdp(media="[media_port] RTP/AVP 8"), "media-not-secured"),
        (sipp.sdp(attributes=["key-mgmt:mikey AAAA"]), "malformed-message"),
        (sipp.sdp(attributes=["key-mgmt:mikey"]), "key-mgmt-malformed"),
    ],
    ids=["no attribute", "plain RTP", "three zero octets", "no data"],
)
def test_an_answer_from_sipp_is_hung_up_on(
    capture: Capture, kamailio: Kamailio, kms: Kms, tmp_path: Path, body: str, reason: str
) -> None:
    kamailio.bind("bob", f"sip:bob@127.0.0.1:{SIPP_PORT}")
    with (
        sipp.Sipp(tmp_path, _hung_up_on("200 OK", body), port=SIPP_PORT) as callee,
        Agent("alice", settings("alice", kms, proxy=kamailio)) as alice,
    ):
        with pytest.raises(Failed) as failed:
            alice.do("established", call=alice.do("call", uri=uri("bob")))
        assert failed.value.reason == reason
        callee.finish()
        assert not alice.keys()
    assert capture.rtp() == []


@pytest.mark.parametrize("octets", list(GARBAGE.values()), ids=list(GARBAGE))
def test_garbage_from_sipp_is_refused(capture: Capture, kms: Kms, tmp_path: Path, octets: str) -> None:
    """Each ends with a 4xx that says why, at once, and leaves the agent as it was."""
    body = sipp.sdp(attributes=[f"key-mgmt:mikey {octets}".rstrip()])
    caller = sipp.scenario(
        "<send><![CDATA[\nINVITE sip:bob@[remote_ip]:[remote_port] SIP/2.0\n"
        "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70\n"
        f"From: <{uri('alice')}>;tag=[pid]\nTo: <{uri('bob')}>\nCall-ID: [call_id]\nCSeq: 1 INVITE\n"
        "Contact: <sip:alice@[local_ip]:[local_port]>\nContent-Type: application/sdp\n"
        f"Content-Length: [len]\n\n{body}\n]]></send>",
        '<recv response="100" optional="true"/>',
        '<recv response="400" optional="true" next="refused"/>',
        '<recv response="488"/>',
        '<label id="refused"/>',
        "<send><![CDATA[\nACK sip:bob@[remote_ip]:[remote_port] SIP/2.0\n"
        "[last_Via:]\n[last_From:]\n[last_To:]\n"
        "Call-ID: [call_id]\nCSeq: 1 ACK\nContent-Length: 0\n\n]]></send>",
    )
    with Agent("bob", settings("bob", kms, sip={"transports": ["udp"]})) as bob:
        with sipp.Sipp(tmp_path, caller, port=SIPP_PORT, target=f"127.0.0.1:{bob.port}") as peer:
            peer.finish()
        assert not bob.events("kms.request"), "the KMS is not bothered with it"
        assert bob.running
    assert capture.rtp() == []
