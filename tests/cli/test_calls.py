"""`sipmikey call`, `answer` and `register` as processes: a real KMS, real agents, exit codes, Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from sipmikey.testing import TestKms
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.plugin import forking_proxy as forking_proxy
from tests.agent.processes import running_agent
from tests.cli.commands import ALICE, AS_ALICE, BOB, Options, Start
from tests.cli.commands import command as command
from tests.cli.commands import kms as kms
from tests.cli.commands import kms_server as kms_server
from tests.cli.commands import options as options


def test_a_call_is_proven_secure_and_both_leave_with_0(command: Start, options: Options) -> None:
    bob = command("answer", "--auto", "--once", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    alice = command("call", BOB, "--via", contact, "--duration", "1", "--prefetch", *options(ALICE))
    assert alice.finish() == 0, alice.stderr
    assert bob.finish() == 0, bob.stderr
    for agent, peer in ((alice, BOB), (bob, ALICE)):
        end = agent.last("call.end")
        assert (end["reason"], end["security"]["media"], end["security"]["peer"]) == (
            "hangup",
            "proven",
            peer,
        )
        assert agent.seen[-1]["type"] == "result"
        assert agent.seen[-1]["exit_code"] == 0
        assert all(event["v"] == 1 and "call" in event and event["ts"].endswith("Z") for event in agent.seen)
        assert agent.last("stats")["streams"][0]["decrypted"] > 20
    out = [event["type"] for event in alice.seen]
    assert out.index("kms.response") < out.index("call.out") < out.index("call.answered")


def test_ctrl_c_hangs_up_and_a_secured_call_counts_as_done(command: Start, options: Options) -> None:
    bob = command("answer", "--auto", "--once", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    alice = command("call", BOB, "--via", contact, *options(ALICE))
    alice.until("media.proven")
    bob.until("media.proven")
    alice.process.send_signal(signal.SIGINT)
    assert alice.finish() == 0
    assert alice.last("call.end")["side"] == "local"
    assert bob.finish() == 0
    assert bob.last("call.end")["side"] == "remote"


def test_a_transferred_call_is_stayed_in(command: Start, options: Options, kms: TestKms) -> None:
    """Alice transfers bob to carol and leaves: bob's command lasts as long as his call with carol."""
    carol = command("answer", "--auto", "--once", "--duration", "2", *options("sip:carol@example.com"))
    third = carol.until("agent.ready")["contact"].rpartition("@")[2]
    willing = {"SIPMIKEY_SECURITY_TRANSFER": "true", "SIPMIKEY_SIP_PROXY": f"sip:{third};lr"}
    bob = command("answer", "--auto", "--once", *options(BOB), environment=willing)
    contact = bob.until("agent.ready")["contact"]
    user = kms.user(ALICE)
    alice = {"identity": ALICE, "psk": user.psk, "psk_id": user.psk_id, "kms_url": kms.url}

    async def transfer() -> None:
        async with running_agent(alice) as process:
            process.do("call", uri=BOB, via=contact)
            await process.until(type="call.answered")
            process.do("transfer", call="1", target="sip:carol@example.com")
            assert (await process.until(type="call.end"))["reason"] == "transferred"
            await process.close()

    asyncio.run(transfer())
    assert carol.finish() == 0, carol.stderr
    assert bob.finish() == 0, bob.stderr
    first, second = [event for event in bob.seen if event["type"] == "call.end"]
    assert (first["security"]["peer"], second["security"]["peer"]) == (ALICE, "sip:carol@example.com")
    assert second["security"]["media"] == "proven"
    assert (second["reason"], second["side"]) == ("hangup", "remote"), "until carol hung up"


