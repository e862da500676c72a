"""The phones of `examples/stacks`: both roles on SIP stacks of others, by the public call machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipmikey.testing import Stage, TestKms
from sipmikey.testing.kamailio import Kamailio
from tests.stacks.phones import STACKS, Phone, forking

BOB = "sip:bob@example.com"


@pytest.mark.parametrize("stack", STACKS)
def test_a_phone_is_called_held_rekeyed_and_hung_up(call_stage: Stage, tmp_path: Path, stack: str) -> None:
    alice = call_stage.agent("alice", proxy=None, suites=("128",))
    with Phone(stack, call_stage.kms, tmp_path, "bob") as bob:
        alice.call(BOB, via=bob.uri)
        facts = alice.expect_secure(identity=BOB, suite="128")
        assert facts["kms"] == call_stage.kms.identity
        bob.wait_for("media.proven")
        alice.hold()
        alice.resume()
        alice.rekey()
        bob.wait_for("media.rekeyed")
        alice.hangup()
        assert bob.finish() == 0


@pytest.mark.interop
@pytest.mark.parametrize("stack", STACKS)
def test_a_phone_calls_through_kamailio_which_forks(
    call_stage: Stage, forking_proxy: Kamailio, tmp_path: Path, stack: str
) -> None:
    settings = {"proxy": forking_proxy.uri, "registrar": forking_proxy.uri, "suites": ("128",)}
    desk, mobile = call_stage.agent("bob", **settings).start(), call_stage.agent("bob", **settings).start()
    via = f"sip:bob@127.0.0.1:{forking_proxy.port}"
    with Phone(stack, call_stage.kms, tmp_path, "alice", BOB, "--via", via, "--seconds", 60) as alice:
        desk.expect_ringing()
        mobile.expect_ringing()
        mobile.answer()
        mobile.expect_secure(identity="sip:alice@example.com")
        desk.expect_end(reason="cancelled")
        alice.wait_for("media.proven")
        mobile.rekey()
        alice.wait_for("media.rekeyed")
        mobile.hangup()
        assert alice.finish() == 0
        assert f"fork.committed {BOB}" in alice.lines


@pytest.mark.parametrize("stack", STACKS)
def test_of_two_answers_one_has_the_call_and_the_other_is_ended(
    kms: TestKms, tmp_path: Path, stack: str
) -> None:
    with (
        Phone("sipua", kms, tmp_path, "bob") as desk,
        Phone("sippy", kms, tmp_path, "bob") as mobile,
        forking(desk.port, mobile.port) as proxy,
    ):
        via = f"sip:bob@127.0.0.1:{proxy}"
        with Phone(stack, kms, tmp_path, "alice", BOB, "--via", via, "--seconds", 1) as alice:
            assert alice.finish() == 0
        assert sorted((desk.finish(), mobile.finish())) == [0, 1], "one has proven media, one was ended"
        assert sum("fork.committed" in line for line in alice.lines) == 1
        assert sum("media.keyed" in line for line in alice.lines) == 1


@pytest.mark.parametrize("stack", STACKS)
def test_a_call_in_clear_is_refused(call_stage: Stage, tmp_path: Path, stack: str) -> None:
    carol = call_stage.agent("carol", proxy=None, security="off", kms_url="")
    with Phone(stack, call_stage.kms, tmp_path, "bob") as bob:
        carol.call(BOB, via=bob.uri)
        carol.expect_failure(reason="media-not-secured", status=488)
        assert bob.finish() == 1
        assert any("media-not-secured" in line for line in bob.lines)
