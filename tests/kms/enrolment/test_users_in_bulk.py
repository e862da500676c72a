"""Users from a file: all mistakes with their lines, keys made on the way, phones from what comes out."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.cli.config.load import load
from sipmikey.cli.enrol.redeem import redeemed
from sipmikey.cli.kms.users import bulk
from sipmikey.cli.kms.users.people import COLUMNS, read_people, write_csv
from sipmikey.cli.main import main
from sipmikey.kms.administration import invite as invite_module
from sipmikey.kms.enrolment.codes import SECRET_SYMBOLS, Code, parse_code, parse_invitation
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from tests.cli.test_kms import Kms
from tests.cli.test_kms import kms as kms
from tests.kms.http.serving import Site, serving

MANY = 200


def table(path: Path, count: int = MANY) -> Path:
    """A file of users as a spreadsheet writes it: with a mark of its encoding, and semicolons."""
    lines = ["Identity;Name;Groups"]
    lines += [f"sip:user{n}@example.com tel:+4670{n:05};user{n};sip:staff@example.com" for n in range(count)]
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


def test_two_hundred_users_have_an_invitation_each(kms: Kms, tmp_path: Path) -> None:
    file, codes = table(tmp_path / "people.csv"), tmp_path / "codes.csv"
    (dry,) = kms.json("user", "import", str(file), "--dry-run")
    assert (dry["good"], dry["added"]) == (MANY, 0)
    assert kms.json("user", "list") == []
    (done,) = kms.json(
        "user",
        "import",
        str(file),
        "--invitations",
        str(codes),
        "--minutes",
        "60",
        "--url",
        "https://kms.example.com",
    )
    assert (done["added"], done["problems"]) == (MANY, 0)
    assert stat.S_IMODE(codes.stat().st_mode) == 0o600
    rows = list(csv.DictReader(codes.open()))
    assert len({row["number"] for row in rows}) == MANY
    assert len(kms.json("user", "invitations")) == MANY
    assert parse_invitation(rows[7]["uri"]).code == parse_code(rows[7]["code"])
    users = kms.json("user", "list")
    assert {user["name"] for user in users} == {f"user{n}" for n in range(MANY)}
    assert users[0]["groups"] == ["sip:staff@example.com"]
    audit = kms.json("audit", "--limit", "1000")
    assert len([event for event in audit if event["rule"] == "invite"]) == MANY


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second code that is drawn has the same number, from the first code on."""
    numbers = (f"0{n:03}" if n % 2 else "0000" for n in range(200))
    secret = Secret(b"0" * SECRET_SYMBOLS)
    monkeypatch.setattr(invite_module, "new_code", lambda random: Code(number=next(numbers), secret=secret))


@pytest.mark.usefixtures("drawn")
def test_a_number_that_is_taken_is_passed_over(kms: Kms, tmp_path: Path) -> None:
    for identity in ("sip:a@example.com", "sip:b@example.com"):
        kms.json("user", "invite", identity)
    codes = tmp_path / "codes.csv"
    kms.json("user", "import", str(table(tmp_path / "people.csv", 12)), "--invitations", str(codes))
    assert len({row["number"] for row in csv.DictReader(codes.open())}) == 12
    assert len(kms.json("user", "invitations")) == 14


def test_more_invitations_than_numbers_are_refused(
    kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invite_module, "NUMBERS", 4)
    kms.json("user", "invite", "sip:a@example.com")
    people = table(tmp_path / "people.csv", 2)
    code, _, err = kms.run("user", "import", str(people), "--invitations", str(tmp_path / "codes.csv"))
    assert (code, "2 more are too many" in err) == (2, True)


