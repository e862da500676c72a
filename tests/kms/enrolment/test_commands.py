"""An invitation from the administrator's command to the user's, over TLS, and what the device does later."""

from __future__ import annotations

import datetime
import json
import signal
import ssl
import stat
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sipmikey.cli.config.load import load
from sipmikey.cli.enrol.command import leave_command
from sipmikey.cli.enrol.kept_enrolment import KeptEnrolment, folder_of
from sipmikey.cli.enrol.redeem import keep, redeemed
from sipmikey.cli.enrol.refresh import refresh_at_start
from sipmikey.cli.exit_codes import CommandFailed
from sipmikey.cli.kms.configuration import PLAIN_HTTP_WORDS
from sipmikey.cli.kms.configuration import load as load_kms
from sipmikey.cli.kms.enrolment import public_url, serves_enrolment
from sipmikey.cli.main import main
from sipmikey.kms.enrolment.codes import parse_invitation
from sipmikey.sealed.vault import Vault, data_folder
from sipmikey.testing import program
from tests.kms.http.serving import ALICE, Authority, Service, Site, serving

PROFILE = '[kms]\nca_file = "{ca}"\n\n[nat]\nstun = "{stun}"\n'


class Served(NamedTuple):
    """A KMS over TLS with a CA that nobody trusts, and its directory."""

    site: Site
    service: Service
    capsys: pytest.CaptureFixture[str]

    def json(self, *words: str) -> list[dict[str, Any]]:
        """Run `sipmikey kms WORDS` and return what it printed."""
        self.capsys.readouterr()
        assert main(["kms", *words, "--dir", str(self.site.directory), "--json"]) == 0
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    def invite(self, identity: str = ALICE, *options: str) -> dict[str, Any]:
        return self.json("user", "invite", identity, "--url", self.service.url, *options)[0]

    def profile(self, text: str) -> None:
        """Put a profile into force."""
        (self.site.directory / "profile.toml").write_text(text)
        before = len([line for line in self.service.log() if line.get("what") == "profile"])
        self.service.process.send_signal(signal.SIGHUP)
        self.service.await_log("reloaded", count=3 * (before + 1))


@pytest.fixture
def served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SIPMIKEY_TEST_KEYRING", "file")
    authority = Authority()
    authority.issue(tmp_path / "kms.pem", tmp_path / "kms.key", "127.0.0.1")
    site = Site(tmp_path / "site", "--tls-cert", tmp_path / "kms.pem", "--tls-key", tmp_path / "kms.key")
    ca = authority.write(tmp_path / "ca.pem")
    (site.directory / "profile.toml").write_text(PROFILE.format(ca=ca, stun="stun.example.com"))
    with serving(site) as service:
        yield Served(site, service, capsys)


