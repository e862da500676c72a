"""Our own vectors: made again they are the same, they hold, and a wrong one does not pass."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sipmikey.cli.main import main
from sipmikey.vectors.check import check

FORMAT = "mikey-ticket-vectors/1"
DIRECTORY = Path(__file__).parent
TOOL = DIRECTORY.parents[1] / "tools" / "make_vectors.py"
FILES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))}
VECTORS = {vector["name"]: vector for document in FILES.values() for vector in document["vectors"]}
EXCHANGES = {name: vector for name, vector in VECTORS.items() if vector["kind"] == "exchange"}


def test_made_again_they_are_the_same():
    done = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_unique_and_the_format_is_named():
    assert sum(len(document["vectors"]) for document in FILES.values()) == len(VECTORS)
    assert {document["format"] for document in FILES.values()} == {FORMAT}


def test_every_mode_suite_and_kind_is_there():
    assert {vector["kind"] for vector in VECTORS.values()} == {"prf", "exchange", "reject"}
    modes = {(vector["mode"], len(vector["credentials"]["tpk"]) // 2) for vector in EXCHANGES.values()}
    assert modes == {
        (mode, length) for mode in ("full", "kerberos", "otway-rees", "preshared") for length in (16, 32)
    }
    assert {flag for vector in EXCHANGES.values() for flag in vector["flags"]} == set("DEFGHIJLMNO")
    types = {key["type"] for vector in EXCHANGES.values() for key in vector["expect"]["tgks"]}
    assert types >= {"TGK", "TGK+SALT", "TEK+SALT", "GTGK", "GTGK+SALT"}


@pytest.mark.parametrize("name", VECTORS)
def test_holds(name):
    assert check(VECTORS[name], EXCHANGES).faults == ()


def test_members_of_a_group_derive_the_same_keys():
    group = VECTORS["group-256"]["expect"]
    keys = [session["master_key"] for session in group["crypto_sessions"]]
    assert [session["master_key"] for session in group["reuse"][0]["crypto_sessions"]] == keys


def test_branches_derive_keys_of_their_own():
    branches = VECTORS["branches-256-three"]["expect"]["branches"]
    for number in (0, 1):
        assert len({branch["crypto_sessions"][number]["master_key"] for branch in branches}) == len(branches)
    assert len({branch["mpk_r_forked"] for branch in branches}) == len(branches)


def leaves(value: object, path: tuple = ()) -> list[tuple]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [path]


@pytest.mark.parametrize(
    "name", ["full-256-forking", "branches-128", "update-256-forking-both", "full-128-pk", "reuse-128"]
)
def test_every_expected_value_is_compared(name):
    missed = []
    for path in leaves(VECTORS[name]["expect"]):
        vector = copy.deepcopy(VECTORS[name])
        inner = vector["expect"]
        for step in path[:-1]:
            inner = inner[step]
        value = inner[path[-1]]
        inner[path[-1]] = {str: f"{value}0", bool: not value, int: 1 << 40}.get(type(value), "not this")
        if not check(vector, EXCHANGES).faults:
            missed.append(path)
    assert missed == []


@pytest.mark.parametrize("name", ["full-256-forking", "update-256-forking-both", "preshared-128"])
def test_a_changed_message_fails(name):
    for message in VECTORS[name]["messages"]:
        vector = copy.deepcopy(VECTORS[name])
        octets = bytearray(bytes.fromhex(vector["messages"][message]))
        octets[-1] ^= 1
        vector["messages"][message] = octets.hex()
        assert check(vector, EXCHANGES).faults, message


def test_a_reject_that_is_the_message_itself_fails():
    base = VECTORS["full-256"]
    for message, text in base["messages"].items():
        vector = {"kind": "reject", "name": "x", "base": "full-256", "message": message, "hex": text}
        assert check(vector, EXCHANGES).faults == ("was accepted",)


def written(path: Path, vector: dict) -> Path:
    path.write_text(json.dumps({"format": FORMAT, "vectors": [vector]}), encoding="utf-8")
    return path


class TestCommand:
    def test_passes_all_files(self, capsys):
        assert main(["vectors", "check", *map(str, sorted(DIRECTORY.glob("*.json")))]) == 0
        out = capsys.readouterr().out
        assert f"{len(VECTORS)} vectors, 0 failed" in out
        assert len(out.splitlines()) == len(VECTORS) + 1

    def test_rejects_find_their_exchanges_beside_them(self, capsys):
        assert main(["vectors", "check", "--failed", str(DIRECTORY / "reject.json")]) == 0
        assert capsys.readouterr().out.count("\n") == 1

    def test_a_wrong_vector_gives_1_and_says_which(self, capsys, tmp_path):
        path = written(tmp_path / "wrong.json", FILES["prf"]["vectors"][0] | {"outkey": "00"})
        assert main(["vectors", "check", str(path)]) == 1
        assert "FAIL" in capsys.readouterr().out
        assert main(["vectors", "check", "--json", str(path)]) == 1
        first, last = map(json.loads, capsys.readouterr().out.splitlines())
        assert not first["ok"]
        assert (last["type"], last["failed"]) == ("summary", 1)

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "x"}', f'{{"format": "{FORMAT}"}}'])
    def test_what_is_no_vector_file_gives_2(self, capsys, tmp_path, text):
        path = tmp_path / "file.json"
        path.write_text(text, encoding="utf-8")
        assert main(["vectors", "check", str(path)]) == 2
        assert "file.json" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "vector",
        [
            {},
            {"kind": "unknown"},
            {"kind": "prf"},
            {"kind": "exchange", "mode": "full"},
            {"kind": "exchange", "mode": "full", "now": 1, "identities": [], "messages": {}},
            {"kind": "reject", "base": "none", "message": "x", "hex": "00"},
            {"kind": "prf", "prf": "x", "inkey": "zz", "label": "", "outkey_bits": 1, "outkey": ""},
        ],
    )
    def test_a_vector_that_is_none_fails_without_ending_the_run(self, capsys, tmp_path, vector):
        path = written(tmp_path / "file.json", vector)
        assert main(["vectors", "check", str(path)]) == 1
        assert "1 failed" in capsys.readouterr().out
