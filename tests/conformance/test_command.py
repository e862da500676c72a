"""`sipmikey conformance` and `sipmikey vectors serve`, over HTTP and SIP."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sipmikey.cli.main import main
from sipmikey.conformance.broken import agent as broken_agent
from sipmikey.conformance.broken import kms as broken_kms
from sipmikey.testing.kms import TestKms
from sipmikey.testing.program import COMMAND, Program
from tests.conformance.parties import KEYS

LOCAL = "127.0.0.1"
SIPMIKEY = (sys.executable, "-m", "sipmikey.cli")

OF_REAL_AGENT = (
    "answer-*", "offer-*", "resolve-*", "rejected-*", "plain-accepted", "otway-rees-accepted",
    "kerberos-*", "preshared-*", "update-accepted", "update-again",
)  # fmt: skip
"""What the real user agent is tested for; the one of the suite is tested for everything, without SIP."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A KMS and a user agent that misbehave on request, and what they said of themselves."""
    folder = tmp_path_factory.mktemp("certificates")
    words = (
        "vectors", "serve", "--json", "--domain", LOCAL, "--kms", f"{LOCAL}:0", "--agent", f"{LOCAL}:0",
        "--certificates", str(folder),
    )  # fmt: skip
    process = Program(COMMAND, *words, text=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline()) | {"certificates": str(folder)}
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    process.close()


def words(*roles: str, domain: str = LOCAL) -> list[str]:
    named = {"initiator": "alice", "responder": "bob", "stranger": "carol"}
    found = []
    for role in roles:
        name = named[role]
        found += [f"--{role}", f"sip:{name}@{domain}", f"--{role}-psk", KEYS[name].hex()]
        found += [f"--{role}-psk-id", name]
    return found


