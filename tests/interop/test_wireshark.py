"""The Wireshark dissector on a real call: with the keys of the KMS it verifies every message of it."""

from __future__ import annotations

from pathlib import Path

from tests.interop.lab.agents import Agent, settings
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.packets.capture import Capture
from tests.wireshark.agreement import check_dissector


def test_the_messages_of_a_call_are_all_found(capture: Capture, kms: Kms, tmp_path: Path) -> None:
    with (
        Agent("bob", settings("bob", kms)) as bob,
        Agent("alice", settings("alice", kms, peer=bob)) as alice,
    ):
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        alice.do("hangup", call=number)
        bob.event("call.end")
    capture.stop()
    assert check_dissector(capture.path) >= 6
