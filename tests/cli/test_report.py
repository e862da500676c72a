"""A report of a defect tells what is needed to look into it, and nothing of keys, passwords and messages."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.call import events
from sipmikey.call.reasons import Reason
from sipmikey.cli.main import main
from sipmikey.cli.report.events import known_fields, redacted_events
from sipmikey.cli.report.redaction import Redactor

PSK = base64.b64encode(bytes(range(200, 232))).decode()
PASSWORD = "open sesame!"
TOKEN = "mailbox-token-5ab1"
HEADER = "Bearer-77"
TICKET_KEY = bytes(range(100, 132)).hex()
SECRETS = (PSK, PASSWORD, TOKEN, HEADER, TICKET_KEY, "turn-pass", "url-pass")

CONFIGURATION = """
[identity]
uri = "sip:alice.smith@corp.example.net"
display_name = "Alice Smith"

[credentials]
password = "open sesame!"

[sip]
registrar = "sip:sip.corp.example.net"
headers = { Authorization = "Bearer-77" }

[kms]
url = "https://admin:url-pass@kms.corp.example.net:8443/secret-path"
identity = "sip:kms@corp.example.net"
psk_file = "FOLDER/alice.psk"
psk_id = "alice-7"
ticket_keys = { "sip:kms@corp.example.net" = "FOLDER/tpk" }

[nat]
turn = "turn.corp.example.net"
turn_password_file = "FOLDER/turn"

