"""tshark reads our MIKEY messages the way we mean them, as far as it can read them."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey import SP, Message, T
from sipmikey.mikey.verification import V
from tests.interop.lab import programs
from tests.interop.lab.packets import referee
from tests.interop.refusals.test_tampered_messages import SDP_IDS, Call
from tests.ticket.parties import ALICE, BOB

SUITES = pytest.mark.parametrize("suite", [SUITE_256, SUITE_128], ids=lambda suite: suite.name)


@pytest.fixture(autouse=True)
def _tshark() -> None:
    programs.need("tshark")


@SUITES
def test_the_silent_stop_is_noticed(suite: Suite, tmp_path: Path) -> None:
    """tshark reports nothing at a payload it does not know: the detector must see that it gave up."""
    message = Call(suite).alice.message
    known, _ = referee.known_part(message)
    rand_i = known[:2] + b"\x0f" + known[3:10] + bytes((known[2], 1, 2, 0xAB, 0xCD)) + known[10:]
    capture = referee.write_capture(tmp_path / "stop.pcap", [known, rand_i])
    assert referee.walked_to_the_end(capture) == [True, False]
    assert capture.count("frame.number == 2 && _ws.malformed") == 0


@SUITES
def test_transfer_init_as_tshark_reads_it(suite: Suite, tmp_path: Path) -> None:
    call = Call(suite)
    message = call.alice.message
    known, names = referee.known_part(message)
    assert names[:5] == ["T", "IDR", "IDR", "SP", "EXT"]
    capture = referee.write_capture(tmp_path / "init.pcap", [known])
    assert referee.walked_to_the_end(capture) == [True]
    row = capture.fields(
        "mikey",
        "mikey.version",
        "mikey.type",
        "mikey.csb_id",
        "mikey.t.ts_type",
        "mikey.id.role",
        "mikey.id.data",
        "mikey.ext.type",
        options=("-t", "u"),
    )[0]
    parsed = Message.parse(message)
    assert row[:2] == ["1", "14"]
    assert int(row[2], 0) == parsed.header.csb_id
    assert row[3:] == ["0", "1,2", f"{ALICE},{BOB}", str(SDP_IDS)]
    shown = _instant(capture.fields("mikey", "mikey.t.ntp")[0][0])
    assert abs(shown - parsed.one(T).timestamp.unix_ns() / 1e9) < 1e-3


@SUITES
def test_the_security_policy_as_tshark_reads_it(suite: Suite, tmp_path: Path) -> None:
    call = Call(suite)
    for message in (call.alice.message, call.answer()):
        capture = referee.write_capture(tmp_path / "sp.pcap", [referee.known_part(message)[0]])
        assert referee.walked_to_the_end(capture) == [True]
        names = ("no", "encr_alg", "encr_len", "auth_alg", "auth_key_len", "salt_len", "auth_tag_len")
        names += ("srtp_encr", "srtcp_encr", "srtp_auth")  # type: ignore[assignment]
        row = capture.fields("mikey", *(f"mikey.sp.{name}" for name in names))[0]
        number = Message.parse(message).one(SP).policy_no
        assert row == [str(number), "1", str(suite.key_length), "1", "20", "14", "10", "1", "1", "1"]


def test_the_verification_payload_of_the_128_bit_suite(tmp_path: Path) -> None:
    call = Call(SUITE_128)
    for message in (call.alice.message, call.answer()):
        known, names = referee.known_part(message)
        assert names[-1] == "V"
        capture = referee.write_capture(tmp_path / "v.pcap", [known])
        assert referee.walked_to_the_end(capture) == [True]
        mac = Message.parse(message).one(V).mac.hex()
        assert capture.fields("mikey", "mikey.v.auth_alg", "mikey.v.ver_data") == [["1", mac]]


def test_a_cut_identity_is_malformed_to_tshark_too(tmp_path: Path) -> None:
    known, _ = referee.known_part(Call(SUITE_128).alice.message)
    at = known.index(ALICE.encode()) - 2
    longer = known[:at] + b"\x10\x00" + known[at + 2 :]
    capture = referee.write_capture(tmp_path / "cut.pcap", [longer])
    assert referee.walked_to_the_end(capture) == [False]
    assert capture.count("_ws.malformed") == 1


def _instant(text: str) -> float:
    """Unix time of tshark's `Mar  1, 2026 12:00:00.000007999 UTC`."""
    whole, fraction = text.removesuffix(" UTC").split(".")
    moment = datetime.datetime.strptime(" ".join(whole.split()), "%b %d, %Y %H:%M:%S")
    return moment.replace(tzinfo=datetime.UTC).timestamp() + float(f"0.{fraction}")
