"""The `sipmikey kms` commands against a SQLite store in a scratch directory."""

from __future__ import annotations

import base64
import getpass
import io
import json
import stat
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sipmikey.cli.main import main

ALICE, BOB, SUPPORT = "sip:alice@example.com", "sip:bob@example.com", "sip:support@example.com"


class Kms:
    """Runs commands on one KMS and parses what they print."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def run(self, *words: str, directory: Path | None = None) -> tuple[int, str, str]:
        """Run `sipmikey kms WORDS --dir ...`; return exit code, output and complaints."""
        self._capsys.readouterr()
        code = main(["kms", *words, "--dir", str(directory or self.directory)])
        captured = self._capsys.readouterr()
        return code, captured.out, captured.err

    def json(self, *words: str, directory: Path | None = None) -> list[dict[str, Any]]:
        """Run a command that must succeed, with `--json`."""
        code, out, err = self.run(*words, "--json", directory=directory)
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    def init(self, directory: Path | None = None) -> None:
        self.json("init", "--identity", "sip:kms@example.com", directory=directory)


@pytest.fixture
def kms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Kms:
    kms = Kms(tmp_path / "kms", capsys)
    kms.init()
    return kms


def test_init_makes_private_files_and_never_overwrites(kms: Kms) -> None:
    assert stat.S_IMODE(kms.directory.stat().st_mode) == 0o700
    for name in ("kms.toml", "master.key", "policy.toml", "kms.sqlite"):
        assert stat.S_IMODE((kms.directory / name).stat().st_mode) == 0o600, name
    before = {path.name: path.read_bytes() for path in kms.directory.iterdir()}
    code, _, err = kms.run("init", "--identity", "sip:other@example.com")
    assert (code, "already" in err) == (2, True)
    assert {path.name: path.read_bytes() for path in kms.directory.iterdir()} == before


def test_a_failed_init_can_be_repeated(kms: Kms, tmp_path: Path) -> None:
    elsewhere = tmp_path / "second"
    code, _, err = kms.run(
        "init", "--identity", "sip:kms@example.com", "--store", "mysql:x", directory=elsewhere
    )
    assert (code, "mysql" in err) == (2, True)
    kms.init(elsewhere)


def test_without_a_kms_the_error_names_the_fix(kms: Kms, tmp_path: Path) -> None:
    code, _, err = kms.run("user", "list", directory=tmp_path / "nowhere")
    assert code == 2
    assert "sipmikey kms init" in err


def test_a_generated_key_is_shown_once(kms: Kms) -> None:
    (added,) = kms.json("user", "add", ALICE, "tel:+46701234567")
    assert len(base64.b64decode(added["psk"])) == 32
    assert added["identities"] == [ALICE, "tel:+46701234567"]
    for words in (("user", "list"), ("export", "-"), ("audit",)):
        for extra in ((), ("--json",)):
            _, out, err = kms.run(*words, *extra)
            assert added["psk"] not in out + err
    (listed,) = kms.json("user", "list")
    assert listed["psks"][0]["psk_id"] == added["psk_id"]


def test_a_key_can_go_to_a_file(kms: Kms, tmp_path: Path) -> None:
    file = tmp_path / "alice.psk"
    code, out, _ = kms.run("user", "add", ALICE, "--psk-file", str(file))
    assert code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    assert file.read_text().strip() not in out


def test_a_subscriber_that_cannot_be_added_leaves_no_key_file(kms: Kms, tmp_path: Path) -> None:
    kms.json("user", "add", ALICE)
    file = tmp_path / "again.psk"
    code, _, err = kms.run("user", "add", ALICE, "--psk-file", str(file))
    assert (code, "already" in err, file.exists()) == (2, True, False)
    file.write_text("mine")
    assert kms.run("user", "add", BOB, "--psk-file", str(file))[0] == 2
    assert file.read_text() == "mine"
    assert [user["name"] for user in kms.json("user", "list")] == [ALICE]


def test_rotation_leaves_the_old_key_for_a_while(kms: Kms) -> None:
    (first,) = kms.json("user", "add", ALICE)
    (second,) = kms.json("user", "rotate", ALICE, "--overlap-days", "1")
    assert second["psk"] != first["psk"]
    (listed,) = kms.json("user", "list", ALICE)
    ends = {psk["psk_id"]: psk["valid_until_s"] for psk in listed["psks"]}
    assert ends[second["psk_id"]] is None
    assert ends[first["psk_id"]] is not None


def test_users_are_disabled_enabled_and_removed(kms: Kms) -> None:
    kms.json("user", "add", ALICE)
    kms.json("user", "disable", ALICE)
    assert kms.json("user", "list")[0]["enabled"] is False
    kms.json("user", "enable", ALICE)
    assert kms.json("user", "list")[0]["enabled"] is True
    kms.json("user", "remove", ALICE)
    assert kms.json("user", "list") == []
    code, _, err = kms.run("user", "remove", ALICE)
    assert (code, ALICE in err) == (2, True)


def test_groups_have_members_and_wildcards(kms: Kms) -> None:
    kms.json("user", "add", ALICE, "--group", SUPPORT)
    kms.json("group", "add", SUPPORT, "sip:*@support.example.com", BOB)
    (group,) = kms.json("group", "list")
    assert group["members"] == sorted([ALICE, BOB, "sip:*@support.example.com"])
    kms.json("group", "remove", SUPPORT, BOB)
    assert BOB not in kms.json("group", "list")[0]["members"]
    kms.json("group", "remove", SUPPORT)
    assert kms.json("group", "list") == []


def test_policy_test_explains_and_tells_by_exit_code(kms: Kms) -> None:
    (kms.directory / "policy.toml").write_text(
        '[[rule]]\nname = "not bob"\nfrom = ["*"]\nto = ["sip:bob@example.com"]\ndecision = "refuse"\n'
        '[[rule]]\nname = "support"\nfrom = ["sip:*@example.com"]\nto = ["group:sip:support@example.com"]\n'
        'decision = "allow"\n'
    )
    kms.json("group", "add", SUPPORT, "sip:carol@example.com")
    (told,) = kms.json("policy", "test", "--from", ALICE, "--to", "sip:carol@example.com")
    assert (told["allowed"], told["rule"]) == (True, "support")
    code, out, _ = kms.run("policy", "test", "--from", ALICE, "--to", BOB)
    assert code == 4
    assert "refused by rule not bob" in out
    code, out, _ = kms.run("policy", "test", "--from", "sip:x@example.org", "--to", SUPPORT)
    assert code == 4


def test_the_first_policy_grants_nothing_for_whom_nobody_knows(kms: Kms, tmp_path: Path) -> None:
    kms.json("user", "add", ALICE)
    kms.json("user", "add", BOB)
    kms.json("group", "add", SUPPORT, BOB)
    (told,) = kms.json("policy", "test", "--from", ALICE, "--to", BOB)
    assert (told["allowed"], told["rule"]) == (True, "subscribers")
    unknown = ("sip:nobody@example.com", "sip:bob@example.org", "sip:*@example.com", SUPPORT)
    for source, target in [(ALICE, one) for one in unknown] + [("sip:nobody@example.com", BOB)]:
        code, out, _ = kms.run("policy", "test", "--from", source, "--to", target)
        assert (code, "no rule" in out) == (4, True), (source, target)
    elsewhere = tmp_path / "open"
    kms.json("init", "--identity", "sip:kms@example.com", "--policy", "open", directory=elsewhere)
    kms.json("policy", "test", "--from", ALICE, "--to", "sip:nobody@example.com", directory=elsewhere)


def test_a_wrong_policy_is_named_by_check(kms: Kms, tmp_path: Path) -> None:
    assert kms.json("policy", "check")[0]["rules"] == 1
    assert kms.json("policy", "show")[0]["rules"][0]["name"] == "subscribers"
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[rule]]\nname = "x"\nfrom = ["*"]\nto = ["*"]\ndecision = "alow"\n')
    code, _, err = kms.run("policy", "check", "--file", str(wrong))
    assert (code, "alow" in err, "allow" in err) == (2, True, True)


def test_a_policy_can_live_in_the_store(kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    file = tmp_path / "new.toml"
    file.write_text('[[rule]]\nname = "nobody"\nfrom = ["*"]\nto = ["*"]\ndecision = "refuse"\n')
    code, _, err = kms.run("policy", "put", str(file))
    assert (code, "source" in err) == (2, True)
    toml = kms.directory / "kms.toml"
    toml.write_text(toml.read_text() + '\n[policy]\nsource = "store"\n')
    code, _, err = kms.run("policy", "show")
    assert (code, "policy put" in err) == (2, True)
    kms.json("policy", "put", str(file))
    assert kms.run("policy", "test", "--from", ALICE, "--to", BOB)[0] == 4


def test_ticket_keys_rotate_by_command(kms: Kms) -> None:
    (first,) = kms.json("tpk", "rotate")
    (second,) = kms.json("tpk", "rotate")
    assert first["key_id"] != second["key_id"]
    states = {key["key_id"]: key["seals_until_s"] for key in kms.json("tpk", "list")}
    assert states[second["key_id"]] is None
    assert states[first["key_id"]] is not None


def test_a_ticket_key_is_shared_with_a_subscriber_and_destroyed(kms: Kms, tmp_path: Path) -> None:
    kms.json("user", "add", BOB)
    (name,) = [user["name"] for user in kms.json("user", "list")]
    file = tmp_path / "bob.tpk"
    (shared,) = kms.json("tpk", "share", name, "--tpk-file", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(base64.b64decode(file.read_text())) == 32
    assert (shared["owner"], "tpk" in shared) == (name, False)
    assert shared["key_id"] in {key["key_id"] for key in kms.json("tpk", "list")}
    kms.json("tpk", "destroy", shared["key_id"])
    assert shared["key_id"] not in {key["key_id"] for key in kms.json("tpk", "list")}
    code, _, err = kms.run("tpk", "destroy", shared["key_id"])
    assert (code, shared["key_id"] in err) == (2, True)


def test_no_ticket_key_is_shared_with_a_stranger(kms: Kms, tmp_path: Path) -> None:
    file = tmp_path / "stranger.tpk"
    code, _, err = kms.run("tpk", "share", "nobody", "--tpk-file", str(file))
    assert (code, "no subscriber" in err, file.exists()) == (2, True, False)


def test_export_and_import_carry_everything_over(kms: Kms, tmp_path: Path) -> None:
    (alice,) = kms.json("user", "add", ALICE, "--group", SUPPORT)
    kms.json("user", "add", BOB)
    kms.json("group", "add", SUPPORT, "sip:*@support.example.com")
    plain, full = tmp_path / "plain.jsonl", tmp_path / "full.jsonl"
    kms.json("export", str(plain))
    assert alice["psk"] not in plain.read_text()
    kms.json("export", str(full), "--with-keys")
    assert stat.S_IMODE(full.stat().st_mode) == 0o600
    second = tmp_path / "second"
    kms.init(second)
    assert kms.json("import", str(full), directory=second)[0]["subscribers"] == 2
    again = tmp_path / "again.jsonl"
    kms.json("export", str(again), "--with-keys", directory=second)
    assert sorted(again.read_text().splitlines()) == sorted(full.read_text().splitlines())
    code, _, err = kms.run("import", str(plain), directory=second)
    assert code == 2
    assert err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1"),
        ('{"name": "x"}', "identity"),
        ('{"name": "x", "identities": ["nonsense"]}', "nonsense"),
        ('{"group": "sip:g@example.com", "members": "x"}', "line 1"),
        ('{"name": "x", "identities": ["sip:x@y.example"], "colour": 1}', "colour"),
    ],
)
def test_a_wrong_import_names_the_line(kms: Kms, tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "wrong.jsonl"
    file.write_text(line + "\n")
    code, _, err = kms.run("import", str(file))
    assert code == 2
    assert told in err


def test_a_backup_restores_with_the_master_key_only(kms: Kms, tmp_path: Path) -> None:
    kms.json("user", "add", ALICE)
    kms.json("tpk", "rotate")
    archive = tmp_path / "backup.tar"
    kms.json("backup", str(archive))
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert (kms.directory / "master.key").read_bytes().strip() not in archive.read_bytes()
    assert kms.run("backup", str(archive))[0] == 2
    key = str(kms.directory / "master.key")
    restored = tmp_path / "restored"
    kms.json("restore", str(archive), "--master-key", key, directory=restored)
    assert kms.json("user", "list", directory=restored)[0]["name"] == ALICE
    assert kms.json("tpk", "list", directory=restored) == kms.json("tpk", "list")
    code, _, err = kms.run("restore", str(archive), directory=restored)
    assert (code, "already" in err) == (2, True)
    other = tmp_path / "other"
    kms.init(other)
    wrong = tmp_path / "wrong"
    code, _, err = kms.run(
        "restore", str(archive), "--master-key", str(other / "master.key"), directory=wrong
    )
    assert (code, "master key" in err) == (2, True)


def test_what_is_no_backup_is_refused(kms: Kms, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(b"not a tar file")
    code, _, err = kms.run("restore", str(file), directory=tmp_path / "new")
    assert (code, "not a backup" in err) == (2, True)


def rewritten(
    archive: Path, target: Path, changes: dict[str, bytes], *, kind: bytes = tarfile.REGTYPE
) -> Path:
    """Copy a backup with other contents for some of its members."""
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for member in old:
            stream = old.extractfile(member)
            assert stream is not None
            data = changes.get(member.name, stream.read())
            member.size = len(data)
            if member.name in changes:
                member.type = kind
            new.addfile(member, io.BytesIO(data))
    return target


@pytest.mark.parametrize("member", ["kms.toml", "policy", "store.sqlite", "manifest.json"])
def test_an_altered_backup_is_refused_and_nothing_is_written(kms: Kms, tmp_path: Path, member: str) -> None:
    archive = tmp_path / "backup.tar"
    kms.json("backup", str(archive))
    with tarfile.open(archive) as read:
        stream = read.extractfile(member)
        assert stream is not None
        data = stream.read()
    changed = data.replace(b'"version"', b'"Version"') if member == "manifest.json" else data + b"\n"
    altered = rewritten(archive, tmp_path / "altered.tar", {member: changed})
    target = tmp_path / "new"
    key = str(kms.directory / "master.key")
    code, _, err = kms.run("restore", str(altered), "--master-key", key, directory=target)
    assert (code, "altered" in err) == (2, True)
    assert not target.exists()


def test_a_backup_writes_nothing_outside_its_directory_and_loads_no_code(kms: Kms, tmp_path: Path) -> None:
    archive, outside = tmp_path / "backup.tar", tmp_path / "outside"
    kms.json("backup", str(archive))
    settings = (kms.directory / "kms.toml").read_text()
    key = str(kms.directory / "master.key")
    for number, changed in enumerate(
        (
            f'{settings}\n[policy]\nfile = "{outside}"\n',
            settings.replace("sqlite:", f"sqlite:{outside}/"),
            settings.replace("file:master.key", "provider:subprocess:Popen"),
        )
    ):
        assert changed != settings
        altered = rewritten(archive, tmp_path / f"{number}.tar", {"kms.toml": changed.encode()})
        for more in ((), ("--master-key", key)):
            code, _, _ = kms.run("restore", str(altered), *more, directory=tmp_path / "new")
            assert code == 2
    # Even its own KMS cannot have it write elsewhere.
    policy = kms.directory / "policy.toml"
    policy.rename(outside)
    (kms.directory / "kms.toml").write_text(f'{settings}\n[policy]\nfile = "{outside}"\n')
    kms.json("backup", str(tmp_path / "own.tar"))
    outside.unlink()
    code, _, err = kms.run(
        "restore", str(tmp_path / "own.tar"), "--master-key", key, directory=tmp_path / "own"
    )
    assert (code, "outside" in err) == (2, True)
    assert not outside.exists()


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_backup_of_odd_files_is_refused(kms: Kms, tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "backup.tar"
    kms.json("backup", str(archive))
    odd = rewritten(archive, tmp_path / "odd.tar", {"policy": b""}, kind=kind)
    code, _, err = kms.run("restore", str(odd), directory=tmp_path / "new")
    assert (code, "not a backup" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[kms]\n", "kms.identity is missing"),
        ('[kms]\nidentity = "sip:k@x.example"\n[htp]\n', "did you mean http"),
        ('[kms]\nidentity = "sip:k@x.example"\n[http]\nlissen = []\n', "did you mean listen"),
        ('[kms]\nidentity = "sip:k@x.example"\n[http]\nworkers = "two"\n', "whole number"),
        ('[kms]\nidentity = "sip:k@x.example"\n[http]\nlog_level = "loud"\n', "unknown word"),
        ("[kms\n", "not TOML"),
    ],
)
def test_a_wrong_configuration_names_the_key(kms: Kms, text: str, told: str) -> None:
    (kms.directory / "kms.toml").write_text(text)
    code, _, err = kms.run("serve")
    assert code == 2
    assert told in err


def test_config_show_tells_values_and_origins_without_passwords(kms: Kms) -> None:
    toml = kms.directory / "kms.toml"
    toml.write_text(
        toml.read_text().replace('replay_url = ""', 'replay_url = "redis://user:swordfish@127.0.0.1"')
        + '[peers."sip:kms@example.org"]\nurl = "https://kms.example.org"\nkey_id = "a"\nkey_file = "a.psk"\n'
    )
    code, out, _ = kms.run("config", "show", "--json")
    document = json.loads(out)
    assert (code, document["file"]) == (0, str(toml))
    assert document["settings"]["http.pending"] == {"value": 256, "origin": "default"}
    assert document["settings"]["kms.identity"]["origin"] == "file"
    assert document["settings"]["policy.file"]["value"] == str(kms.directory / "policy.toml")
    assert document["settings"]["store.replay_url"]["value"] == "redis://user:********@127.0.0.1"
    assert document["peers"]["sip:kms@example.org"]["key_file"] == str(kms.directory / "a.psk")
    code, out, _ = kms.run("config", "show")
    assert code == 0
    assert "swordfish" not in out
    shown = tomllib.loads(out)
    assert shown["http"]["pending"] == 256
    assert shown["peers"]["sip:kms@example.org"]["url"] == "https://kms.example.org"


def test_the_master_key_can_come_from_the_environment(kms: Kms, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (kms.directory / "master.key").read_text().strip()
    (kms.directory / "master.key").unlink()
    toml = kms.directory / "kms.toml"
    toml.write_text(toml.read_text().replace("file:master.key", "env:SIPMIKEY_KMSD_MASTER_KEY"))
    code, _, err = kms.run("user", "list")
    assert (code, "SIPMIKEY_KMSD_MASTER_KEY" in err) == (2, True)
    monkeypatch.setenv("SIPMIKEY_KMSD_MASTER_KEY", key)
    assert kms.json("user", "list") == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("init",),
        ("serve",),
        ("user", "add"),
        ("group", "add"),
        ("policy", "test"),
        ("tpk", "rotate"),
        ("tpk", "share"),
        ("audit",),
        ("backup",),
        ("restore",),
        ("import",),
        ("export",),
    ],
)
def test_help_has_examples_and_exit_codes(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kms", *words, "--help"]) == 0
    text = capsys.readouterr().out
    assert "exit codes:" in text
    assert text.count("sipmikey kms") >= 2
