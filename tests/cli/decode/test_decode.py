"""`sipmikey decode`: what it finds, what it says, and that nothing makes it fail."""

from __future__ import annotations

import base64
import io
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sipmikey.cli.main import main
from sipmikey.decode.explain.message import explain
from sipmikey.decode.sources import find
from sipmikey.mikey.errors import LimitExceeded, PeerError
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import PAYLOAD_CLASSES
from tests.cli.decode.decoding import (
    B64,
    FULL,
    MEDIA_LEVEL,
    MESSAGES,
    SESSION_LEVEL,
    TRANSFER_INIT,
    as_json,
    decode,
    sip,
)

INPUTS = {
    "base64": B64,
    "base64 in lines": "\n".join(B64[at : at + 76] for at in range(0, len(B64), 76)),
    "base64 without padding": B64.rstrip("="),
    "base64 for URLs": B64.replace("+", "-").replace("/", "_"),
    "hex": TRANSFER_INIT.hex(),
    "hex in capitals with colons": TRANSFER_INIT.hex(":").upper(),
    "hex with 0x": "0x" + TRANSFER_INIT.hex(),
    "attribute value": f"mikey {B64}",
    "attribute": f"a=key-mgmt:mikey {B64}",
    "SDP, session level": SESSION_LEVEL,
    "SDP, media level": MEDIA_LEVEL,
    "SIP message": sip(SESSION_LEVEL).decode(),
    "SIP message with a MIKEY body in base64": sip(B64, "application/mikey").decode(),
}


@pytest.mark.parametrize("name", INPUTS)
def test_each_form_of_input_is_read(capsys, tmp_path, name):
    path = tmp_path / "input"
    path.write_text(INPUTS[name], encoding="utf-8", newline="")
    # What stands in no a=key-mgmt attribute may be spelled loosely, and that is told.
    loose = name in ("base64 without padding", "base64 for URLs") and INPUTS[name] != B64
    (document,) = as_json(capsys, str(path), expect=5 if loose else 0)
    assert (document["name"], document["octets"]) == ("TRANSFER_INIT", len(TRANSFER_INIT))
    assert document["complete"]


def test_octets_of_a_file_and_standard_input(capsys, tmp_path, monkeypatch):
    path = tmp_path / "message.bin"
    path.write_bytes(TRANSFER_INIT)
    assert as_json(capsys, str(path))[0]["name"] == "TRANSFER_INIT"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(B64.encode())))
    assert as_json(capsys, "-")[0]["name"] == "TRANSFER_INIT"


def test_level_of_an_attribute_is_named(capsys):
    assert "session level" in find(SESSION_LEVEL.encode())[0].where
    assert "media level, m-line 1" in find(MEDIA_LEVEL.encode())[0].where


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a=key-mgmt:mikey", "protocol identifier"),
        ("a=key-mgmt:mikey !!!", "base64"),
        (f"a=key-mgmt:mikey {B64}x", "base64"),
        (f"a=key-mgmt:MIKEY {B64}", "MIKEY, not mikey"),
        (f"a=key-mgmt:keyp1 {B64}", "keyp1, not mikey"),
        (f"a=key-mgmt:mikey  {B64}", "base64"),
    ],
)
def test_faults_of_the_attribute_are_told(capsys, line, problem):
    out = decode(capsys, f"v=0\r\n{line}\r\n", expect=5)
    assert "WRONG" in out
    assert problem in out


def test_says_every_field_with_offset_meaning_and_section():
    explanation = explain(TRANSFER_INIT)
    covered = bytearray(len(TRANSFER_INIT))
    seen = []

    def walk(nodes, section):
        for node in nodes:
            assert node.section, node.name
            seen.append(node.name)
            if node.children:
                walk(node.children, node.section)
            else:
                for at in range(node.offset, node.offset + node.length):
                    covered[at] = 1

    walk(explanation.nodes, "")
    assert all(covered), [at for at, octet in enumerate(covered) if not octet]
    assert {"HDR", "T", "RANDR", "IDR", "SP", "TICKET", "V", "Ticket Data", "Initiator Data", "THDR"} <= set(
        seen
    )


@pytest.mark.parametrize("name", MESSAGES)
def test_well_formed_messages_are_said_to_be(capsys, name):
    out = decode(capsys, MESSAGES[name].hex())
    assert "well formed" in out
    assert "WRONG" not in out


def test_every_truncation_is_described_up_to_the_fault():
    for cut in range(1, len(TRANSFER_INIT)):
        explanation = explain(TRANSFER_INIT[:cut])
        errors = [item for item in explanation.findings if item.kind == "error"]
        assert errors, cut
        assert errors[0].offset <= cut  # type: ignore[operator]
        assert explanation.message is None


