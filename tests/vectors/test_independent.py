"""Vectors recomputed by `independent.py`, which shares nothing with the package."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest

from . import independent as own

DIRECTORY = Path(__file__).parent
VECTORS = {
    vector["name"]: vector
    for path in sorted(DIRECTORY.glob("*.json"))
    for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
    if vector["kind"] in ("prf", "exchange")
}
EXCHANGES = [name for name, vector in VECTORS.items() if vector["kind"] == "exchange"]
FLAG_G, FLAG_H, FLAG_I = 1 << 8, 1 << 7, 1 << 6

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not here")


def test_it_imports_nothing_of_the_package():
    tree = ast.parse((DIRECTORY / "independent.py").read_text(encoding="utf-8"))
    modules = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}  # type: ignore[misc]
    assert modules <= {"__future__", "hmac", "struct", "subprocess", "pathlib"}


@pytest.mark.parametrize("name", [name for name, vector in VECTORS.items() if vector["kind"] == "prf"])
def test_prf(name):
    vector = VECTORS[name]
    bits = vector["outkey_bits"]
    kind = {"MIKEY-1": 0, "HMAC-SHA-256": 1}[vector["prf"]]
    length = (bits + 7) // 8
    outkey = own.prf(kind, bytes.fromhex(vector["inkey"]), bytes.fromhex(vector["label"]), length)
    if bits % 8:
        outkey = outkey[:-1] + bytes((outkey[-1] & 0xFF << (8 - bits % 8) & 0xFF,))
    assert outkey.hex() == vector["outkey"]


def same(expected: dict, keys: dict[str, bytes]) -> None:
    """Compare every key the vector expects of a message."""
    assert {name: keys[name].hex() for name in expected} == expected


class Walk:
    """An exchange vector, recomputed step by step."""

    def __init__(self, vector: dict, directory: Path) -> None:
        self.vector, self.expect, self.directory = vector, vector["expect"], directory
        identities = vector["identities"]
        self.identity = {name: identities[name].encode() for name in ("initiator", "responder", "kms")}
        self.messages = vector["messages"]
        self.tpk = bytes.fromhex(vector["credentials"]["tpk"])

    def message(self, name: str, part: dict | None = None) -> own.Mikey:
        return own.Mikey(bytes.fromhex((part or self.messages)[name]))

    def init(self, name: str, role: int, party: dict, owner: bytes, part: dict, expect: dict) -> bytes:
        """Verify REQUEST_INIT or RESOLVE_INIT; return the key that protects its response."""
        message = self.message(name, part)
        following = owner + self.identity["kms"]
        if "psk" not in party:
            own.verify_signature(message, party["certificate"], following, self.directory)
            kms = self.vector["credentials"]["kms"]["private_key"]
            inkey = own.open_envelope(message, kms, self.directory)
            assert inkey.hex() == expect[name]["envelope_key"]
            return inkey
        inkey = bytes.fromhex(party["psk"])
        rands = (message.rand(1), b"") if role == 1 else (b"", message.rand(2))
        keys = own.message_keys(message, inkey, 1, *rands)
        own.check_mac(message, keys, following)
        same(expect[name], keys)
        return inkey

    def response(self, name: str, init: str, inkey: bytes, part: dict, expect: dict) -> list[dict]:
        """Verify a response of the KMS; return its keys."""
        asked, message = self.message(init, part), self.message(name, part)
        rands = (asked.rand(1), b"") if name == "request_resp" else (b"", asked.rand(2))
        keys = own.message_keys(message, inkey, 2, *rands)
        own.check_mac(message, keys, asked.raw)
        same(expect[name], keys)
        return own.decrypt(keys, message.csb, message.one(5)["t"], message.one(1)["data"])

    def ticket(self) -> dict:
        ticket = self.message("transfer_init").one(17)
        opened = own.open_ticket(ticket, self.tpk)
        same({name: self.expect["ticket"][name] for name in opened["keys"]}, opened["keys"])
        assert opened["mpk"].hex() == self.expect["ticket"]["mpk"]
        assert opened["mpk_i"].hex() == self.expect["mpk_i"]
        assert [key["key"].hex() for key in opened["session_keys"]] == [
            key["key"] for key in self.expect["tgks"]
        ]
        return opened

    def transfer(self, part: dict, expect: dict, opened: dict, answerer: bytes) -> None:
        """Verify one Ticket Transfer and its SRTP keys."""
        init = self.message("transfer_init", part if "transfer_init" in part else None)
        ticket = init.one(17)
        keys = own.message_keys(init, opened["mpk_i"], 1, init.rand(1), b"")
        own.check_mac(init, keys, self.identity["initiator"] + self.identity["responder"])
        if "transfer_init" in expect:
            same(expect["transfer_init"], keys)
        session_keys = list(opened["session_keys"])
        for kemac in init.all(1):
            session_keys += own.decrypt(keys, init.csb, init.one(5)["t"], kemac["data"])
        mpk, rand_r, last = opened["mpk_i"], b"", init
        if "transfer_resp" in part:
            last = self.message("transfer_resp", part)
            rand_r = last.rand(2) if ticket["flags"] & FLAG_G else b""
            if ticket["flags"] & FLAG_I:
                identity, rand = last.one(14, 2)["data"], last.rand(3)
                assert identity == answerer
                mpk = own.fork(ticket["prf"], "2b288856", opened["mpk_r"], identity, rand)
                session_keys = [
                    key | {"key": own.fork(ticket["prf"], "1512b54a", key["key"], identity, rand)}
                    if key["type"] in (0, 1) and key in opened["session_keys"]
                    else key
                    for key in session_keys
                ]
                assert mpk.hex() == expect["mpk_r_forked"]
            keys = own.message_keys(last, mpk, 2, init.rand(1), rand_r)
            own.check_mac(last, keys, init.raw)
            same(expect["transfer_resp"], keys)
            for kemac in last.all(1):
                session_keys += own.decrypt(keys, last.csb, last.one(5)["t"], kemac["data"])
        policies = {item["policy"]: item["params"] for item in (*init.all(10), *last.all(10))}
        rand_i = init.rand(1) if ticket["flags"] & FLAG_H else b""
        self.compare(
            expect["crypto_sessions"], own.session_keys(last, policies, session_keys, rand_i, rand_r)
        )
        self.updates(expect, last.csb, keys, policies, session_keys, (rand_i, rand_r), answerer)

    def updates(self, expect, csb, keys, policies, session_keys, rands, answerer) -> None:
        for name in ("update", "update_2"):
            if f"{name}_init" not in self.messages:
                return
            init = self.message(f"{name}_init")
            assert init.csb == csb
            own.check_mac(init, keys, self.identity["initiator"] + answerer)
            same(expect[f"{name}_init"], keys)
            last = init
            session_keys = list(session_keys)
            for kemac in init.all(1):
                session_keys += own.decrypt(keys, csb, init.one(5)["t"], kemac["data"])
            if f"{name}_resp" in self.messages:
                last = self.message(f"{name}_resp")
                own.check_mac(last, keys, init.raw)
            found = own.session_keys(last, policies, session_keys, *rands)
            self.compare(expect[name]["crypto_sessions"], found)

    @staticmethod
    def compare(expected: list[dict], found: list[dict]) -> None:
        assert [(item["cs_id"], item["master_key"], item["master_salt"]) for item in expected] == [
            (item["cs_id"], item["master_key"].hex(), item["master_salt"].hex()) for item in found
        ]

    def initiator_data(self, opened: dict) -> None:
        """Section 6.10: Vi is the MAC of the message, Vr covers everything before its own."""
        init = self.message("transfer_init")
        ticket = init.one(17)
        if not ticket["flags"] & FLAG_I:
            assert ticket["initiator_data"] == b""
            return
        kind = ticket["prf"]
        label = bytes.fromhex(own.AUTH) + b"\xff" * 5 + b"\4"
        auth_key = own.prf(kind, opened["mpk_r"], label, 32 if kind else 20)
        assert auth_key.hex() == self.expect["initiator_data"]["auth_key"]
        data, length = ticket["initiator_data"], 32 if kind else 20
        assert own.hmac.digest(auth_key, data[:-length], "sha256" if kind else "sha1") == data[-length:]
        assert data[3 : 3 + length] == init.payloads[-1]["mac"]


@needs_openssl
@pytest.mark.parametrize("name", EXCHANGES)
def test_exchange(name, tmp_path):
    vector = VECTORS[name]
    walk = Walk(vector, tmp_path)
    credentials, messages, expect = vector["credentials"], vector["messages"], vector["expect"]
    opened = walk.ticket()
    walk.initiator_data(opened)
    if "request_init" in messages:
        initiator = walk.identity["initiator"]
        inkey = walk.init("request_init", 1, credentials["initiator"], initiator, messages, expect)
        keys = walk.response("request_resp", "request_init", inkey, messages, expect)
        assert keys[0]["key"] == opened["mpk_i"]
        count = 2 if "I" in vector["flags"] else 1
        assert [key["key"] for key in keys[count:]] == [key["key"] for key in opened["session_keys"]]
    parts = [
        (part, inner)
        for part, inner in zip(messages.get("branches", ()), expect.get("branches", ()), strict=True)
    ]
    parts += [
        (part, inner) for part, inner in zip(messages.get("reuse", ()), expect.get("reuse", ()), strict=True)
    ]
    if "branches" not in messages:
        parts.append((messages, expect))
    for part, inner in parts:
        answerer = part.get("answerer", vector["identities"]["answerer"]).encode()
        if "resolve_init" in part:
            party = part.get("credentials", credentials)["responder"]
            inkey = walk.init("resolve_init", 2, party, answerer, part, inner)
            keys = walk.response("resolve_resp", "resolve_init", inkey, part, inner)
            assert keys[0]["key"] == opened["mpk_i"]
        walk.transfer(part, inner, opened, answerer)
