"""The demonstration: it succeeds, its capture holds the call, and each of its checks can fail."""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sipmikey.cli.demo.actor import Actor
from sipmikey.cli.demo.checks import check_call, check_hearing, listen
from sipmikey.cli.demo.command import _judge
from sipmikey.cli.demo.deferred import judge_deferred
from sipmikey.cli.demo.group import judge_group
from sipmikey.cli.demo.modes import MESSAGES
from sipmikey.cli.demo.stage import ASSETS, TALK_S, Performance
from sipmikey.cli.main import main

Document = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(folder: Path) -> Document:
    """Run the demonstration once, as a user does, and return its document."""
    result = subprocess.run(
        [
            sys.executable, "-m", "sipmikey.cli", "demo", "--json", "--pcap", str(folder / "call.pcap"),
            "--keep", str(folder / "kept"),
        ],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert len(lines) == 1, result.stderr
    document: Document = json.loads(lines[0])
    assert result.returncode == 0, [check for check in document["checks"] if not check["ok"]]
    return document


def test_every_check_holds_and_everything_is_in_the_document(shown: Document) -> None:
    assert shown["ok"]
    assert all(check["ok"] for check in shown["checks"])
    assert [message["message"] for message in shown["messages"]] == [
        "REQUEST_INIT", "REQUEST_RESP", "TRANSFER_INIT", "RESOLVE_INIT", "RESOLVE_RESP", "TRANSFER_RESP",
    ]  # fmt: skip
    assert all(message["octets"] > 100 for message in shown["messages"])
    assert shown["ticket"]["initiator"] == "sip:alice@example.com"
    assert shown["ticket"]["responders"] == ["sip:bob@example.com"]
    assert set(shown["phases"]) >= {"KMS ready", "call set up", "talk"}
    for name in ("alice", "bob"):
        assert shown["packets"][name]["decrypted"] >= 40 * TALK_S
    for hearing in shown["speech"]:
        assert hearing["own"]["score"] > 0.8 > 0.4 > hearing["other"]["score"]


def test_no_key_is_in_what_is_shown(shown: Document, folder: Path) -> None:
    text = json.dumps(shown)
    for name in ("alice", "bob"):
        assert (folder / "kept" / f"{name}.psk").read_text().strip() not in text


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed: apt-get install tshark")
def test_the_capture_holds_sip_http_and_srtp_of_both_directions(shown: Document, folder: Path) -> None:
    capture = folder / "call.pcap"
    assert shown["pcap"] == str(capture)
    # Datagrams without a payload are those that an agent sends to itself to end the probation of its SRTP.
    out = subprocess.run(
        ["tshark", "-r", str(capture), "-Y", "not udp.length == 20", "-T", "fields",
         "-e", "_ws.col.Protocol", "-e", "udp.srcport"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    rows = [line.split("\t") for line in out.splitlines()]
    protocols = [row[0] for row in rows]
    assert protocols.count("HTTP") >= 4
    assert any(protocol.startswith("SIP") for protocol in protocols)
    srtp = [row[1] for row in rows if row[0] in ("SRTP", "RTP")]
    assert len(set(srtp)) == 2
    assert all(srtp.count(port) >= 40 * TALK_S for port in set(srtp))
    octets = capture.read_bytes()
    assert b"requesttype=ticketrequest" in octets
    assert b"requesttype=ticketresolve" in octets
    assert b"a=key-mgmt:mikey" in octets
    assert b"a=crypto" not in octets


def told(shown: Document, name: str) -> Actor:
    """Return an actor that told what the document says."""
    actor = Actor.__new__(Actor)
    actor.name = name
    actor.events = [copy.deepcopy(event) for event in shown["events"] if event["process"] == name]
    return actor


def last(actor: Actor, kind: str) -> Document:
    event = actor.last(kind)
    assert event is not None
    return event


def set_of(kind: str, path: str, value: object) -> Callable[[Actor], None]:
    """Return what changes one field of the last event of type *kind*."""

    def change(actor: Actor) -> None:
        *way, name = path.split(".")
        target: Any = last(actor, kind)
        for step in way:
            target = target[int(step) if step.isdigit() else step]
        target[name] = value

    return change


def without(kind: str) -> Callable[[Actor], None]:
    def change(actor: Actor) -> None:
        actor.events = [event for event in actor.events if event["type"] != kind]

    return change


@pytest.mark.parametrize(
    ("who", "change", "fails"),
    [
        ("alice", without("kms.request"), {"messages"}),
        ("bob", set_of("mikey.received", "size", 7), {"TRANSFER_INIT"}),
        ("alice", set_of("mikey.received", "size", 7), {"TRANSFER_RESP"}),
        ("alice", set_of("call.end", "security.peer", "sip:mallory@example.com"), {"alice knows bob"}),
        ("bob", set_of("call.end", "security.peer", None), {"bob knows alice"}),
        ("alice", set_of("call.end", "security.kms", None), {"alice knows bob"}),
        ("bob", set_of("call.end", "security.suite", "AES_CM_128_HMAC_SHA1_32"), {"bob suite"}),
        ("bob", set_of("media.keyed", "send_key", "00000000"), {"keys"}),
        ("alice", without("media.keyed"), {"keys"}),
        ("bob", without("media.proven"), {"bob proven"}),
        ("alice", set_of("stats", "streams.0.decrypted", 3), {"packets bob to alice"}),
        ("alice", set_of("stats", "streams.0.sent", 3), {"packets alice to bob"}),
        ("bob", without("stats"), {"packets alice to bob", "packets bob to alice"}),
    ],
)
def test_each_check_can_fail(
    shown: Document, who: str, change: Callable[[Actor], None], fails: set[str]
) -> None:
    alice, bob = told(shown, "alice"), told(shown, "bob")
    change(alice if who == "alice" else bob)
    checks = check_call(alice, bob, suite="256", seconds=TALK_S, expected=MESSAGES["full"])
    assert {check.name for check in checks if not check.ok} == fails


def test_the_wrong_suite_is_noticed(shown: Document) -> None:
    alice, bob = told(shown, "alice"), told(shown, "bob")
    checks = check_call(alice, bob, suite="128", seconds=TALK_S, expected=MESSAGES["full"])
    assert {check.name for check in checks if not check.ok} == {"alice suite", "bob suite"}


def test_the_wrong_voice_and_silence_are_noticed(shown: Document, folder: Path) -> None:
    heard = folder / "kept" / "bob-heard.wav"
    alice, bob = ASSETS / "alice.wav", ASSETS / "bob.wav"
    assert check_hearing(listen("bob", heard, played_by_peer=alice, played_here=bob)).ok
    assert not check_hearing(listen("bob", heard, played_by_peer=bob, played_here=alice)).ok


def test_what_stops_the_call_is_said_with_its_reason(tmp_path: Path) -> None:
    """The directory exists already: the KMS cannot be made there."""
    (tmp_path / "kept").mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "sipmikey.cli", "demo", "--keep", str(tmp_path / "kept")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 2
    assert "exists" in result.stderr


def test_a_capture_that_cannot_be_written_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--pcap", str(tmp_path / "absent" / "call.pcap")]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["group", "deferred"])
def test_stacks_are_for_calls_only(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--mode", mode, "--stack", "python"]) == 2
    assert f"not for --mode {mode}" in capsys.readouterr().err


def test_a_missing_recording_fails_its_check(shown: Document, tmp_path: Path) -> None:
    show = Performance(folder=tmp_path, started=0.0, alice=told(shown, "alice"), bob=told(shown, "bob"))
    checks, hearings = _judge(show, argparse.Namespace(suite="256", mode="full"), "")
    assert not hearings
    assert {check.name for check in checks if not check.ok} == {"alice heard", "bob heard"}


@pytest.mark.long
@pytest.mark.parametrize("mode", ["full-pk", "kerberos", "otway-rees", "preshared"])
def test_every_mode_is_shown(mode: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sipmikey.cli", "demo", "--json", "--mode", mode],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    document: Document = json.loads(result.stdout)
    assert result.returncode == 0, [check for check in document["checks"] if not check["ok"]]
    assert sorted(message["message"] for message in document["messages"]) == sorted(MESSAGES[mode])
    assert document["mode"] == mode


GROUP_CHECKS = [
    "members", "dave is not let in", "carol is put out", "group keys", "frames of alice", "frames of bob",
]  # fmt: skip


@pytest.mark.long
def test_a_group_talks_in_turn_and_puts_one_out() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sipmikey.cli", "demo", "--mode", "group", "--json"],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    shown = json.loads(result.stdout)
    assert result.returncode == 0, [check for check in shown["checks"] if not check["ok"]]
    assert [check["name"] for check in shown["checks"] if "exit code" not in check["name"]] == [
        *GROUP_CHECKS, "bob heard", "alice heard",
    ]  # fmt: skip
    assert len([check for check in shown["checks"] if "exit code" in check["name"]]) == 4


def test_each_check_of_a_group_can_fail(tmp_path: Path) -> None:
    nothing: Document = {"events": []}
    show = Performance(folder=tmp_path, started=0.0, alice=told(nothing, "alice"), bob=told(nothing, "bob"))
    show.exit_codes = {"alice": 1, "bob": 1, "carol": 0, "dave": 0}
    checks, hearings = judge_group(show)
    assert not any(check.ok for check in checks)
    assert [check.name for check in checks][: len(GROUP_CHECKS)] == GROUP_CHECKS
    assert len(checks) == len(GROUP_CHECKS) + 4 + 2
    assert hearings == []


@pytest.mark.long
def test_a_message_is_left_and_heard(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            sys.executable, "-m", "sipmikey.cli", "demo", "--mode", "deferred", "--json",
            "--keep", str(tmp_path / "kept"),
        ],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    shown = json.loads(result.stdout)
    assert result.returncode == 0, [check for check in shown["checks"] if not check["ok"]]
    assert [check["name"] for check in shown["checks"]] == [
        "nobody answered", "message left", "bob was told", "bob knows alice", "mailbox cannot listen",
        "alice exit code", "bob heard",
    ]  # fmt: skip
    # Each check can fail: without what it judges, it does.
    show = Performance(folder=tmp_path / "kept", started=0.0)
    show.alice, show.bob, show.played = told({"events": []}, "alice"), told({"events": []}, "bob"), {}
    with (tmp_path / "kept" / "mailbox" / "leak").open("wb") as leak:
        leak.write((tmp_path / "kept" / "alice.psk").read_bytes())
    checks, hearings = judge_deferred(show)
    assert [check.name for check in checks if not check.ok] == [
        "nobody answered", "message left", "bob was told", "bob knows alice", "mailbox cannot listen",
    ]  # fmt: skip
    assert hearings[0].own.same