def certificates(served: dict[str, str]) -> list[str]:
    folder = Path(served["certificates"])
    return [
        word
        for role, name in (
            ("kms", "kms"),
            ("initiator", "alice"),
            ("responder", "bob"),
            ("revoked", "revoked"),
        )
        for word in (f"--{role}-cert", str(folder / f"{name}.pem"))
    ]


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[dict]]:
    code = main(["conformance", "--json", *argv])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_kms_that_keeps_all(
    served: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "kms.xml"
    people = words("initiator", "responder", "stranger") + certificates(served)
    code, documents = run(capsys, "--kms", served["kms"], *people, "--junit", str(report))
    assert code == 0
    summary = documents[-1]
    assert summary["met"] == summary["requirements"] == len(documents) - 1
    root = ET.parse(report).getroot()
    assert (root.get("failures"), len(root.findall("testcase"))) == ("0", summary["requirements"])


@pytest.mark.parametrize(
    "broken",
    ["request-resp-mac-alone", "takes-any-time", "resolve-resp-no-idrr", "takes-revoked-certificates"],
)
def test_a_break_is_chosen_by_the_url(
    served: dict[str, str], capsys: pytest.CaptureFixture[str], broken: str, tmp_path: Path
) -> None:
    report = tmp_path / "kms.xml"
    people = words("initiator", "responder") + certificates(served)
    code, documents = run(capsys, "--kms", f"{served['kms']}/{broken}", *people, "--junit", str(report))
    assert code == 1
    assert documents[-1]["broken"] >= 1
    assert int(ET.parse(report).getroot().get("failures", "0")) == documents[-1]["broken"]


def test_a_break_that_is_none_is_not_found(
    served: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    people = words("initiator", "responder")
    code, documents = run(
        capsys, "--kms", f"{served['kms']}/none-such", *people, "--only", "request-answered"
    )
    assert code == 1
    assert "404" in documents[0]["detail"]


def test_the_user_agent_is_called_over_udp(
    served: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks its own KMS, so what the suite's KMS would have to be asked for is not met."""
    patterns = ["--only", "offer-refuses-no-keys", "--only", "offer-refuses-broken-base64"]
    address = served["agent"]
    listen = ["--kms-listen", f"{LOCAL}:0"]
    code, documents = run(capsys, "--agent", address, *words("responder"), *listen, *patterns)
    assert (code, documents[-1]["met"]) == (0, 2)


def test_the_real_kms_meets_every_requirement(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kms = TestKms(tmp_path)
    kms.start()
    try:
        people = []
        for role, name in (("initiator", "alice"), ("responder", "bob"), ("stranger", "carol")):
            user = kms.user(f"sip:{name}@example.com")
            people += [f"--{role}", user.identity, f"--{role}-psk", user.psk, f"--{role}-psk-id", user.psk_id]
        code, documents = run(capsys, "--kms", kms.url, *people)
        assert [item for item in documents[:-1] if item["outcome"] not in ("met", "untested")] == []
        assert code == 0
    finally:
        kms.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        return int(probe.getsockname()[1])


@contextmanager
def _answering(folder: Path, kms_section: str) -> Iterator[str]:
    """Run `sipmikey answer` as bob with these lines in ``[kms]``; yield where it is reached."""
    settings = folder / "bob.toml"
    settings.write_text(f'[identity]\nuri = "sip:bob@{LOCAL}"\n[kms]\n{kms_section}')
    answer = subprocess.Popen(
        [
            *SIPMIKEY, "answer", "--config", str(settings), "--auto", "--json", "--listen", f"{LOCAL}:0",
            "--null-audio",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert answer.stdout is not None
    try:
        lines = answer.stdout
        ready = next(one for one in map(json.loads, lines) if one["type"] == "agent.ready")
        rest = threading.Thread(target=lambda: list(lines))  # a full pipe would stop the user agent
        rest.start()
        yield ready["contact"]
    finally:
        answer.terminate()
        answer.wait(60)
        rest.join()
        answer.stdout.close()


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """A user agent that shares keys with its KMS and with alice: its address, its KMS's, and the options."""
    url = f"{LOCAL}:{_free_port()}"
    keys = {"bob.tpk": b"bob-kms", "alice.tpk": b"alice-bob", "bob.key": b"bob"}
    for name, word in keys.items():
        (tmp_path / name).write_text(hashlib.sha256(word).hexdigest())
        (tmp_path / name).chmod(0o600)
    section = f"""
url = "http://{url}"
identity = "sip:kms@{LOCAL}"
psk_file = "{tmp_path}/bob.key"
psk_id = "bob"
ticket_keys = {{ "sip:kms@{LOCAL}" = "{tmp_path}/bob.tpk", "sip:alice@{LOCAL}" = "{tmp_path}/alice.tpk" }}
"""
    tickets = ["--ticket-key", f"@{tmp_path}/bob.tpk", "--initiator-ticket-key", f"@{tmp_path}/alice.tpk"]
    with _answering(tmp_path, section) as contact:
        yield contact, url, tickets


def test_the_real_user_agent_meets_every_requirement(
    capsys: pytest.CaptureFixture[str], answering: tuple[str, str, list[str]]
) -> None:
    contact, url, tickets = answering
    options = [*words("initiator", "responder"), *tickets, "--kms-listen", url]
    options += [word for pattern in OF_REAL_AGENT for word in ("--only", pattern)]
    code, documents = run(capsys, "--agent", contact, *options)
    unmet = [item for item in documents[:-1] if item["outcome"] != "met"]
    assert [item for item in unmet if not item["name"].startswith("resolve-init-pk-")] == []
    assert len(documents) > 60
    assert code == 0


def test_what_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://{LOCAL}:{_free_port()}"
    assert main(["conformance", "--kms", url, *words("initiator", "responder")]) == 4
    assert url in capsys.readouterr().err
    agent = ["--agent", f"sip:bob@{LOCAL}:{_free_port()}", "--kms-listen", f"{LOCAL}:0"]
    assert main(["conformance", *agent, *words("responder"), "--only", "answer-given"]) == 3
    assert "untested" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["--kms", "http://127.0.0.1:1"],
        ["--kms", "nonsense", *words("initiator", "responder")],
        ["--kms", "http://127.0.0.1:x", *words("initiator", "responder")],
        ["--agent", "bob"],
        ["--agent", "sip:bob@127.0.0.1"],
        ["--kms", "http://127.0.0.1:1", *words("initiator", "responder"), "--only", "no-such-*"],
        [],
        ["--kms", "http://127.0.0.1:1", *words("initiator", "responder"), "--kms-cert", "absent.pem"],
    ],
)
def test_wrong_options_are_told_and_give_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert main(["conformance", *argv]) == 2
    assert capsys.readouterr().err


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--list"]) == 0
    assert "offer-refuses-replay" in capsys.readouterr().out
    assert main(["vectors", "serve", "--list"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(broken_kms.BREAKS) + len(broken_agent.BREAKS)
    assert main(["vectors", "serve", "--break", "none-such"]) == 2


def test_the_real_user_agent_asks_its_kms_by_certificate(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The first run makes the certificates, and finds that nobody takes its calls yet."""
    url, made = f"{LOCAL}:{_free_port()}", tmp_path / "certificates"
    options = [*words("responder"), "--kms-listen", url, "--certificates", str(made)]
    options += ["--only", "resolve-init-pk-*"]
    run(capsys, "--agent", f"sip:bob@{LOCAL}:{_free_port()}", *options)
    section = f"""
url = "http://{url}"
identity = "sip:kms@{LOCAL}"
certificate = "{made}/agent.pem"
private_key = "{made}/agent.pem"
kms_certificates = "{made}/kms.pem"
"""
    with _answering(tmp_path, section) as contact:
        code, documents = run(capsys, "--agent", contact, *options)
    assert [item for item in documents[:-1] if item["outcome"] != "met"] == []
    assert (code, documents[-1]["met"]) == (0, 4)