[mailbox]
url = "https://mail.corp.example.net"
token_file = "FOLDER/token"
"""

SDES = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + base64.b64encode(bytes(range(30))).decode()
EVENTS: list[dict[str, Any]] = [
    {"v": 1, "ts": "2030-01-01T00:00:00.000Z", "type": "call.out", "call": "1",
     "uri": "sip:bob@other.example.org"},
    {"v": 1, "type": "call.in", "caller": "sip:bob@other.example.org", "display_name": "Bob Brown",
     "called": "sip:alice.smith@corp.example.net", "sip_call_id": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"},
    {"v": 1, "type": "media.keyed", "index": 0, "suite": "AES_256_CM_HMAC_SHA1_80", "send_key": "202afdf9"},
    {"v": 1, "type": "dtmf.received", "digit": "7"},
    {"v": 1, "type": "message.text", "text": "meet me at noon", "secret": PSK},
    {"v": 1, "type": "call.state", "state": "answered", "security": {"media": "proven", "unheard": "of"}},
    {"v": 1, "type": "call.end", "reason": "auth-failure", "side": "remote", "status": 488, "note": "noon",
     "detail": f"the peer at 93.184.215.14 sent {SDES} after {PASSWORD}; see /home/alice/calls/log.txt"},
]  # fmt: skip


@pytest.fixture
def report(tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """Write a report of all this; return its text and what it says."""
    for name, content in {
        "alice.psk": PSK,
        "tpk": TICKET_KEY,
        "turn": "alice:turn-pass",
        "token": TOKEN,
    }.items():
        (tmp_path / name).write_text(content + "\n")
    (tmp_path / "alice.toml").write_text(CONFIGURATION.replace("FOLDER", str(tmp_path)))
    log = tmp_path / "call.jsonl"
    log.write_text("\n".join([*map(json.dumps, EVENTS), f"not JSON: {PASSWORD}", ""]))
    output = tmp_path / "report.json"
    words = ["--config", tmp_path / "alice.toml", "--events", log, "--to", output, "--no-check"]
    assert main(["report", *map(str, words)]) == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    text = output.read_text()
    return text, json.loads(text)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_key_and_no_password_is_in_it(report: tuple[str, dict[str, Any]], secret: str) -> None:
    assert secret not in report[0]


def test_nothing_that_was_said_or_dialled_is_in_it(report: tuple[str, dict[str, Any]]) -> None:
    text, document = report
    for word in ("meet me", "noon", "Bob Brown", "Alice Smith", "not JSON", "inline:AAEC"):
        assert word not in text
    digit = next(event for event in document["events"]["1"]["events"] if event["type"] == "dtmf.received")
    assert digit["digit"] == "(set)"


def test_nobody_and_no_place_is_named(report: tuple[str, dict[str, Any]]) -> None:
    text, _ = report
    for word in ("alice", "bob", "smith", "corp", "example", "93.184.215.14", "secret-path", "/home"):
        assert word not in text.lower(), word


def test_what_is_needed_is_in_it(report: tuple[str, dict[str, Any]]) -> None:
    _, document = report
    assert document["versions"]["sipmikey"]
    assert document["packages"]["cryptography"]
    settings = document["configuration"]
    assert settings["credentials.password"] == {"value": "********", "origin": "file"}
    assert settings["kms.psk_file"]["value"].startswith("(a file of 45 octets, mode 0")
    assert settings["identity.uri"]["value"] == "sip:user-1@host-1"
    told = document["events"]["1"]
    assert told["lines_left_out"] == 1
    out, incoming, keyed, _, message, state, end = told["events"]
    assert out["ts"] == "2030-01-01T00:00:00.000Z"
    assert incoming["caller"] == out["uri"]
    assert incoming["called"] == "sip:user-1@host-1"
    assert keyed["suite"] == "AES_256_CM_HMAC_SHA1_80"
    assert keyed["send_key"] == "202afdf9"
    assert message == {"type": "message.text", "v": 1, "fields": ["secret", "text"]}
    assert state["security"] == {"media": "proven"}
    assert (end["reason"], end["status"], end["fields"]) == ("auth-failure", 488, ["note"])
    assert "at public-address-v4-1 sent" in end["detail"]


def test_names_stay_on_request_and_secrets_do_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "alice.toml"
    file.write_text(f'[identity]\nuri = "sip:alice@example.net"\n[credentials]\npassword = "{PASSWORD}"\n')
    log = tmp_path / "call.jsonl"
    log.write_text(json.dumps({"type": "kms.error", "detail": f"{PASSWORD} {PSK} of sip:bob@example.net"}))
    words = ["--config", str(file), "--events", str(log), "--to", "-", "--no-check", "--keep-names"]
    assert main(["report", *words]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["configuration"]["identity.uri"]["value"] == "sip:alice@example.net"
    assert "sip:bob@example.net" in text
    assert PASSWORD not in text
    assert PSK not in text


def test_a_wrong_configuration_is_reported_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "alice.toml"
    file.write_text('[kms]\nulr = "https://kms.corp.example.net"\n')
    assert main(["report", "--config", str(file), "--to", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "ulr" in document["configuration"]["error"]
    assert "corp" not in json.dumps(document)
    assert document["check"] == "left out"


def test_what_check_finds_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "alice.toml"
    file.write_text(
        f'[sip]\ntls_ca_file = "{tmp_path}/missing.pem"\n[identity]\nuri = "sip:alice@example.net"\n'
    )
    assert main(["report", "--config", str(file), "--to", "-", "--null-audio", "--security", "off"]) == 0
    found = json.loads(capsys.readouterr().out)["check"]
    bad = next(finding for finding in found if finding["name"] == "certificates")
    assert bad["state"] == "bad"
    assert ".../missing.pem: No such file" in bad["detail"]
    assert str(tmp_path) not in json.dumps(found)


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text("precious")
    assert main(["report", "--no-check", "--to", str(tmp_path / "report.json")]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "report.json").read_text() == "precious"


def test_a_file_that_is_overwritten_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("worthless")
    path.chmod(0o644)
    assert main(["report", "--no-check", "--force", "--to", str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_finding_among_the_events_keeps_its_name() -> None:
    finding = {"type": "check", "name": "kms", "state": "bad", "detail": "no answer", "advice": "start it"}
    kept, left_out = redacted_events([json.dumps(finding)], Redactor(()))
    assert (kept, left_out) == ([finding], 0)


def test_every_event_is_known() -> None:
    known = known_fields()
    kinds = [getattr(events, name) for name in events.__all__]
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event:
            assert "call" in known[kind.type]


_SHORT = st.text(max_size=8)


@given(st.text(min_size=4).filter(lambda secret: "*" not in secret), _SHORT, _SHORT)
def test_a_known_secret_stays_in_no_text(secret: str, before: str, behind: str) -> None:
    assert secret not in Redactor([secret], keep_names=True).text(before + secret + behind)


@given(st.binary(min_size=16, max_size=64))
def test_no_key_stays_in_a_detail_whatever_way_it_is_written(key: bytes) -> None:
    written = (key.hex(), base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode())
    for text in written:
        lines = [json.dumps({"type": "kms.error", "detail": f"key={text}; {text}"})]
        kept, _ = redacted_events(lines, Redactor())
        assert text not in json.dumps(kept)


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"type": 7}', "{" * 5000, '{"type": "call.end"', "\x00"])
def test_lines_that_are_not_events_are_left_out(line: str) -> None:
    kept, left_out = redacted_events([line], Redactor())
    assert kept == []
    assert left_out == bool(line)


def test_reasons_stay_readable() -> None:
    assert [Redactor().text(reason) for reason in Reason] == list(Reason)
