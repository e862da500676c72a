"""`sipmikey kms ldap sync`: the users and groups of an LDAP directory, taken over."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.kms.common import Actions, action, open_configured, output
from sipmikey.cli.kms.configuration import LdapSection, load
from sipmikey.cli.kms.users.acts import actor
from sipmikey.cli.output import Output
from sipmikey.kms.provisioning.acts import LDAP, Provisioner
from sipmikey.kms.provisioning.people import Found, Pattern
from sipmikey.kms.provisioning.plan import Plan, What, check_leavers, plan_of
from sipmikey.kms.provisioning.synchronise import synchronise
from sipmikey.mikey.errors import LocalError
from sipmikey.settings import ConfigurationError

EXAMPLES = """\
  sipmikey kms ldap sync --dry-run
  sipmikey kms ldap sync
  sipmikey kms ldap sync --json

In kms.toml:
  [ldap]
  url = "ldaps://ldap.example.com"
  bind_dn = "cn=kms,ou=services,dc=example,dc=com"
  password_file = "ldap.password"
  base = "ou=people,dc=example,dc=com"
  filter = "(&(objectClass=inetOrgPerson)(memberOf=cn=phones,ou=groups,dc=example,dc=com))"
  identities = ["sip:{uid}@example.com", "tel:{telephoneNumber}"]

Who is in the directory no more, or not in the filter, is disabled, and devices are closed at once.
"""

PROGRESS_FROM = 200
"""So many changes take long enough to tell how far they are."""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `ldap` and what can be done with it."""
    parser = actions.add_parser("ldap", help="take users and groups over from LDAP")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    sync = action(
        verbs, "sync", help="make the users here those of the directory", examples=EXAMPLES, body=_sync
    )
    sync.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    sync.add_argument(
        "--force", action="store_true", help="go on however many would leave (ldap.leavers_percent)"
    )


async def _sync(args: argparse.Namespace) -> int:
    configuration = load(args.dir)
    section, out = configuration.ldap, output(args)
    found = _read(section)
    store = await open_configured(configuration)
    try:
        provisioner = Provisioner(store, LDAP, actor())
        users = await provisioner.users()
        plan = plan_of(found, users, await store.provisioned.groups(LDAP))
        if args.dry_run:
            return _show(out, plan, found)
        if not args.force:
            check_leavers(plan, users, percent=section.leavers_percent)
        total = len(plan.changes)
        done = await synchronise(provisioner, plan, _progress(total))
    finally:
        await store.close()
    return _tell(out, done.counts, done.problems, found, "kms.ldap.sync")


def _read(section: LdapSection) -> Found:
    """Return what the directory holds. Raises ConfigurationError and `CommandFailed`."""
    for name in ("url", "base", "identities"):
        if not getattr(section, name):
            raise ConfigurationError(f"ldap.{name} is missing")
    if section.group_base and not section.group_identity:
        raise ConfigurationError("ldap.group_identity is missing")
    if urlsplit(section.url).scheme not in ("ldaps", "ldap", "ldapi"):
        raise ConfigurationError("ldap.url starts with ldaps://, ldap:// or ldapi://")
    try:
        from sipmikey.kms.provisioning.ldap import LdapSource, read_directory
        from sipmikey.ldap_search import LdapFailure
    except ImportError as error:
        raise ConfigurationError(f"ldap needs {error.name}: pip install 'sipmikey[organisation]'") from None
    password = None
    if section.password_file is not None:
        password = read_secret_file(section.password_file, "ldap.password_file")
    if section.bind_dn and password is None:
        raise ConfigurationError("ldap.bind_dn needs ldap.password_file")
    try:
        identities = tuple(Pattern(text, "ldap.identities") for text in section.identities)
        group = Pattern(section.group_identity, "ldap.group_identity") if section.group_identity else None
    except LocalError as error:
        raise ConfigurationError(str(error)) from None
    source = LdapSource(
        url=section.url, base=section.base, filter=section.filter, identities=identities, key=section.key,
        bind_dn=section.bind_dn, password=password, ca_file=section.ca_file, group_base=section.group_base,
        group_filter=section.group_filter, group_identity=group, group_member=section.group_member,
        page=section.page,
    )  # fmt: skip
    try:
        return read_directory(source)
    except LdapFailure as error:
        raise CommandFailed(
            f"{error}; nothing was changed", code=ExitCode.KMS, reason="ldap-failure"
        ) from None


def _progress(total: int) -> Callable[[int], None]:
    """Return what tells how far a long synchronisation is, at a terminal."""
    if total < PROGRESS_FROM or not sys.stderr.isatty():
        return lambda count: None
    step = max(1, total // 100)

    def tell(count: int) -> None:
        if count % step == 0 or count == total:
            end = "\n" if count == total else "\r"
            print(f"{count} of {total} changes", end=end, file=sys.stderr, flush=True)

    return tell


def _show(out: Output, plan: Plan, found: Found) -> int:
    """Print what would change."""
    for change in plan.changes:
        if change.what is not What.MEMBERS:
            out.document({"type": "kms.ldap.change", "change": change.what.value, "who": change.shown})
            out.text(f"{change.what.value:12}  {change.shown}")
    return _tell(out, plan.counts(), plan.problems, found, "kms.ldap.plan")


def _tell(
    out: Output, counts: dict[str, int], problems: list[tuple[str, str]], found: Found, kind: str
) -> int:
    """Print what came of it; entries that could not be taken over make the exit code 2."""
    for shown, detail in problems:
        out.document({"type": "kms.ldap.problem", "entry": shown, "detail": detail})
        out.text(f"problem       {shown}: {detail}")
    read = {"users": len(found.users), "groups": len(found.groups)}
    out.document({"type": kind, "read": read, "changes": counts, "problems": len(problems)})
    would = " would be" if kind == "kms.ldap.plan" else ""
    out.text(
        f"{len(found.users)} users and {len(found.groups)} groups read:{would} {counts['add']} added,"
        f" {counts['change']} changed, {counts['return']} returned, {counts['leave']} left;"
        f" {len(problems)} problems"
    )
    return ExitCode.USAGE if problems else ExitCode.OK
