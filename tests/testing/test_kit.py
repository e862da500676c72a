"""The kit itself: what a failing test leaves, a crashed agent, settings, a proxy of others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sipmikey.testing import AgentCrashed, CallRefused, Stage, TestAgent, TestFailure
from sipmikey.testing.kamailio import Kamailio

SUITE = """
import os
import signal

def test_an_agent_dies_and_a_verb_notices(alice, bob):
    alice.call(bob)
    bob.expect_ringing()
    os.kill(bob.process.child.pid, signal.SIGABRT)
    bob.answer()

def test_an_agent_dies_and_no_verb_notices(alice):
    alice.start()
    alice.process.child.kill()
    alice.process.child.wait()

def test_another_one_goes_on(alice, bob):
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity=bob)
    alice.hangup()

def test_something_else_was_expected(alice, bob):
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity="sip:carol@example.com")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run a test suite of a user's, with failures, and return its directory and output."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "conftest.py").write_text('pytest_plugins = ["sipmikey.testing.plugin"]\n')
    (folder / "test_theirs.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(folder)],
        capture_output=True, text=True, timeout=240, cwd=folder,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout + result.stderr
    return folder, result.stdout


def test_a_crashed_agent_fails_its_test_with_the_reason_and_not_the_run(run: tuple[Path, str]) -> None:
    _, out = run
    assert "AgentCrashed: the agent bob killed by SIGABRT" in out
    assert "the agent alice killed by SIGKILL" in out
    summary = out.strip().splitlines()[-1]
    assert "3 failed, 1 passed" in summary or "2 failed, 2 passed, 1 error" in summary
    assert "test_another_one_goes_on" not in out


def test_what_was_expected_instead_is_said(run: tuple[Path, str]) -> None:
    assert "alice: the KMS vouches for sip:bob@example.com, not for sip:carol@example.com" in run[1]


def test_a_failed_test_leaves_everything_about_its_call(run: tuple[Path, str]) -> None:
    folder, out = run
    kept = folder / "call-artifacts" / "test_theirs.py-test_something_else_was_expected"
    assert f"kept in {kept.relative_to(folder)}" in out
    names = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert {"ladder.txt", "events.jsonl", "sip.txt", "alice/alice.log", "bob/bob-heard.wav"} <= names
    ladder = (kept / "ladder.txt").read_text()
    assert "-> :" in ladder
    assert "INVITE sip:bob@example.com" in ladder
    assert "media.proven" in ladder
    events = [json.loads(line) for line in (kept / "events.jsonl").read_text().splitlines()]
    assert {event["agent"] for event in events} == {"alice", "bob"}
    assert events == sorted(events, key=lambda event: event["at"])
    assert "call.answered" in {event["type"] for event in events}
    passed = (kept / "sip.txt").read_bytes()
    assert passed.count(b"a=key-mgmt:mikey ") == 2
    assert max(len(line) for line in passed.splitlines() if line.startswith(b"a=key-mgmt")) < 50
    if "capture.pcap" in names:
        assert b"a=key-mgmt:mikey" in (kept / "capture.pcap").read_bytes()


def test_a_test_that_passed_leaves_nothing(run: tuple[Path, str]) -> None:
    kept = {path.name for path in (run[0] / "call-artifacts").iterdir()}
    assert not any("goes_on" in name for name in kept)
    assert len(kept) == 3


def test_settings_that_do_not_exist_are_named(call_stage: Stage) -> None:
    with pytest.raises(TypeError, match="suits"):
        call_stage.agent("alice", suits=("128",))


def test_what_to_play_is_chosen_before_the_agent_is_used(alice: TestAgent, voices: dict[str, Path]) -> None:
    alice.play(voices["alice"]).start()
    with pytest.raises(TestFailure, match="before"):
        alice.play(voices["bob"])


def test_a_verb_says_what_happened_instead(alice: TestAgent, bob: TestAgent) -> None:
    alice.call(bob)
    bob.expect_ringing(caller=alice)
    with pytest.raises(
        TestFailure, match=r"no call\.answered within 0\.1 s; the latest events are: .*call\.ringing"
    ):
        alice.wait_for("call.answered", timeout_s=0.1)
    bob.reject(486)
    with pytest.raises(CallRefused) as caught:
        alice.expect_established()
    assert (caught.value.reason, caught.value.status, caught.value.side) == ("busy", 486, "remote")


def test_several_calls_of_one_agent(alice: TestAgent, bob: TestAgent, voices: dict[str, Path]) -> None:
    """Calls in quick succession are paced, so that the agent survives them."""
    bob.play(voices["bob"])
    for _ in range(3):
        alice.call(bob)
        bob.expect_ringing()
        bob.answer()
        alice.expect_secure(identity=bob)
        alice.hangup()
        bob.expect_end()
    assert len(alice.all("call.end")) == 3
    assert not alice.heard(voices["alice"]).same


def test_what_can_be_done_within_a_call(alice: TestAgent, bob: TestAgent) -> None:
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity=bob)
    bob.expect_secure(identity=alice)
    first = bob.wait_for("media.keyed")
    alice.dtmf("7")
    bob.wait_for("dtmf.received", digit="7")
    alice.rekey()
    again = bob.wait_for("media.rekeyed")
    assert {again["send_key"], again["receive_key"]}.isdisjoint({first["send_key"], first["receive_key"]})
    alice.hold()
    alice.resume()
    alice.hangup()
    bob.expect_end()


def test_a_wrong_recording_is_no_audio(alice: TestAgent, bob: TestAgent, voices: dict[str, Path]) -> None:
    alice.play(voices["alice"])
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure()
    alice.hangup()
    with pytest.raises(TestFailure, match=r"bob did not hear bob\.wav: correlation"):
        bob.expect_audio(voices["bob"])


@pytest.mark.interop
def test_kamailio_forks_to_every_device(call_stage: Stage, forking_proxy: Kamailio) -> None:
    through = {"proxy": forking_proxy.uri, "registrar": forking_proxy.uri}
    alice = call_stage.agent("alice", proxy=forking_proxy.uri)
    desk, mobile = call_stage.agent("bob", **through).start(), call_stage.agent("bob", **through).start()
    alice.call(mobile)
    for device in (desk, mobile):
        device.expect_ringing(caller=alice)
    mobile.answer()
    alice.expect_secure(identity=mobile)
    desk.expect_end(reason="cancelled")
    alice.hangup()


def test_the_class_of_a_crash_is_a_failure() -> None:
    assert issubclass(AgentCrashed, AssertionError)