def test_ctrl_c_while_it_rings_cancels(command: Start, options: Options) -> None:
    bob = command("answer", "--auto", "--once", "--ring", "60", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    alice = command("call", BOB, "--via", contact, *options(ALICE))
    alice.until("call.ringing")
    alice.process.send_signal(signal.SIGINT)
    assert alice.finish() == 130
    assert bob.finish() == 0
    assert bob.last("call.end")["reason"] == "cancelled"


def test_ctrl_c_while_the_kms_is_asked(command: Start, options: Options, kms: TestKms) -> None:
    kms.delay(60)
    alice = command("call", BOB, "--via", "sip:127.0.0.1:9", *options(ALICE, kms_timeout="60"))
    alice.until("kms.request")
    alice.process.send_signal(signal.SIGINT)
    assert alice.finish() == 130


def test_a_call_that_is_declined(command: Start, options: Options) -> None:
    bob = command("answer", "--auto", "--once", "--reject", "486", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    alice = command("call", BOB, "--via", contact, *options(ALICE))
    assert alice.finish() == 1
    assert (alice.seen[-1]["reason"], alice.seen[-1]["status"]) == ("busy", 486)
    assert "busy" in alice.stderr
    assert bob.finish() == 0


def test_a_wrong_key_is_refused_by_the_kms(command: Start, options: Options, tmp_path: Path) -> None:
    words = options(ALICE)
    (tmp_path / "alice.psk").write_text("00" * 32)
    alice = command("call", BOB, "--via", "sip:127.0.0.1:9", *words)
    assert alice.finish() == 4
    assert alice.last("kms.error")["reason"] == alice.seen[-1]["reason"] == "kms-refused"


def test_a_kms_that_is_down_and_one_that_is_slow(command: Start, options: Options, kms: TestKms) -> None:
    kms.shut()
    alice = command("call", BOB, "--via", "sip:127.0.0.1:9", *options(ALICE))
    assert alice.finish() == 4
    assert alice.seen[-1]["reason"] == "kms-unreachable"
    kms.shut(False)
    kms.delay(30)
    alice = command("call", BOB, "--via", "sip:127.0.0.1:9", *options(ALICE, kms_timeout="0.3"))
    assert alice.finish() == 4
    assert alice.seen[-1]["reason"] == "kms-timeout"


def test_a_caller_without_key_management_is_refused(command: Start, options: Options) -> None:
    bob = command("answer", "--auto", "--once", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    carol = command("call", BOB, "--via", contact, *options("sip:carol@example.com", security="off"))
    assert carol.finish() == 6
    assert (carol.seen[-1]["reason"], carol.seen[-1]["status"]) == ("key-mgmt-missing", 488)
    assert bob.finish() == 6
    assert not [event for event in bob.seen if event["type"] == "call.answered"]


def test_nobody_answers_in_time(command: Start, options: Options) -> None:
    bob = command("answer", "--auto", "--once", "--ring", "60", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    alice = command("call", BOB, "--via", contact, *options(ALICE, ring_timeout="0.5"))
    assert alice.finish() == 8
    bob.finish()


def test_a_registrar_that_is_not_there(command: Start, options: Options) -> None:
    words = options(ALICE, registrar="sip:127.0.0.1:9;transport=tcp")
    alice = command("register", "--once", *words)
    assert alice.finish() == 3
    assert alice.seen[-1]["reason"] == "registration-failed"


@pytest.mark.interop
def test_a_registrar_that_takes_us(command: Start, options: Options, forking_proxy: Kamailio) -> None:
    words = options(ALICE, registrar=forking_proxy.uri)
    alice = command("register", "--once", *words)
    assert alice.finish() == 0, alice.stderr
    assert alice.last("reg.ok")["identity"] == ALICE
    bob = command("answer", "--auto", "--once", *options(BOB, registrar=forking_proxy.uri))
    bob.until("agent.ready")
    assert bob.last("reg.ok")["identity"] == BOB
    alice = command("call", BOB, "--duration", "0.5", *options(ALICE, proxy=forking_proxy.uri))
    assert alice.finish() == 0, alice.stderr
    assert bob.finish() == 0, bob.stderr
    assert bob.last("call.end")["security"]["peer"] == ALICE


def test_the_sip_log_is_for_its_owner_and_a_contact_may_be_called_in_clear(
    command: Start, options: Options, tmp_path: Path
) -> None:
    log = tmp_path / "sip.log"
    bob = command("answer", "--auto", "--once", "--sip-log", str(log), *options(BOB, security="off"))
    contact = bob.until("agent.ready")["contact"]
    clear = {"SIPMIKEY_SECURITY_CONTACTS": f"{BOB}=off"}
    words = ("call", BOB, "--via", contact, "--duration", "0.5", *options(ALICE))
    alice = command(*words, environment=clear)
    assert alice.finish() == 0, alice.stderr
    assert alice.last("call.end")["security"]["media"] == "off"
    assert bob.finish() == 0
    assert "RTP/AVP" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_an_address_that_is_not_ours(command: Start) -> None:
    words = ("--security", "off", "--json", "--listen", "203.0.113.5:5060")
    one = command("answer", "--auto", *AS_ALICE, *words)
    assert one.finish() == 3
    assert one.seen[-1]["reason"] == "transport-failed"
    assert "203.0.113.5:5060" in one.stderr


def test_waiting_for_calls_ends_well_with_ctrl_c(command: Start) -> None:
    words = ("--security", "off", "--json", "--null-audio", "--listen", "127.0.0.1:0")
    one = command("answer", "--auto", *AS_ALICE, *words)
    one.until("agent.ready")
    one.process.send_signal(signal.SIGINT)
    assert one.finish() == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["call", BOB], "no identity"),
        (["call", BOB, "--identity", ALICE], "there is no KMS"),
        (["register", "--identity", ALICE, "--security", "off"], "no registrar"),
        (["call", BOB, *AS_ALICE, "--kms", "http://127.0.0.1:9"], "kms.identity is not"),
        (["call", BOB, *AS_ALICE, "--kms", "http://127.0.0.1:9", "--kms-identity", "sip:k@example.com"],
         "no pre-shared key"),
        (["call", BOB, *AS_ALICE, "--security", "off", "--play", "/nonexistent.wav"], "No such file"),
        (["answer", "--reject", "200"], "--reject"),
        (["call", BOB, "--duration", "-1"], "--duration"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(command: Start, words: list[str], said: str) -> None:
    one = command(*words)
    assert one.finish() == 2
    assert said in one.stderr


def test_people_read_text_and_the_ladder(command: Start, options: Options) -> None:
    bob = command("answer", "--auto", "--once", *options(BOB))
    contact = bob.until("agent.ready")["contact"]
    words = [word for word in options(ALICE) if word != "--json"]
    alice = command("call", BOB, "--via", contact, "--duration", "0.5", "--ladder", "-v", *words)
    out, errors = alice.process.communicate(timeout=60)
    assert alice.process.returncode == 0, errors
    assert "| media: SRTP AES_256_CM_HMAC_SHA1_80, proven | peer: sip:bob@example.com" in out
    assert "REQUEST_INIT" in out
    assert "TRANSFER_RESP" in errors, "the ladder"
    assert bob.finish() == 0


def test_without_a_terminal_nobody_is_asked_about_a_call(command: Start) -> None:
    bob = command("answer", *AS_ALICE)
    assert bob.finish() == 2
    assert "--auto" in bob.stderr
