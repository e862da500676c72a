"""`vectors check` judges what a receiver judges, and says so where it cannot judge."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from sipmikey.cli.main import main
from sipmikey.vectors.check import check

DIRECTORY = Path(__file__).parents[1] / "vectors"
VECTORS = {
    vector["name"]: vector
    for path in sorted(DIRECTORY.glob("*.json"))
    for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
}
EXCHANGES = {name: vector for name, vector in VECTORS.items() if vector["kind"] == "exchange"}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("full-256-request_init-other-kms", "IDRkms"),
        ("full-256-request_resp-other-kms", "IDRkms"),
        ("full-256-resolve_init-other-kms", "IDRkms"),
        ("full-256-resolve_resp-other-kms", "IDRkms"),
        ("full-256-request_init-tp-other-kms", "IDRkms"),
        ("full-256-request_resp-ticket-other-kms", "IDRkms"),
        ("full-256-request_init-tp-other-initiator", "IDRi"),
        ("full-256-request_resp-ticket-other-initiator", "the Initiator is"),
        ("full-256-transfer_init-ticket-other-initiator", "IDRi"),
        ("full-256-transfer_init-ticket-not-for-responder", "IDRr"),
        ("full-256-resolve_init-ticket-not-for-responder", "IDRr"),
        ("full-256-request_resp-ticket-other-responder", "may resolve it too"),
        ("full-256-request_resp-ticket-expired", "TRe"),
        ("full-256-request_resp-ticket-longer", "valid for longer"),
        ("full-256-request_init-tp-expired", "TRe"),
        ("full-256-resolve_init-ticket-expired", "TRe"),
        ("full-256-request_resp-changed-although-k-is-0", "K is 0"),
        ("full-256-transfer_init-no-known-cipher", "SP"),
        ("full-256-transfer_init-no-such-key-length", "SP"),
        ("full-256-transfer_resp-policy-not-offered", "CS ID 1"),
        ("update-128-by-initiator-update_init-no-known-cipher", "SP"),
        ("full-256-without-response-transfer_init-no-spi", "SPI"),
        ("preshared-256-without-response-transfer_init-unknown-spi", "SPI"),
        ("full-256-without-response-transfer_init-two-policies", "#P"),
        ("full-256-resolve_resp-other-mpk", "TRANSFER_INIT V"),
        ("full-256-forking-resolve_resp-other-mpk", "TRANSFER_INIT V"),
    ],
)
def test_what_is_refused_for_the_reason_the_vector_names(name: str, field: str) -> None:
    verdict = check(VECTORS[name], EXCHANGES)
    assert (verdict.faults, verdict.judged) == ((), True)
    assert field in verdict.note


@pytest.mark.parametrize(
    "changes",
    [
        {"message": "update_7_init"},
        {"message": "update_init"},
        {"base": "absent"},
        {"hex": "no hex"},
        {"kind": "other"},
    ],
)
def test_what_cannot_be_judged_is_a_failure_of_the_checker(changes: dict) -> None:
    verdict = check(VECTORS["full-256-request_init-no-t"] | changes, EXCHANGES)
    assert not verdict.judged
    assert "cannot judge" in verdict.faults[0]


def test_a_reject_whose_base_is_refused_proves_nothing() -> None:
    """Whatever stands in its place would be refused too, for the base's fault."""
    base = copy.deepcopy(EXCHANGES["full-256"])
    base["credentials"]["initiator"]["psk"] = "00" * 32
    verdict = check(VECTORS["full-256-request_init-no-t"], {"full-256": base})
    assert not verdict.judged
    assert "its base is refused" in verdict.faults[0]


def test_a_message_that_only_branches_have_is_judged_in_one() -> None:
    base = EXCHANGES["branches-128"]
    answer = bytearray(bytes.fromhex(base["messages"]["branches"][0]["transfer_resp"]))
    answer[-1] ^= 1
    vector = {"kind": "reject", "name": "x", "base": "branches-128", "message": "transfer_resp"}
    assert check(vector | {"hex": answer.hex()}, EXCHANGES).faults == ()  # type: ignore[arg-type]
    answer[-1] ^= 1
    assert check(vector | {"hex": answer.hex()}, EXCHANGES).faults == ("was accepted",)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["full-256", "group-256", "otway-rees-128", "preshared-128", "branches-128"])
@pytest.mark.parametrize(
    ("where", "value", "fault"),
    [
        (("mode",), "other", "mode: expected other"),
        (("identities", "responder"), "sip:eve@example.com", "IDRr"),
        (("identities", "initiator"), "sip:eve@example.com", "IDR"),
        (("identities", "kms"), "sip:kms@other.example", "KMS"),
        (("expect",), {}, "cannot judge it: expect"),
        (("expect",), None, "cannot judge it: expect"),
    ],
)
def test_what_an_exchange_says_of_itself_is_judged(
    name: str, where: tuple[str, ...], value: object, fault: str
) -> None:
    vector = copy.deepcopy(EXCHANGES[name])
    *inner, last = where
    target = vector
    for key in inner:
        target = target[key]
    target[last] = value
    if value is None:
        del target[last]
    assert fault in str(check(vector, {}).faults)


def test_each_branch_verifies_the_transfer_that_all_got() -> None:
    """The keys that the KMS gave a branch verify it, whatever the Initiator holds."""
    vector = copy.deepcopy(EXCHANGES["branches-128"])
    vector["identities"]["initiator"] = "sip:eve@example.com"
    vector["messages"]["branches"][0]["answerer"] = "sip:eve@example.com"
    assert check(vector, {}).faults
    for wrong in ({"answerer": ""}, {"answerer": 1}):
        vector = copy.deepcopy(EXCHANGES["full-256"])
        vector["identities"] |= wrong
        assert check(vector, {}).faults
    vector = copy.deepcopy(EXCHANGES["update-128-by-initiator"])
    vector["update_from"] = "nobody"
    assert not check(vector, {}).judged


def test_the_command_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = {"format": "mikey-ticket-vectors/1", "vectors": [{"kind": "other", "name": "x"}]}
    (tmp_path / "x.json").write_text(json.dumps(document))
    assert main(["vectors", "check", str(tmp_path / "x.json")]) == 1
    out = capsys.readouterr().out
    assert out.startswith("????")
    assert "1 of them were not judged: that is a failure of this checker" in out
    assert main(["vectors", "check", "--json", str(tmp_path / "x.json")]) == 1
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["judged"] is False
    assert last["unjudged"] == 1
