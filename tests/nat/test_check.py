"""`sipmikey check`: one line for everything a call needs, with what to do about what does not work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sipmikey.testing.program import run
from tests.interop.lab.kms import IDENTITY, uri
from tests.nat.laboratory import HOSTS, OUTSIDE, SECRET, Laboratory, OutsideKms, Translation, entered


def configuration(folder: Path, kms: OutsideKms, **nat: str) -> Path:
    """Write what alice has, with a TURN server."""
    alice = kms.subscribers["alice"]
    psk, secret = folder / "psk", folder / "secret"
    psk.write_text(alice.psk)
    secret.write_text(SECRET)
    for file in (psk, secret):
        file.chmod(0o600)
    file = folder / "alice.toml"
    servers = {"turn": OUTSIDE, "turn_secret_file": str(secret), **nat}
    lines = "".join(f'{name} = "{value}"\n' for name, value in servers.items())
    file.write_text(
        f'[identity]\nuri = "{uri("alice")}"\n'
        f'[sip]\nlisten = "{HOSTS["a"]}:0"\nregistrar = "sip:example.test"\n'
        f'proxy = "sip:{OUTSIDE}:5060;transport=tcp"\n'
        f'[kms]\nurl = "{kms.url}"\nidentity = "{IDENTITY}"\npsk_file = "{psk}"\npsk_id = "{alice.psk_id}"\n'
        "plain_http = true\n"
        f'[media]\ndevice = "null"\n[nat]\n{lines}'
    )
    return file


def check(laboratory: Laboratory, file: Path, *, code: int) -> dict[str, dict[str, Any]]:
    """Run the command in alice's network; return the findings by name."""
    with entered(laboratory.name("a")):
        done = run("check", "--config", file, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


def test_all_that_works_is_told(laboratory: Laboratory, kms: OutsideKms, tmp_path: Path) -> None:
    laboratory.translate("a", Translation.SYMMETRIC)
    found = check(laboratory, configuration(tmp_path, kms), code=0)
    assert {name: one["state"] for name, one in found.items()} == {
        "sound": "unused",
        "stun": "ok",
        "turn": "ok",
        "nat": "ok",
        "codecs": "ok",
        "kms": "ok",
        "registrar": "ok",
    }
    assert "G722" in found["codecs"]["detail"]


def test_what_does_not_work_says_what_to_do(laboratory: Laboratory, kms: OutsideKms, tmp_path: Path) -> None:
    laboratory.translate("a", Translation.UDP_BLOCKED)
    file = configuration(tmp_path, kms)
    (tmp_path / "psk").write_text("00" * 32)
    found = check(laboratory, file, code=3)
    assert {name for name, one in found.items() if one["state"] == "bad"} == {"stun", "turn", "nat", "kms"}
    assert all(one["advice"] for one in found.values() if one["state"] == "bad")
    assert found["nat"]["detail"] == "blocked"


def test_a_wrong_secret_of_the_turn_server_is_told(
    laboratory: Laboratory, kms: OutsideKms, tmp_path: Path
) -> None:
    laboratory.translate("a", Translation.PORT_PRESERVING)
    file = configuration(tmp_path, kms)
    (tmp_path / "secret").write_text("another secret")
    found = check(laboratory, file, code=3)
    assert found["turn"]["state"] == "bad"
    assert "401" in found["turn"]["detail"]
    assert found["stun"]["state"] == "ok"


def test_a_certificate_that_is_none_is_told(laboratory: Laboratory, kms: OutsideKms, tmp_path: Path) -> None:
    laboratory.translate("a", Translation.PORT_PRESERVING)
    file = configuration(tmp_path, kms)
    text = file.read_text().replace("[sip]\n", f'[sip]\ntls_ca_file = "{tmp_path}/absent.pem"\n')
    file.write_text(text)
    found = check(laboratory, file, code=3)
    assert "absent.pem" in found["certificates"]["detail"]
