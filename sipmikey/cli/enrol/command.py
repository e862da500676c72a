"""What `sipmikey setup` does with an invitation, and with a device that is enrolled."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sipmikey.cli.config.load import load
from sipmikey.cli.enrol.redeem import Enrolment, device_name, keep, redeemed
from sipmikey.cli.enrol.refresh import leave, refresh, told
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.kms.client.errors import word_of
from sipmikey.kms.enrolment.codes import Invitation
from sipmikey.kms.enrolment.profile import Profile, loosened
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.sealed.vault import Vault


def enrolled(
    invitation: Invitation,
    kms_url: str,
    path: Path,
    vault: Vault,
    *,
    name: str | None = None,
    ca_file: Path | None = None,
    with_certificate: bool = False,
) -> Iterator[str]:
    """Redeem *invitation*, write the configuration, yield what there is to tell. Raises `CommandFailed`."""
    enrolment = redeemed(
        invitation, kms_url, name=name or device_name(), ca_file=ca_file, with_certificate=with_certificate
    )
    yield from kept(enrolment, path, vault)


def kept(enrolment: Enrolment, path: Path, vault: Vault) -> Iterator[str]:
    """Keep what came of an enrolment, write the configuration, yield what there is to tell."""
    ca_file = enrolment.ca_file
    given = enrolment.received.given
    if enrolment.proven_by_code:
        yield "This machine does not trust the certificate of the KMS; the code has proven the KMS instead."
    changed = keep(enrolment, path, vault)
    yield f"This device is {given.device} of {given.identity}, with a key until {_day(given.valid_until_s)}."
    if changed:
        yield f"The organisation sets {', '.join(changed)}."
    for line in loosened(Profile(), given.profile or Profile()):
        yield f"It protects calls less than usual: {line}."
    yield f"\nWritten: {path}"
    ca_known = ca_file is not None or "kms.ca_file" in (given.profile or Profile()).files
    if enrolment.proven_by_code and not ca_known:
        yield (
            "The profile has no CA for the KMS: ask its administrator for kms.ca_file in profile.toml, and"
            f" set kms.ca_file in {path} to the file."
        )


def refresh_command(args: argparse.Namespace, path: Path, vault: Vault) -> int:
    """Ask the KMS for changes now and say what came of it; return the exit code."""
    configuration = load(path=path).configuration
    try:
        result = refresh(configuration, path, vault, accept=args.accept)
    except PeerError as error:
        raise CommandFailed(str(error), code=ExitCode.KMS, reason=word_of(error)) from None
    lines = list(told(result)) or ["nothing has changed"]
    for line in lines:
        print(f"{line[0].upper()}{line[1:]}.")
    print(f"The key of this device ends on {_day(result.valid_until_s)}.")
    return ExitCode.OK


def leave_command(args: argparse.Namespace, path: Path, vault: Vault) -> int:
    """Give the enrolment back and forget the secrets; return the exit code."""
    configuration = load(path=path).configuration
    if not configuration.enrolment.device:
        raise LocalError(f"{path}: this device was not enrolled by an invitation")
    try:
        leave(configuration, vault)
    except PeerError as error:
        raise CommandFailed(str(error), code=ExitCode.KMS, reason=word_of(error)) from None
    print(f"{configuration.enrolment.device} is enrolled no more. {path} is left as it is.")
    return ExitCode.OK


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
