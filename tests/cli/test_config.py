"""The configuration: precedence, strictness, secrets."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from sipmikey.cli.config.load import load, read_secret_file, variable
from sipmikey.cli.config.schema import SECTIONS
from sipmikey.cli.main import main
from sipmikey.settings import ConfigurationError, settings

ALICE = """
[identity]
uri = "sip:alice@example.com"

[kms]
url = "https://kms.example.com"
psk_file = "alice.psk"

[security]
policy = "preferred"
suites = ["128", "256"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "alice.toml"
    path.write_text(ALICE)
    return path


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for section, key, _, _ in settings(SECTIONS):
        monkeypatch.delenv(variable(section, key), raising=False)
    monkeypatch.delenv("SIPMIKEY_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


def test_options_win_over_environment_and_environment_over_file(file: Path) -> None:
    environment = {"SIPMIKEY_SECURITY_POLICY": "off", "SIPMIKEY_KMS_URL": "https://env.example.com"}
    options = {("security", "policy"): "required"}
    loaded = load(path=file, environment=environment, options=options)
    assert loaded.configuration.security.policy == "required"
    assert loaded.configuration.kms.url == "https://env.example.com"
    assert loaded.configuration.identity.uri == "sip:alice@example.com"
    assert loaded.configuration.timeouts.setup == 60.0
    assert loaded.merged.origins["security", "policy"] == "option"
    assert loaded.merged.origins["kms", "url"] == "environment"
    assert loaded.merged.origins["identity", "uri"] == "file"
    assert loaded.merged.origins["timeouts", "setup"] == "default"


def test_protection_is_required_when_nobody_says_otherwise() -> None:
    loaded = load(environment={})
    assert loaded.configuration.security.policy == "required"
    assert loaded.configuration.security.suites == ("256", "128")
    assert not loaded.warnings


def test_file_named_by_variable_and_file_in_its_usual_place(file: Path, tmp_path: Path) -> None:
    assert load(environment={"SIPMIKEY_CONFIG": str(file)}).path == file
    usual = tmp_path / "xdg" / "sipmikey" / "config.toml"
    usual.parent.mkdir(parents=True)
    usual.write_text(ALICE)
    loaded = load(environment={"XDG_CONFIG_HOME": str(tmp_path / "xdg")})
    assert (loaded.path, loaded.configuration.identity.uri) == (usual, "sip:alice@example.com")


def test_paths_in_a_file_are_relative_to_it(file: Path) -> None:
    assert load(path=file, environment={}).configuration.kms.psk_file == file.parent / "alice.psk"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[securty]\npolicy = 'off'", ("unknown section [securty]", "did you mean security?")),
        ("[security]\npolcy = 'off'", ("unknown key security.polcy", "did you mean policy?", "suites")),
        ("[security]\npolicy = 'require'", ("security.policy", "'require'", "required, preferred, off")),
        ("[security]\npolicy = 1", ("security.policy", "needs text, not a number")),
        ("[security]\nsuites = ['512']", ("security.suites", "'512'", "256, 128")),
        ("[security]\nsuites = ['256', '256']", ("security.suites", "each once")),
        ("[security]\nsuites = []", ("security.suites",)),
        ("[security]\nretarget = 'maybe'", ("security.retarget", "accept, ask, refuse")),
        ("security = 'off'", ("security is a section",)),
        ("[identity]\nuri = 'alice@example.com'", ("identity.uri", "sip or sips URI")),
        ("[identity]\nuri = 'http://example.com'", ("identity.uri", "sip or sips URI")),
        ("[sip]\nlisten = 'localhost'", ("sip.listen", "HOST:PORT")),
        ("[sip]\nlisten = '::1:5060'", ("sip.listen", "brackets")),
        ("[sip]\nlisten = '127.0.0.1:70000'", ("sip.listen", "HOST:PORT")),
        ("[sip]\ntransports = ['UDP']", ("sip.transports", "udp, tcp, tls")),
        (
            "[security.contacts]\n'sip:b@example.com' = 'on'",
            ("security.contacts", "'on'", "required, preferred"),
        ),
        ("[security]\ncontacts = 'sip:b@example.com'", ("security.contacts", "name=value")),
        ("[media]\nstreams = 5", ("media.streams", "from 1 to 4")),
        ("[media]\nstreams = true", ("media.streams", "from 1 to 4")),
        ("[timeouts]\nkms = -1", ("timeouts.kms", "between")),
        ("[timeouts]\nkms = true", ("timeouts.kms", "seconds")),
        ("[timeouts]\nkms = nan", ("timeouts.kms", "seconds")),
        ("[kms]\nurl = 'https://kms.example.com'", ("kms.url", "identity.uri is not")),
        ("[kms]\npsk = '00'\npsk_file = 'x'", ("kms.psk and kms.psk_file",)),
        ("[identity", ("not TOML",)),
    ],
)
def test_a_wrong_file_is_an_error_that_names_key_and_words(
    tmp_path: Path, text: str, parts: tuple[str]
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(path=path, environment={})
    assert str(path) in str(caught.value) or "kms." in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_contacts_are_a_table_or_pairs(tmp_path: Path) -> None:
    path = tmp_path / "contacts.toml"
    path.write_text("[security.contacts]\n'sip:bob@example.com' = 'off'\n'tel:+12025550100' = 'required'\n")
    expected = {"sip:bob@example.com": "off", "tel:+12025550100": "required"}
    assert load(path=path, environment={}).configuration.security.contacts == expected
    text = "sip:bob@example.com=off, tel:+12025550100=required"
    assert load(environment={"SIPMIKEY_SECURITY_CONTACTS": text}).configuration.security.contacts == expected


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(path=tmp_path / "absent.toml", environment={})


def test_unknown_variable_is_an_error_and_those_of_others_are_not() -> None:
    with pytest.raises(
        ConfigurationError, match=r"SIPMIKEY_SECURTY_POLICY.*did you mean SIPMIKEY_SECURITY_POLICY"
    ):
        load(environment={"SIPMIKEY_SECURTY_POLICY": "off"})
    load(environment={"SIPMIKEY_DEBUG": "1", "SIPMIKEY_TEST_KEEP": "1", "HOME": "/"})


def test_the_text_of_a_wrong_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(environment={"SIPMIKEY_KMS_PSK": "hunter2\x07"})
    assert "hunter2" not in str(caught.value)
    assert "SIPMIKEY_KMS_PSK" in str(caught.value)


def test_show_masks_secrets_and_can_be_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[identity]\nuri = "sip:a@example.com"\n[kms]\npsk = "00112233445566778899"\n')
    path.chmod(0o644)
    monkeypatch.setenv("SIPMIKEY_CREDENTIALS_PASSWORD", "correct horse")
    assert main(["config", "show", "--config", str(path)]) == 0
    shown = capsys.readouterr()
    assert "00112233445566778899" not in shown.out + shown.err
    assert "correct horse" not in shown.out + shown.err
    assert "chmod 600" in shown.err
    table = tomllib.loads(shown.out)
    assert set(table) == set(SECTIONS)
    assert table["kms"]["psk"] == "********"
    assert table["identity"]["uri"] == "sip:a@example.com"
    assert table["timeouts"]["setup"] == 60.0
    assert main(["config", "show", "--config", str(path), "--json", "--security", "off"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["kms.psk"] == {"value": "********", "origin": "file"}
    assert document["settings"]["credentials.password"] == {"value": "********", "origin": "environment"}
    assert document["settings"]["security.policy"] == {"value": "off", "origin": "option"}
    assert "00112233445566778899" not in json.dumps(document)


def test_secret_files_are_checked_for_their_mode(tmp_path: Path) -> None:
    key = tmp_path / "alice.psk"
    key.write_text("00112233\n")
    key.chmod(0o600)
    options = {("kms", "psk_file"): str(key)}
    assert not load(environment={}, options=options).warnings
    key.chmod(0o640)
    (warning,) = load(environment={}, options=options).warnings
    assert "mode 0640" in warning
    assert f"chmod 600 {key}" in warning
    assert read_secret_file(key, "kms.psk_file").reveal() == b"00112233"


def test_secret_file_that_is_absent_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"kms\.psk_file.*No such file"):
        read_secret_file(tmp_path / "absent", "kms.psk_file")
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        read_secret_file(empty, "kms.psk_file")


def test_an_unprotected_policy_is_warned_of() -> None:
    (warning,) = load(environment={"SIPMIKEY_SECURITY_POLICY": "preferred"}).warnings
    assert "preferred" in warning
