"""Ten call tests. Each reads as a tester would tell it; the fixtures come from `sipmikey.testing.plugin`.

Run them with `pytest examples/call_tests`, or in parallel with `pytest examples/call_tests -n 2`.
"""

from __future__ import annotations

from pathlib import Path

from sipmikey.testing import Stage, Switchboard, TestAgent, TestKms, faults


def test_a_call_is_protected_and_the_kms_vouches_for_both_ends(alice: TestAgent, bob: TestAgent) -> None:
    alice.call(bob)
    bob.expect_ringing(caller=alice)
    alice.expect_ringback()
    bob.answer()
    alice.expect_secure(identity=bob, suite="256")
    bob.expect_secure(identity=alice, suite="256")
    alice.hangup()
    bob.expect_end(reason="hangup")


def test_speech_arrives_both_ways(alice: TestAgent, bob: TestAgent, voices: dict[str, Path]) -> None:
    alice.play(voices["alice"])
    bob.play(voices["bob"])
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure()
    alice.expect_played()
    bob.expect_played()
    bob.hangup()
    bob.expect_audio(voices["alice"])
    alice.expect_audio(voices["bob"])
    assert not bob.heard(voices["bob"]).same, "bob must not hear himself"


def test_the_128_bit_suite(call_stage: Stage, bob: TestAgent) -> None:
    alice = call_stage.agent("alice", suites=("128",))
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity=bob, suite="128")
    bob.expect_secure(identity=alice, suite="128")
    alice.hangup()


def test_a_fork_rings_both_devices_and_only_the_one_that_answers_has_keys(
    alice: TestAgent, call_stage: Stage
) -> None:
    desk, mobile = call_stage.agent("bob"), call_stage.agent("bob")
    desk.start()
    alice.call(mobile)
    desk.expect_ringing(caller=alice)
    mobile.expect_ringing(caller=alice)
    mobile.answer()
    alice.expect_secure(identity=mobile)
    mobile.expect_secure(identity=alice)
    desk.expect_end(reason="cancelled")
    alice.hangup()


def test_of_two_answers_one_call_remains(
    alice: TestAgent, call_stage: Stage, switchboard: Switchboard
) -> None:
    switchboard.let_all_answer = True
    desk, mobile = call_stage.agent("bob"), call_stage.agent("bob")
    desk.start()
    alice.call(mobile)
    desk.expect_ringing()
    mobile.expect_ringing()
    desk.answer()
    alice.expect_secure(identity=desk)
    mobile.answer()
    mobile.expect_end()
    assert not desk.all("call.end"), "the first answer keeps the call"
    alice.hangup()
    desk.expect_end()


def test_a_wrong_mac_is_refused_before_anything_rings(
    alice: TestAgent, bob: TestAgent, switchboard: Switchboard
) -> None:
    switchboard.misbehave(faults.bad_mac)
    alice.call(bob)
    alice.expect_failure(reason="auth-failure", status=488)
    assert not bob.all("kit.ringing")


def test_a_replayed_message_is_refused(alice: TestAgent, bob: TestAgent, switchboard: Switchboard) -> None:
    switchboard.misbehave(faults.replay())
    alice.call(bob)
    bob.expect_ringing()
    bob.reject(486)
    alice.expect_failure(reason="busy", status=486)
    alice.call(bob)
    alice.expect_failure(reason="replayed-message", status=488)


def test_a_stripped_line_is_no_call_in_clear(
    alice: TestAgent, bob: TestAgent, switchboard: Switchboard
) -> None:
    switchboard.misbehave(faults.strip_line)
    alice.call(bob)
    alice.expect_failure(reason="key-mgmt-missing", status=488)
    assert not bob.all("kit.ringing")


def test_a_wrong_clock_is_named(call_stage: Stage, bob: TestAgent) -> None:
    alice = call_stage.agent("alice", clock_offset_s=3600.0)
    alice.call(bob)
    alice.expect_failure(reason="kms-refused", detail="invalid-timestamp")


def test_a_slow_kms_ends_the_call_in_time(call_stage: Stage, bob: TestAgent, kms: TestKms) -> None:
    alice = call_stage.agent("alice", kms_timeout_s=0.5)
    kms.delay(30)
    alice.call(bob)
    alice.expect_failure(reason="kms-timeout")