def test_an_import_that_breaks_off_tells_the_codes_it_has_made(
    kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    monkeypatch.setattr(invite_module, "NUMBERS", 8)
    codes = tmp_path / "codes.csv"
    people = table(tmp_path / "people.csv", 6)
    assert kms.run("user", "import", str(people), "--invitations", str(codes))[0] == 2
    stored = {record["number"] for record in kms.json("user", "invitations")}
    assert len(stored) == 4
    assert {row["number"] for row in csv.DictReader(codes.open())} == stored


def test_a_device_enrols_by_a_code_of_the_list(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    file = table(tmp_path / "people.csv", 2)
    with serving(site) as service:
        words = ["kms", "user", "import", str(file), "--invitations", str(tmp_path / "codes.csv")]
        assert main([*words, "--dir", str(site.directory), "--url", service.url]) == 0
        (_, row) = csv.DictReader((tmp_path / "codes.csv").open())
        enrolment = redeemed(
            parse_invitation(row["uri"]), service.url, name="", ca_file=None, with_certificate=False
        )
        assert enrolment.received.given.identity == row["identity"] == "sip:user1@example.com"


def test_each_bundle_is_a_configuration_that_works(kms: Kms, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a CA\n")
    (kms.directory / "profile.toml").write_text(
        f'[kms]\nca_file = "{tmp_path}/ca.pem"\n[nat]\nstun = "stun.example.com"\n'
    )
    people = [
        {"identity": "sip:alice@example.com", "psk_id": "alice", "valid_days": 30, "sip_password": "geheim"}
    ]
    file = tmp_path / "people.json"
    file.write_text(json.dumps([*people, {"identity": ["sip:bob@example.com", "tel:+4670"]}]))
    (done,) = kms.json(
        "user", "import", str(file), "--bundles", str(tmp_path / "out"), "--url", "https://kms.example.com"
    )
    assert done["added"] == 2
    path = tmp_path / "out" / "alice@example.com" / "config.toml"
    for made in (path, path.parent, path.parent.parent, path.parent / "kms.ca_file"):
        assert stat.S_IMODE(made.stat().st_mode) & 0o077 == 0
    settings = load(path=path).configuration
    assert (settings.identity.uri, settings.kms.psk_id) == ("sip:alice@example.com", "alice")
    assert (settings.kms.identity, settings.nat.stun) == ("sip:kms@example.com", "stun.example.com")
    assert settings.credentials.password == Secret(b"geheim")
    assert settings.kms.ca_file is not None
    assert settings.kms.ca_file.read_text() == "a CA\n"
    kms.run("export", str(tmp_path / "keys.jsonl"), "--with-keys")
    assert settings.kms.psk is not None
    assert settings.kms.psk.reveal().decode() in (tmp_path / "keys.jsonl").read_text()
    assert kms.json("user", "list", "sip:alice@example.com")[0]["psks"][0]["valid_until_s"] is not None


def test_every_mistake_is_told_with_its_line_and_nothing_is_added(kms: Kms, tmp_path: Path) -> None:
    kms.json("user", "add", "sip:carol@example.com")
    file = tmp_path / "people.csv"
    file.write_text(
        "identity,name,valid_days\n"
        "sip:alice@example.com,alice,30\n"
        "alice at example,,\n"
        ",nobody,\n"
        "sip:bob@example.com,alice,-1\n"
        "\n"
        "sip:ALICE@example.com,alice,\n"
        "sip:carol@example.com,,\n"
        "sip:dave@example.com,,,,,\n"
    )
    words = [
        "user",
        "import",
        str(file),
        "--bundles",
        str(tmp_path / "out"),
        "--url",
        "https://kms.example.com",
    ]
    code, out, err = kms.run(*words)
    assert code == 2
    told = [line.removeprefix(f"{file}:") for line in err.splitlines()]
    assert [line.split(":")[0] for line in told] == ["3", "4", "5", "7", "8", "9"]
    assert "is not an identity" in told[0]
    assert told[1] == "4: identity: it is missing"
    assert told[2] == "5: valid_days: a number of days above 0 is needed"
    assert "is in line 2 already" in told[3]
    assert "at this KMS already" in told[4]
    assert "nothing was changed" in out
    assert not (tmp_path / "out").exists()
    code, _, _ = kms.run(*words, "--skip")
    assert code == 2
    assert [user["name"] for user in kms.json("user", "list")] == ["alice", "sip:carol@example.com"]
    more = ["user", "import", str(table(tmp_path / "more.csv", 2)), "--bundles", str(tmp_path / "more")]
    code, out, _ = kms.run(*more, "--url", "https://kms.example.com")
    assert (code, "2 users added" in out) == (0, True)
    code, out, _ = kms.run("user", "import", str(tmp_path / "more.csv"), "--dry-run", "--existing")
    assert (code, "0 users could be added, 2 there already" in out) == (0, True)


def test_a_file_that_is_not_one_of_users_is_refused(kms: Kms, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    for text, expected in (("", "names the columns"), ("name\nx\n", "identity"), ("identity,shoe\n", "shoe")):
        file.write_text(text)
        code, _, err = kms.run("user", "import", str(file), "--dry-run")
        assert (code, expected in err) == (2, True)
    assert kms.run("user", "import", str(file))[0] == 2, "neither invitations nor bundles"
    assert kms.run("user", "import", str(tmp_path / "people.xlsx"), "--dry-run")[0] == 2


@pytest.mark.parametrize(
    "text",
    [
        '[{"identity": "sip:a@b.c"},\n 7,\n {"identity": 7}, {"shoe": 1}]',
        '{"identity": "sip:a@b.c"}\n7\n{"identity": 7} {"shoe": 1}',
    ],
)
def test_json_comes_as_an_array_or_as_lines(text: str) -> None:
    found = read_people(text, as_json=True)
    assert [person.identity for person in found.people] == ["sip:a@b.c"]
    assert [(problem.line, problem.column) for problem in found.problems] == [
        (2, ""), (3, "identity"), (3, "shoe"), (3, "identity"),
    ]  # fmt: skip


@given(st.text(max_size=60) | st.text(alphabet='identity,name;\n"=:@sip[]{}0', max_size=60), st.booleans())
def test_no_file_is_too_odd_to_be_judged(text: str, as_json: bool) -> None:
    try:
        found = read_people(text if as_json else f"identity,name\n{text}", as_json=as_json)
    except LocalError:
        return
    assert all(problem.line >= 1 for problem in found.problems)


def test_an_export_is_read_by_a_spreadsheet_without_harm(kms: Kms, tmp_path: Path) -> None:
    kms.json("user", "add", "sip:alice@example.com", "--name", "=cmd()")
    assert kms.run("user", "export", str(tmp_path / "users.csv"))[0] == 0
    (row,) = csv.DictReader((tmp_path / "users.csv").open())
    assert row["name"] == "'=cmd()"
    assert (row["identity"], row["keys"], row["devices"]) == ("sip:alice@example.com", "1", "0")
    assert kms.run("user", "export", str(tmp_path / "users.json"))[0] == 0
    assert json.loads((tmp_path / "users.json").read_text())[0]["name"] == "=cmd()"
    assert set(read_people(write_csv([], COLUMNS), as_json=False).people) == set()


def test_a_backup_has_the_profile(kms: Kms, tmp_path: Path) -> None:
    (kms.directory / "profile.toml").write_text('[nat]\nstun = "stun.example.com"\n')
    kms.json("backup", str(tmp_path / "b.tar"))
    restored = tmp_path / "restored"
    kms.json(
        "restore",
        str(tmp_path / "b.tar"),
        "--master-key",
        str(kms.directory / "master.key"),
        directory=restored,
    )
    assert (restored / "profile.toml").read_text() == (kms.directory / "profile.toml").read_text()