@pytest.mark.parametrize(
    ("name", "change", "offset", "text"),
    [
        ("transfer_init", lambda raw: raw + b"\0", len(TRANSFER_INIT), "1 octets after the last payload"),
        ("transfer_init", lambda raw: b"\2" + raw[1:], 0, "not MIKEY version 1"),
        ("transfer_init", lambda raw: raw[:1] + b"\x63" + raw[2:], 1, "unknown value 99"),
        ("request_init", lambda raw: raw[:2] + b"\x63" + raw[3:], 10, "unknown payload 99"),
        ("request_init", lambda raw: raw[:3] + b"\x7f" + raw[4:], 3, "unknown value 127"),
        ("request_init", lambda raw: raw[:8] + b"\1" + raw[9:], 8, "must be 0"),
        ("request_init", lambda raw: raw[:9] + b"\7" + raw[10:], 9, "unknown map 7"),
        ("request_init", lambda raw: raw[:11] + b"\x09" + raw[12:], 11, "unknown type 9"),
    ],
)
def test_says_what_is_wrong_and_where(name, change, offset, text):
    findings = explain(change(MESSAGES[name])).findings
    assert any(text in item.detail and item.offset == offset for item in findings), findings
    assert any(item.kind == "error" for item in findings)


def test_agrees_with_the_codec_about_what_parses():
    for vector in [FULL]:
        for octets in vector["messages"].values():
            assert explain(bytes.fromhex(octets)).message is not None


@given(st.binary(max_size=400))
@example(b"")
@example(b"\1")
@settings(max_examples=150)
def test_explanation_never_fails_and_agrees_with_the_codec(octets):
    explanation = explain(octets)
    try:
        Message.parse(octets)
    except LimitExceeded:
        assert explanation.findings
    except PeerError:
        assert any(item.kind == "error" for item in explanation.findings)
    else:
        assert explanation.message is not None


@given(st.data())
@settings(max_examples=150)
def test_damaged_messages_are_explained(data):
    octets = bytearray(data.draw(st.sampled_from(sorted(MESSAGES.values()))))
    for _ in range(data.draw(st.integers(1, 5))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    explanation = explain(bytes(octets))
    try:
        Message.parse(bytes(octets))
    except LimitExceeded:
        assert explanation.findings
    except PeerError:
        assert any(item.kind == "error" for item in explanation.findings)


WORDS = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=200).map(lambda octets: octets.hex()),
    st.binary(max_size=200).map(lambda octets: base64.b64encode(octets).decode()),
    st.text(max_size=100).map(
        lambda text: f"v=0\na=key-mgmt:{text}\nm=audio 1 RTP/SAVP 0\na=key-mgmt:mikey {text}"
    ),
    st.binary(max_size=200).map(
        lambda octets: f"a=key-mgmt:mikey {base64.b64encode(b'1' + octets).decode()}"
    ),
    st.sampled_from(sorted(MESSAGES.values())).flatmap(
        lambda octets: st.integers(0, len(octets)).map(lambda cut: octets[:cut].hex())
    ),
)


@given(
    words=st.lists(WORDS, min_size=1, max_size=3),
    options=st.sets(st.sampled_from(["--json", "-v", "--ladder"])),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_command_never_fails_whatever_it_is_fed(capsys, words, options):
    inputs = [word for word in words if not word.startswith("-")]
    code = main(["decode", *options, *inputs, *(["--tpk", FULL["credentials"]["tpk"]] if options else [])])
    assert code in (0, 2, 5), (code, inputs)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert "internal error" not in captured.err


@given(octets=st.binary(max_size=300))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_of_any_octets(capsys, tmp_path, octets):
    path = tmp_path / "anything"
    path.write_bytes(octets)
    assert main(["decode", str(path)]) in (0, 2, 5)
    capsys.readouterr()


PUBLISHED = (
    "AQAFAP1td9ABAADCD1UcAAAAAAoAAdOOGc75XD0BAAAAGAABAQEBEAIBAQMBFAcBAQgBAQoBAQsBCgAAACcAIQAe"
    "30C59UrClE0e27UP5h/Wty9UL8+dfzg+2ttmmo3kBAAAAC8A"
)
"""An example of a camera standard (onvif/specs, pull request 555): keys in the clear, and a T of 2037."""


def test_messages_of_rfc_3830_are_explained_too(capsys):
    out = decode(capsys, PUBLISHED)
    assert "PSK I_MESSAGE of RFC 3830" in out
    assert "who reads this message can decrypt the media" in out
    assert "years ahead of this clock" in out
    assert "df40b9f54ac2944d" not in out
    assert "df40b9f54ac2944d" in decode(capsys, PUBLISHED, "--show-keys")


def test_nothing_found_is_a_usage_error(capsys):
    assert main(["decode", "hello world"]) == 2
    assert "no MIKEY message in the input" in capsys.readouterr().err


def test_every_payload_is_described():
    from sipmikey.decode.explain.payloads import PAYLOADS

    assert set(PAYLOADS) == set(PAYLOAD_CLASSES)


def test_private_key_file_that_is_none(capsys, tmp_path):
    path = tmp_path / "key"
    path.write_text("no key", encoding="utf-8")
    assert main(["decode", B64, "--kms-key", str(path)]) == 2
