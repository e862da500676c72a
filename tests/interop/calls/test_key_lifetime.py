"""The ticket's rekeying interval (TRr) where one side may not rekey, or the other does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.lab.agents import MOST_LOST, Agent, Failed, settings
from tests.interop.lab.kamailio import Kamailio
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.peer import Device, SipPeer
from tests.interop.lab.talker import Talker

INTERVAL_S = 2
POLICY = f"""
[[rule]]
name = "everybody"
from = ["*"]
to = ["*"]
decision = "allow"

[limits.default]
max_rekeying_interval_s = {INTERVAL_S}
flags = {{ initiator_keys = "forced-off" }}
"""


@pytest.fixture(scope="module")
def strict_kms(namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kms]:
    """A KMS whose tickets demand new keys every two seconds, and only of the callee."""
    made = Kms(tmp_path_factory.mktemp("strict") / "kms")
    for user in ("alice", "bob"):
        made.add_user(user)
    made.set_policy(POLICY)
    with namespace, made:
        yield made


def test_the_callee_rekeys_where_the_caller_may_not(
    kamailio: Kamailio, strict_kms: Kms, speech: Path, other_speech: Path
) -> None:
    """L is 0: rekeying is refused here with a reason, and done by the callee in time."""
    with (
        Agent("bob", settings("bob", strict_kms, proxy=kamailio, play=other_speech)) as bob,
        Agent("alice", settings("alice", strict_kms, proxy=kamailio, play=speech)) as alice,
    ):
        bob.do("register")
        number = alice.call(uri("bob"))
        with pytest.raises(Failed) as failed:
            alice.do("rekey", call=number)
        assert (failed.value.reason, failed.value.side) == ("policy", "local")
        for _ in range(2):
            start = alice.now
            alice.event("media.rekeyed", start=start)
            assert alice.event("media.switched", start=start)["lost"] <= MOST_LOST
        assert not alice.events("media.expired")
        alice.do("hangup", call=number)


def test_old_keys_are_not_used_when_nobody_replaces_them(
    capture: Capture, kamailio: Kamailio, strict_kms: Kms, speech: Path
) -> None:
    """A callee who should rekey and does not: when the interval is over, alice ends the call and says why."""
    device = Device(strict_kms, "bob", "desk")
    with (
        SipPeer("bob") as peer,
        Agent("alice", settings("alice", strict_kms, proxy=kamailio, play=speech)) as alice,
    ):
        kamailio.bind("bob", peer.contact)
        number = alice.do("call", uri=uri("bob"))
        bob = Talker(peer, device, kamailio)
        bob.accept()
        alice.do("established", call=number)
        expired = alice.event("media.expired")
        assert (expired["reason"], expired["index"]) == ("key-expired", 0)
        bye = peer.request("BYE")
        assert "key-expired" in bye["Reason"]
        peer.respond(bye, 200, "OK")
        assert alice.do("ended", call=number)["reason"] == "key-expired"
        assert len(alice.keys()) == 1
    device.close()
    assert capture.rtp(destination=device.port)
