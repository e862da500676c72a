"""Single sign-on from end to end: a real OpenID provider, a KMS over TLS, a device, and a person."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sipmikey.cli.config.load import load
from sipmikey.cli.enrol.command import kept
from sipmikey.cli.enrol.sign_on import print_code, signed_on
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.main import main
from sipmikey.kms.enrolment.sign_on_documents import Begun
from sipmikey.sealed.vault import Vault, data_folder
from tests.kms.http.serving import ALICE, Authority, Service, Site, serving
from tests.kms.organisation.provider import CLIENT_ID, CLIENT_SECRET, Browser, Provider

pytestmark = pytest.mark.interop


class Organisation(NamedTuple):
    """A KMS whose users sign on at the provider, and where a device keeps what it gets."""

    site: Site
    service: Service
    provider: Provider
    ca: Path
    config: Path

    def sign_on(
        self, person: str = "alice", *, agree: bool = True, typed: str = "", **more: str
    ) -> list[str]:
        """Sign on with a person at the browser; return what the device tells."""

        def show(begun: Begun) -> None:
            print_code(begun)
            address = begun.verification_uri if typed else begun.verification_uri_complete
            Browser().sign_on(address, person=person, agree=agree, user_code=typed)

        enrolment = signed_on(self.service.url, show=show, name="laptop", ca_file=self.ca, wait=self.gave_up)
        return list(kept(enrolment, self.config, Vault(data_folder(), None)))

    def gave_up(self, seconds: float) -> None:
        raise CommandFailed("still pending", code=ExitCode.KMS, reason="pending")


@pytest.fixture
def organisation(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Organisation]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    authority = Authority()
    authority.issue(tmp_path / "kms.pem", tmp_path / "kms.key", "127.0.0.1")
    site = Site(tmp_path / "site", "--tls-cert", tmp_path / "kms.pem", "--tls-key", tmp_path / "kms.key")
    (site.directory / "oidc.secret").write_text(CLIENT_SECRET)
    (site.directory / "oidc.secret").chmod(0o600)
    site.configure(
        "enrolment.oidc",
        issuer=provider.issuer,
        client_id=CLIENT_ID,
        client_secret_file="oidc.secret",
        identity="sip:{}@example.com",
        allowed_groups=["phones"],
    )
    site.add(ALICE)
    with serving(site) as service:
        yield Organisation(
            site, service, provider, authority.write(tmp_path / "ca.pem"), tmp_path / "config.toml"
        )


def test_a_person_signs_on_and_has_a_phone(
    organisation: Organisation, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandFailed, match="--ca"):
        signed_on(organisation.service.url, show=print_code, name="x", ca_file=None)
    told = organisation.sign_on()
    shown = capsys.readouterr().out
    assert re.search(r"with the code [A-Z]{4}-[A-Z]{4}\n", shown)
    assert "█" in shown or "▀" in shown
    assert f"of {ALICE}" in told[0]
    kms = load(path=organisation.config).configuration.kms
    assert kms.psk is not None
    # The provider's keys change: the next person is taken all the same.
    organisation.provider.rotate()
    organisation.sign_on()
    # Who is in none of the groups, and who has a name that makes no identity, is not taken.
    for person in ("bob", "eve*"):
        with pytest.raises(CommandFailed) as caught:
            organisation.sign_on(person)
        assert caught.value.reason == "sign-on-not-allowed"
    with pytest.raises(CommandFailed) as caught:
        organisation.sign_on(agree=False)
    assert caught.value.reason == "sign-on-denied"
    # Another code than the one shown, guessed: nobody is enrolled by it.
    with pytest.raises(CommandFailed) as caught:
        organisation.sign_on(typed="AAAA-BBBB")
    assert caught.value.reason == "pending"
    capsys.readouterr()
    assert main(["kms", "audit", "--dir", str(organisation.site.directory), "--json", "--oldest-first"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    refused = [event["reason"] for event in events if event["decision"] == "refused"]
    assert refused == ["sign-on-not-allowed", "sign-on-not-allowed", "sign-on-denied"]
    assert [event["identity"] for event in events if event["rule"] == "redeem"] == [ALICE, ALICE]
    text = json.dumps(events)
    assert "alice of http://127.0.0.1" in text
    assert "device code" not in text
