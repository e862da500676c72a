"""Messages that are left, groups, and the modes of RFC 6043."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.testing import CallRefused, Stage, TestAgent


def test_a_message_is_left_for_somebody_who_is_not_there(
    alice: TestAgent, bob: TestAgent, words: dict[str, Path]
) -> None:
    alice.leave_message(bob, words["alice"])
    bob.expect_message(sender=alice, audio=words["alice"])


def test_only_members_hear_a_message_for_a_group(
    call_stage: Stage, alice: TestAgent, bob: TestAgent, carol: TestAgent, words: dict[str, Path]
) -> None:
    desk = call_stage.group("desk", alice, bob)
    alice.leave_message(desk.identity, words["alice"])
    with pytest.raises(CallRefused, match="kms-refused"):
        carol.expect_message(box=desk.identity)
    bob.expect_message(sender=alice, box=desk.identity)


def test_two_talk_in_a_group_and_one_is_put_out(
    call_stage: Stage, alice: TestAgent, bob: TestAgent, carol: TestAgent, words: dict[str, Path]
) -> None:
    talk = call_stage.group("talk", alice, bob, carol)
    alice.open_group(talk)
    bob.join_group(talk)
    carol.join_group(talk)
    alice.talk(words["alice"])
    bob.expect_speech(words["alice"])
    bob.talk(words["bob"])
    alice.expect_speech(words["bob"])
    talk.remove(carol)
    alice.rekey_group()
    carol.expect_out(reason="kms-refused")


def test_one_that_is_not_a_member_is_not_let_in(call_stage: Stage, alice: TestAgent, bob: TestAgent) -> None:
    talk = call_stage.group("talk", alice)
    alice.open_group(talk)
    bob.expect_not_let_in(talk, reason="kms-refused")


@pytest.mark.parametrize(
    ("mode", "without_kms"),
    [("full", ""), ("kerberos", "bob"), ("otway-rees", "alice"), ("preshared", "alice bob")],
)
def test_a_call_in_each_mode_needs_the_kms_as_the_rfc_says(
    call_stage: Stage, alice: TestAgent, bob: TestAgent, mode: str, without_kms: str
) -> None:
    call_stage.set_mode(mode, caller=alice, callee=bob)
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity=bob)
    bob.expect_secure(identity=alice)
    alice.hangup()
    for agent in (alice, bob):
        assert not (agent.name in without_kms and agent.all("kms.request"))
