"""The kit itself: what a failing test leaves, a crashed agent, settings, a proxy of others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sipmikey.mikey.errors import LocalError
from sipmikey.testing import (
    AgentCrashed,
    AgentProcess,
    AgentSettings,
    CallRefused,
    KmsDirectory,
    Stage,
    TestAgent,
    TestFailure,
)
from sipmikey.testing.external import read_users
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.program import run as run_program

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
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(folder)],
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
    with pytest.raises(TypeError, match=r"suits.*did you mean suites\?"):
        call_stage.agent("alice", suits=("128",))
    with pytest.raises(ValueError, match=r"security.*require.*did you mean required\?"):
        call_stage.agent("bob", security="require")


def test_an_event_that_does_not_exist_is_named_at_once(alice: TestAgent) -> None:
    with pytest.raises(TestFailure, match=r"did you mean call\.answered\?"):
        alice.wait_for("call.anwered")


def test_what_to_play_is_chosen_before_the_agent_is_used(alice: TestAgent, voices: dict[str, Path]) -> None:
    alice.play(voices["alice"]).start()
    with pytest.raises(TestFailure, match="before"):
        alice.play(voices["bob"])


def test_a_verb_says_what_happened_instead(alice: TestAgent, bob: TestAgent) -> None:
    alice.call(bob)
    bob.expect_ringing(caller=alice)
    with pytest.raises(
        TestFailure, match=r"no call\.answered within 0\.1 s; the latest events are: .*call\.ringing"
    ) as failed:
        alice.wait_for("call.answered", timeout_s=0.1)
    assert "alice hears that it rings at the other side; bob rings, and nothing has answered" in str(
        failed.value
    )
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
    bob.expect_dtmf("7")
    alice.rekey()
    again = bob.expect_rekeyed()
    assert {again["send_key"], again["receive_key"]}.isdisjoint({first["send_key"], first["receive_key"]})
    alice.hold()
    bob.expect_held()
    alice.resume()
    alice.hangup()
    bob.expect_end()


def test_a_call_is_transferred(call_stage: Stage, alice: TestAgent, carol: TestAgent) -> None:
    bob = call_stage.agent("bob", transfer=True)
    carol.start()
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity=bob)
    command = alice.transfer(carol)
    carol.expect_ringing(caller=bob)
    carol.answer()
    alice.expect_transferred(command)
    bob.follow_transfer()
    bob.expect_secure(identity=carol)
    bob.hangup()
    carol.expect_end()


SHARED = """
import wave

def test_first(alice, bob):
    alice.call(bob)
    bob.expect_ringing(caller=alice)
    bob.answer()
    alice.expect_secure(identity=bob)

def test_second_begins_without_calls_and_faults(alice, bob, switchboard):
    assert not alice.start().events and not bob.start().events and not switchboard.passed
    alice.call(bob)
    bob.expect_ringing()
    bob.reject(486)
    alice.expect_failure(reason="busy")

def test_third_records(call_stage, alice, voices, tmp_path):
    bob = call_stage.agent("bob").record()
    word = tmp_path / "word.wav"
    with wave.open(str(voices["alice"])) as whole, wave.open(str(word), "wb") as first_second:
        first_second.setparams(whole.getparams())
        first_second.writeframes(whole.readframes(whole.getframerate()))
    alice.play(word)
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity=bob)
    alice.expect_played()
    alice.hangup()
    assert bob.heard(word) is not None

def test_fourth_is_told_who_does_not_record(alice, bob, voices):
    alice.call(bob)
    bob.expect_ringing()
    bob.answer()
    alice.expect_secure(identity=bob)
    alice.hangup()
    bob.expect_audio(voices["alice"])
"""


def test_shared_agents_serve_test_after_test(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["sipmikey.testing.plugin"]\n')
    (tmp_path / "test_theirs.py").write_text(SHARED)
    (tmp_path / "pytest.ini").write_text("[pytest]\nshared_agents = true\n")
    done = run_program(
        "-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "t", tmp_path, entry="pytest:main"
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert "bob is shared and does not record: record() before it is used" in done.stdout
    started = list((tmp_path / "t").glob("agents0/*.log"))
    assert len(started) == 2, "alice and bob were started once, and used by three tests"


OWN = """
def test_their_phone(alice, phone_under_test, kms):
    assert alice.identity == "sip:alice@example.net"
    assert kms.identity == "sip:kms@example.net"
    alice.call(phone_under_test)
    alice.expect_secure(identity=phone_under_test)
    alice.hangup()

def test_their_kms_cannot_be_slow(kms):
    kms.delay(1)

def test_mallory_is_not_in_the_list(call_stage):
    call_stage.agent("mallory")
"""


def test_a_phone_a_proxy_and_a_kms_of_ones_own(tmp_path: Path) -> None:
    """The others are of the kit too: another KMS, Kamailio where there is one, and an agent that answers."""
    with KmsDirectory(tmp_path / "kms", identity="sip:kms@example.net") as theirs:
        alice, bob = (theirs.add(f"sip:{name}@example.net") for name in ("alice", "bob"))
        (tmp_path / "alice.psk").write_text(alice.psk)
        (tmp_path / "users.toml").write_text(
            '["sip:alice@example.net"]\npsk_id = "alice"\npsk_file = "alice.psk"\n'
        )
        phone = AgentSettings(
            identity=bob.identity, kms=theirs.identity, kms_url=theirs.url, psk=bob.psk, psk_id=bob.psk_id
        )
        process = AgentProcess("bob", phone.document() | {"incoming": "answer"})
        try:
            (tmp_path / "conftest.py").write_text('pytest_plugins = ["sipmikey.testing.plugin"]\n')
            (tmp_path / "test_own.py").write_text(OWN)
            done = run_program(
                "-q", "-p", "no:cacheprovider", "--call-kms", theirs.url,
                "--call-kms-identity", theirs.identity, "--call-users", tmp_path / "users.toml",
                "--call-domain", "example.net", "--call-phone", bob.identity,
                "--call-phone-via", process.contact, "--call-artifacts", tmp_path / "kept",
                "-c", "/dev/null", "--rootdir", tmp_path, tmp_path,
                entry="pytest:main",
            )  # fmt: skip
        finally:
            process.stop()
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "the KMS is your own" in done.stdout
    assert "sip:mallory@example.net is not in the list of users" in done.stdout


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('["sip:a@example.net"]\npsk_id = "a"\n', "needs psk_id and psk_file"),
        ('["sip:a@example.net"]\npsk_id = "a"\npsk_file = "a"\npsk = "b"\n', "psk; allowed: password"),
        ('["sip:a@example.net"]\npsk_id = 7\npsk_file = "a"\n', "psk_id: a text"),
        ('["sip:a@example.net"]\npsk_id = "a"\npsk_file = "a"\n', "No such file"),
        ("[", "users.toml"),
    ],
)
def test_a_list_of_users_that_is_wrong_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "users.toml").write_text(text)
    with pytest.raises(LocalError, match=wrong):
        read_users(tmp_path / "users.toml")


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