def test_an_invitation_makes_a_phone_and_the_device_can_be_lost(served: Served, tmp_path: Path) -> None:
    invited = served.invite()
    done = program.run("setup", invited["uri"], "--no-call", "--name", "desk phone", timeout_s=120)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "the code has proven the KMS" in done.stdout
    assert "The KMS gives tickets for this device's key." in done.stdout
    path = tmp_path / "config" / "sipmikey" / "config.toml"
    settings = load(path=path).configuration
    device = settings.enrolment.device
    assert (settings.identity.uri, settings.kms.psk_id) == (ALICE, f"{device}.1")
    assert (settings.kms.identity, settings.nat.stun) == ("sip:kms@example.com", "stun.example.com")
    for file in (path, tmp_path / "data" / "sipmikey" / "secrets.json", KeptEnrolment(device=device).file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    (listed,) = served.json("device", "list", ALICE)
    assert (listed["device"], listed["name"], listed["state"]) == (device, "desk phone", "active")
    again = program.run(
        "setup", invited["code"], "--kms", served.service.url, "--force", "--no-call", timeout_s=120
    )
    assert again.returncode == 4
    assert "mistyped, used or expired" in again.stderr
    assert load(path=path).configuration.enrolment.device == device
    served.json("device", "revoke", device)
    served.capsys.readouterr()
    assert main(["setup", "--refresh"]) == 4
    assert "not enrolled here any more" in served.capsys.readouterr().err
    acts = [(event["rule"], event["decision"]) for event in served.json("audit", "--oldest-first")]
    assert acts == [
        ("invite", "granted"), ("redeem", "granted"), ("subscribers", "granted"), ("redeem", "refused"),
        ("revoke", "granted"), ("", "refused"),
    ]  # fmt: skip


@pytest.fixture
def enrolled(served: Served, tmp_path: Path) -> Path:
    """The configuration of a device that was enrolled."""
    path = tmp_path / "config.toml"
    invitation = parse_invitation(served.invite()["uri"])
    assert invitation.kms_url is not None
    enrolment = redeemed(invitation, invitation.kms_url, name="laptop", ca_file=None, with_certificate=False)
    keep(enrolment, path, Vault(data_folder(), None))
    return path


def test_a_changed_profile_is_taken_and_the_users_own_settings_stay(served: Served, enrolled: Path) -> None:
    refresh = ["setup", "--refresh", "--config", str(enrolled)]
    assert main(refresh) == 0
    assert "Nothing has changed." in served.capsys.readouterr().out
    ca = served.site.directory.parent / "ca.pem"
    served.profile(
        PROFILE.format(ca=ca, stun="stun2.example.com") + '\n[sip]\nregistrar = "sip:example.com"\n'
    )
    assert main(refresh) == 0
    assert "The organisation changed nat.stun, sip.registrar." in served.capsys.readouterr().out
    text = enrolled.read_text().replace("stun2.example.com", "mine.example.com  # on purpose")
    enrolled.write_text(text.replace('"mine.example.com  # on purpose"', '"mine.example.com"  # on purpose'))
    served.profile(PROFILE.format(ca=ca, stun="stun3.example.com"))
    assert main(refresh) == 0
    assert "Your own setting of nat.stun stays" in served.capsys.readouterr().out
    settings = load(path=enrolled).configuration
    assert (settings.nat.stun, settings.sip.registrar) == ("mine.example.com", "")
    assert "# on purpose" in enrolled.read_text()


def test_a_profile_that_protects_less_is_taken_only_when_told(served: Served, enrolled: Path) -> None:
    ca = served.site.directory.parent / "ca.pem"
    served.profile(PROFILE.format(ca=ca, stun="a") + '\n[security]\npolicy = "preferred"\n')
    loaded = load(path=enrolled)
    KeptEnrolment.read(loaded.configuration.enrolment.device).file.unlink()  # it is due again
    (line, *_) = refresh_at_start(loaded)
    assert "would protect less" in line
    assert load(path=enrolled).configuration.security.policy == "required"
    assert main(["setup", "--refresh", "--accept", "--config", str(enrolled)]) == 0
    assert load(path=enrolled).configuration.security.policy == "preferred"


def test_a_key_is_renewed_in_the_last_third_of_its_life(
    served: Served, enrolled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(path=enrolled)
    assert list(refresh_at_start(loaded)) == []
    kept = KeptEnrolment.read(loaded.configuration.enrolment.device)
    old = loaded.configuration.kms
    document = json.loads(kept.file.read_text())
    now_s = int(time.time())
    document |= {"issued_s": now_s - 70 * 86_400, "checked_s": now_s - 86_401, "tried_s": now_s - 86_401}
    document["valid_until_s"] = now_s + 20 * 86_400
    kept.file.write_text(json.dumps(document))
    assert KeptEnrolment.read(kept.device).renewal_due(now_s)
    # The KMS tells when the key ends: it must have begun long ago for its last third to be here.
    document["issued_s"] = now_s - 900 * 86_400
    kept.file.write_text(json.dumps(document))
    assert list(refresh_at_start(loaded)) == ["this device has a new key"]
    renewed = load(path=enrolled).configuration.kms
    assert renewed.psk_id == f"{kept.device}.2"
    assert renewed.psk != old.psk
    vault = Vault(data_folder(), None)
    assert vault.get(f"{kept.device}.1/kms") is None
    assert vault.get(f"{kept.device}.2/kms") is not None
    assert list(refresh_at_start(load(path=enrolled))) == []
    psks = served.json("user", "list", ALICE)[0]["psks"]
    assert [psk["psk_id"] for psk in psks] == [f"{kept.device}.1", f"{kept.device}.2"]
    served.service.stop()
    kept.file.unlink()
    assert next(refresh_at_start(load(path=enrolled))).startswith("the key of this device ends")


def test_a_device_leaves(served: Served, enrolled: Path) -> None:
    assert main(["setup", "--leave", "--config", str(enrolled)]) == 0
    assert [device["state"] for device in served.json("device", "list")] == ["revoked"]
    assert json.loads((data_folder() / "secrets.json").read_text()) == {}


def test_a_kms_that_enrols_nobody_reads_no_profile(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    with (site.directory / "kms.toml").open("a") as file:
        file.write("\n[enrolment]\nenabled = false\n")
    (site.directory / "profile.toml").write_text("this is not TOML")
    with serving(site) as service:
        service.process.send_signal(signal.SIGHUP)
        service.await_log("reloaded", count=2)


def test_the_word_of_a_refusal_is_the_kms_s(
    served: Served, enrolled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served.json("device", "revoke", load(path=enrolled).configuration.enrolment.device)
    capsys.readouterr()
    with pytest.raises(CommandFailed) as caught:
        leave_command(Namespace(), enrolled, Vault(data_folder(), None))
    assert caught.value.reason == "device-not-valid"


def test_an_invitation_is_taken_back_and_its_list_tells_no_code(served: Served) -> None:
    invited = served.invite()
    assert invited["uri"] == f"{served.service.url}/enrolment#{invited['code']}"
    (listed,) = served.json("user", "invitations")
    assert (listed["number"], listed["state"]) == (invited["code"][:4], "open")
    assert invited["code"] not in json.dumps(listed)
    served.json("user", "uninvite", invited["code"])
    assert served.json("user", "invitations") == []
    assert served.json("user", "invitations", "--all")[0]["state"] == "taken back"
    assert main(["kms", "audit", "--dir", str(served.site.directory)]) == 0
    assert f"invitation {invited['number']}  act uninvite" in served.capsys.readouterr().out
    assert main(["kms", "user", "uninvite", invited["number"], "--dir", str(served.site.directory)]) == 2
    with pytest.raises(CommandFailed, match="nothing was written"):
        redeemed(
            parse_invitation(invited["uri"]),
            served.service.url,
            name="",
            ca_file=None,
            with_certificate=False,
        )


def test_the_words_of_an_invitation_have_code_address_and_picture(served: Served) -> None:
    served.capsys.readouterr()
    words = ["kms", "user", "invite", ALICE, "--dir", str(served.site.directory)]
    assert main([*words, "--url", "https://kms.example.com"]) == 0
    out = served.capsys.readouterr().out
    assert "sipmikey setup 'https://kms.example.com/enrolment#" in out
    assert sum("█" in line for line in out.splitlines()) > 15
    assert main([*words, "--url", "https://kms.example.com", "--no-qr"]) == 0
    assert "█" not in served.capsys.readouterr().out


def test_what_is_served_where_invitations_lead(served: Served) -> None:
    context = ssl.create_default_context(cafile=str(served.site.directory.parent / "ca.pem"))
    status, page = served.service.get("/enrolment", context)
    assert (status, b"sipmikey setup" in page) == (200, True)
    for headers, expected in (
        ({"Content-Type": "text/plain"}, (415, "media-type")),
        ({"Content-Type": "application/json"}, (400, "malformed-enrolment")),
    ):
        status, answered, body = served.service.post(
            b"{}", path="/enrolment", headers=headers, context=context
        )
        assert (status, answered["kms-reason"]) == expected
        assert json.loads(body)["reason"] == expected[1]
        assert answered["cache-control"] == "no-store"
    large = served.service.post(
        b"x" * 20_000, path="/enrolment", headers={"Content-Type": "application/json"}, context=context
    )
    assert large[0] == 413


def test_devices_enrol_over_tls_or_on_this_machine(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    assert serves_enrolment(load_kms(site.directory))
    site.edit('listen = ["127.0.0.1:8043"]', f'listen = ["0.0.0.0:8043"]\nplain_http = "{PLAIN_HTTP_WORDS}"')
    assert not serves_enrolment(load_kms(site.directory))
    assert public_url(load_kms(site.directory)) is None
    site.configure("enrolment", url="https://kms.example.com/", enabled=False)
    assert public_url(load_kms(site.directory)) == "https://kms.example.com"


def test_a_device_gets_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("SIPMIKEY_TEST_KEYRING", "file")
    site = Site(tmp_path / "site")
    for name, subject, ca in (("devices", None, True), ("kms", "sip:kms@example.com", False)):
        _write_certificate(tmp_path, name, subject, ca=ca)
    site.configure(
        "public_key", certificate=str(tmp_path / "kms.pem"), private_key=str(tmp_path / "kms.key"),
        trust_anchors=str(tmp_path / "devices.pem"),
    )  # fmt: skip
    site.configure(
        "enrolment",
        ca_certificate=str(tmp_path / "devices.pem"),
        ca_private_key=str(tmp_path / "devices.key"),
    )
    config = tmp_path / "config.toml"
    with serving(site) as service:
        uri = _invited(site, service)
        done = program.run("setup", uri, "--certificate", "--no-call", "--config", config, timeout_s=120)
        assert done.returncode == 0, done.stderr + done.stdout
        kms = load(path=config).configuration.kms
        assert kms.psk is None
        assert kms.private_key is not None
        assert stat.S_IMODE(kms.private_key.stat().st_mode) == 0o600
        (certificate,) = x509.load_pem_x509_certificates((kms.certificate or config).read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [ALICE]


def _invited(site: Site, service: Service) -> str:
    done = program.run(
        "kms", "user", "invite", ALICE, "--dir", site.directory, "--url", service.url, "--json"
    )
    found: str = json.loads(done.stdout)["uri"]
    return found


def _write_certificate(folder: Path, name: str, uri: str | None, *, ca: bool) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
    )
    if uri is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    if ca:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(identifier, critical=False).add_extension(usage, critical=True)
    (folder / f"{name}.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_a_device_has_one_folder_whatever_its_identifier() -> None:
    assert folder_of("alice.1") != folder_of("alice.2")
    assert KeptEnrolment(device="alice.1").file != KeptEnrolment(device="alice.2").file
    for odd in ("../../etc/passwd", "..", "", "a/b"):
        assert folder_of(odd).parent == data_folder() / "enrolment"
