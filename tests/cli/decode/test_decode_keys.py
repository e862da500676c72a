"""`sipmikey decode` with keys: every exchange is verified, every SRTP key found."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sipmikey.cli.main import main
from sipmikey.keys.suite import SUITE_256
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import ErrorNo, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.ticket import FULL_MODE, Environment, KmsInit, PreSharedKey, TicketPolicy, TicketRequest
from tests.cli.decode.decoding import B64, FULL, MESSAGES, TRANSFER_INIT, VECTORS, as_json, decode, exchange


class TestKeys:
    def options(self) -> list[str]:
        credentials = FULL["credentials"]
        return [
            "--psk", credentials["initiator"]["psk"], "--psk", credentials["responder"]["psk"],
            "--tpk", credentials["tpk"],
        ]  # fmt: skip

    def inputs(self) -> list[str]:
        return [octets.hex() for octets in MESSAGES.values()]

    def test_everything_verifies_and_no_key_is_shown(self, capsys):
        out = decode(capsys, *self.inputs(), *self.options())
        assert out.count("proven") >= len(MESSAGES)
        for session in FULL["expect"]["crypto_sessions"]:
            assert session["master_key"] not in out
        assert FULL["expect"]["mpk_i"] not in out
        document = "".join(json.dumps(item) for item in as_json(capsys, *self.inputs(), *self.options()))
        assert FULL["expect"]["mpk_i"] not in document

    def test_keys_are_shown_on_request_and_are_those_of_the_vector(self, capsys):
        out = decode(capsys, *self.inputs(), *self.options(), "--show-keys")
        assert FULL["expect"]["mpk_i"] in out
        assert FULL["expect"]["mpk_r_forked"] in out
        for session in FULL["expect"]["crypto_sessions"]:
            assert session["master_key"] in out
            assert session["master_salt"] in out

    def test_tpk_alone_opens_ticket_transfer(self, capsys):
        inputs = [MESSAGES[name].hex() for name in ("transfer_init", "transfer_resp")]
        out = decode(capsys, *inputs, "--tpk", FULL["credentials"]["tpk"], "--show-keys")
        assert FULL["expect"]["crypto_sessions"][0]["master_key"] in out
        assert "Initiator Data verifies" in out

    def test_wrong_key_is_told(self, capsys):
        out = decode(capsys, *self.inputs()[:1], "--psk", "00" * 32, expect=5)
        assert "verifies with none of the PSKs" in out

    def test_changed_octet_is_told(self, capsys):
        octets = bytearray(TRANSFER_INIT)
        message = Message.parse(TRANSFER_INIT)
        at = message.offsets[message.payloads.index(message.one(RANDR, RandRole.INITIATOR))]
        octets[at + 4] ^= 1
        out = decode(capsys, bytes(octets).hex(), "--tpk", FULL["credentials"]["tpk"], expect=5)
        assert "the MAC does not verify" in out

    def test_public_key_variants(self, capsys, tmp_path):
        vector = exchange("full-128-pk")
        path = tmp_path / "kms.pem"
        path.write_text(vector["credentials"]["kms"]["private_key"], encoding="utf-8")
        inputs = [vector["messages"][name] for name in ("request_init", "request_resp")]
        out = decode(capsys, *inputs, "--kms-key", str(path), "--show-keys")
        assert "the signature is of the certificate sent" in out
        assert vector["expect"]["mpk_i"] in out

    @pytest.mark.parametrize("key", ["zz", "00" * 15, "@/nonexistent", "AAAA"])
    def test_bad_key_is_a_usage_error_that_does_not_repeat_it(self, capsys, key):
        assert main(["decode", B64, "--psk", key]) == 2
        assert (key if not key.startswith("@") else "\0") not in capsys.readouterr().err

    def test_key_from_a_file(self, capsys, tmp_path):
        path = tmp_path / "tpk"
        path.write_text(FULL["credentials"]["tpk"] + "\n", encoding="utf-8")
        assert "the ticket opens" in decode(capsys, B64, "--tpk", f"@{path}")


def every_exchange() -> dict[str, dict]:
    return {
        vector["name"]: vector
        for path in sorted(VECTORS.glob("exchange-*.json"))
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
    }


EXCHANGES = every_exchange()


def srtp_keys(expect: dict) -> set[str]:
    """Return every SRTP master key a vector expects, of branches, reuses and updates too."""
    found = {session["master_key"] for session in expect.get("crypto_sessions", ())}
    for inner in (*expect.get("branches", ()), *expect.get("reuse", ())):
        found |= srtp_keys(inner)
    for name in ("update", "update_2"):
        found |= {session["master_key"] for session in expect.get(name, {}).get("crypto_sessions", ())}
    return found


@pytest.mark.parametrize("name", EXCHANGES)
class TestEveryExchange:
    def decoded(self, capsys, tmp_path, name: str, *, tpk: bool) -> list[dict]:
        vector = EXCHANGES[name]
        messages, credentials = vector["messages"], vector["credentials"]
        parts = [messages, *messages.get("branches", ()), *messages.get("reuse", ())]
        inputs = [
            text for part in parts for text in part.values() if isinstance(text, str) and "sip" not in text
        ]
        owners = [credentials, *(part["credentials"] for part in parts if "credentials" in part)]
        psks = [party["psk"] for owner in owners for party in owner.values() if "psk" in party]
        options = [word for psk in psks for word in ("--psk", psk)]
        if "kms" in credentials:
            path = tmp_path / "kms.pem"
            path.write_text(credentials["kms"]["private_key"], encoding="utf-8")
            options += ["--kms-key", str(path)]
        if tpk or not options:
            options += ["--tpk", credentials["tpk"]]
        return as_json(capsys, *inputs, *options, "--show-keys")

    @pytest.mark.parametrize("tpk", [False, True], ids=["without TPK", "with TPK"])
    def test_every_message_is_proven_and_every_srtp_key_found(self, capsys, tmp_path, name, tpk):
        documents = self.decoded(capsys, tmp_path, name, tpk=tpk)
        assert [item["findings"] for item in documents if not proven(item)] == []
        found = json.dumps([item["keys"] for item in documents])
        # A Responder that opens the ticket itself is not seen asking for its keys.
        assert {key for key in srtp_keys(EXCHANGES[name]["expect"]) if key not in found} == set()


def proven(document: dict) -> bool:
    kinds = [finding["kind"] for finding in document["findings"]]
    return "proof" in kinds and "error" not in kinds


def test_error_messages_are_verified(capsys):
    env = Environment(now_ns=lambda: FULL["now"] * 10**9, random=bytes, clock_skew_s=3600)
    psk = PreSharedKey(key=Secret(bytes.fromhex(FULL["credentials"]["initiator"]["psk"])))
    init = KmsInit(env, MESSAGES["request_init"])
    identities = FULL["identities"]
    authenticated = init.verify_psk(psk, owner=identities["initiator"], kms=identities["kms"])
    error = authenticated.error([ErrorNo.INVALID_TPPAR])
    options = ["--psk", psk.key.reveal().hex()]
    out = decode(capsys, MESSAGES["request_init"].hex(), error.hex(), *options)
    assert "TP parameters not supported" in out
    assert "keys of the message it is about" in out
    wrong = error[:-1] + bytes((error[-1] ^ 1,))
    assert "does not verify" in decode(
        capsys, MESSAGES["request_init"].hex(), wrong.hex(), *options, expect=5
    )
    assert "not verified" in decode(capsys, error.hex(), *options)


class TestStore:
    """Keys from the store of a KMS."""

    def kms(self, capsys, directory: Path, *words: str) -> list[dict]:
        capsys.readouterr()
        assert main(["kms", *words, "--dir", str(directory), "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def test_messages_of_a_subscriber_are_verified(self, capsys, tmp_path):
        directory = tmp_path / "kms"
        self.kms(capsys, directory, "init", "--identity", "sip:kms@example.com")
        (added,) = self.kms(capsys, directory, "user", "add", "sip:alice@example.com")
        key = PreSharedKey(key=Secret(base64.b64decode(added["psk"])))
        policy = TicketPolicy(suite=SUITE_256, flags=FULL_MODE, responders=("sip:bob@example.com",))
        request = TicketRequest.start(
            environment(), policy=policy, credential=key,
            identity="sip:alice@example.com", kms="sip:kms@example.com",
        )  # fmt: skip
        out = decode(capsys, request.message.hex(), "--dir", str(directory))
        assert f"the MAC verifies with the PSK {key.key.fingerprint()}" in out

    def test_a_directory_without_a_kms(self, capsys, tmp_path):
        assert main(["decode", B64, "--dir", str(tmp_path)]) == 2
        assert "sipmikey kms init" in capsys.readouterr().err
