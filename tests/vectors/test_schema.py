"""The vector files follow the schema, which refuses others; their licence is told."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from sipmikey.cli.main import main

DIRECTORY = Path(__file__).parent
ROOT = DIRECTORY.parents[1]
FILES = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))}
OUTSIDE = ROOT.parent / "shared" / "vectors"


@pytest.fixture
def validator(capsys: pytest.CaptureFixture[str]) -> jsonschema.Draft202012Validator:
    assert main(["vectors", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", FILES)
def test_every_file_follows_it(name: str, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(FILES[name])


def test_every_field_of_our_vectors_is_one_it_knows(validator: jsonschema.Draft202012Validator) -> None:
    definitions = validator.schema["$defs"]
    common = set(definitions["vector"]["properties"])
    for document in FILES.values():
        for vector in document["vectors"]:
            assert set(vector) <= common | set(definitions[vector["kind"]]["properties"]), vector["name"]


def _changed(name: str, *path: str, value: object) -> dict:
    document = copy.deepcopy(FILES[name])
    inner = document["vectors"][0]
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        {},
        FILES["prf.json"] | {"format": "mikey-ticket-vectors/2"},
        _changed("prf.json", "kind", value="other"),
        _changed("prf.json", "inkey", value="0G"),
        _changed("prf.json", "inkey", value="ABC"),
        _changed("prf.json", "outkey_bits", value="8"),
        _changed("exchange-full.json", "flags", value="ED"),
        _changed("exchange-full.json", "mode", value="half"),
        _changed("exchange-full.json", "messages", "request", value="00"),
        _changed("exchange-full.json", "expect", "mpk_i", value=1),
        _changed("exchange-full.json", "credentials", "initiator", "psk", value="0"),
        _changed("reject.json", "refused_by", value="nobody"),
        _changed("reject.json", "message", value="request"),
    ],
)
def test_it_refuses_others(document: dict, validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid(document)


def test_a_missing_field_is_refused(validator: jsonschema.Draft202012Validator) -> None:
    for name in ("prf.json", "exchange-full.json", "reject.json"):
        for field in FILES[name]["vectors"][0]:
            document = copy.deepcopy(FILES[name])
            del document["vectors"][0][field]
            if field not in ("strength", "update_from", "inputs"):
                assert not validator.is_valid(document), (name, field)


def test_the_files_are_in_the_public_domain() -> None:
    licence = (DIRECTORY / "LICENSE").read_text(encoding="utf-8")
    assert "CC0 1.0 Universal" in licence
    assert "Statement of Purpose" in licence
    for page in (ROOT / "docs" / "tests" / "vectors.md", DIRECTORY / "README.md"):
        assert "CC0 1.0" in page.read_text(encoding="utf-8")


@pytest.mark.skipif(not OUTSIDE.is_dir(), reason="the outside vectors are not here")
def test_vectors_of_others_follow_it(validator: jsonschema.Draft202012Validator) -> None:
    for path in sorted(OUTSIDE.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] == "mikey-ticket-vectors/1":
            validator.validate(document)
