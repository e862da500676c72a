"""`sipmikey kms backup | restore`: everything but the master key, in one file."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from sipmikey import __version__
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms import backup_seal
from sipmikey.cli.kms.common import Actions, action, master_key, open_configured, output, store_url
from sipmikey.cli.kms.configuration import CONFIG_NAME, KmsConfiguration, load
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.stores.open import sqlite_path
from sipmikey.kms.stores.sqlite import SqliteDatabase
from sipmikey.kms.stores.vault import FileMasterKey, MasterKeyMismatch
from sipmikey.mikey.secret import Secret
from sipmikey.settings import ConfigurationError

POLICY: Final = "policy"
PROFILE: Final = "profile"
DATABASE: Final = "store.sqlite"
AUDIT: Final = "store.sqlite-audit"
DUMP: Final = "store.pgdump"
MEMBERS: Final = (CONFIG_NAME, POLICY, PROFILE, DATABASE, AUDIT, DUMP)

BACKUP = """\
  sipmikey kms backup kms-backup.tar
  sipmikey kms backup --dir /etc/sipmikey-kms /var/backups/kms.tar

The service may run meanwhile. Keys in the file are sealed; the master key that opens them is not in it. A MAC
over all of it, made with the master key, shows when it was altered.
"""

RESTORE = """\
  sipmikey kms restore kms-backup.tar --dir restored
  sipmikey kms restore kms-backup.tar --dir restored --master-key /safe/master.key

A PostgreSQL store is restored into the database its URL names, which must be empty. Nothing is written
outside the directory, and no code is loaded, before the master key has proved the file; a master key that
comes from a class (provider:MODULE:CLASS) is asked for with --provider.
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `backup` and `restore`."""
    parser = action(
        actions, "backup", help="write everything but the master key to a file", examples=BACKUP, body=_backup
    )
    parser.add_argument("file", type=Path, help="new file, mode 0600")
    parser = action(actions, "restore", help="make a KMS from a backup", examples=RESTORE, body=_restore)
    parser.add_argument("file", type=Path, help="what `sipmikey kms backup` wrote")
    parser.add_argument(
        "--master-key",
        type=Path,
        metavar="FILE",
        help="copy the master key from there into the new directory",
    )
    parser.add_argument(
        "--provider",
        metavar="MODULE:CLASS",
        help="get the master key from this class, which the backup must name too",
    )


async def _backup(args: argparse.Namespace) -> int:
    configuration = load(args.dir)
    if args.file.exists():
        raise ConfigurationError(f"{args.file} exists already and is left alone; name another file")
    store = await open_configured(configuration)  # so that what is saved is known to open
    subscribers = await store.subscribers.count()
    await store.close()
    with tempfile.TemporaryDirectory(prefix="sipmikey-kms-") as scratch:
        members = await asyncio.to_thread(_collect, configuration, Path(scratch))
        shutil.copy(configuration.directory / CONFIG_NAME, Path(scratch) / CONFIG_NAME)
        shutil.copy(configuration.policy.file, Path(scratch) / POLICY)
        members += [Path(scratch) / CONFIG_NAME, Path(scratch) / POLICY]
        if configuration.enrolment.profile.exists():
            shutil.copy(configuration.enrolment.profile, Path(scratch) / PROFILE)
            members.append(Path(scratch) / PROFILE)
        facts = {"version": __version__, "time_s": int(time.time())}
        named = [(path.name, path) for path in members]
        text = await asyncio.to_thread(backup_seal.manifest, facts, named, master_key(configuration))
        manifest = Path(scratch) / backup_seal.MANIFEST
        manifest.write_text(text, encoding="ascii")
        descriptor = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            for path in (manifest, *members):
                archive.add(path, arcname=path.name)
    out = output(args)
    size = args.file.stat().st_size
    out.document({"type": "kms.backup", "file": args.file, "bytes": size, "subscribers": subscribers})
    out.text(f"{subscribers} subscribers, keys and audit log saved to {args.file} ({size} bytes)")
    out.text("the master key is not in it: keep that elsewhere")
    return ExitCode.OK


def _collect(configuration: KmsConfiguration, scratch: Path) -> list[Path]:
    """Copy the store into *scratch*. The replay cache stays: a restored one must begin at its own time."""
    url = store_url(configuration)
    if not url.startswith("sqlite:"):
        _postgres_tool(
            "pg_dump",
            "--format=custom",
            "--exclude-table-data=replay*",
            f"--file={scratch / DUMP}",
            f"--dbname={url}",
        )
        return [scratch / DUMP]
    path = sqlite_path(url)
    for source, name in ((path, DATABASE), (path.with_name(path.name + "-audit"), AUDIT)):
        SqliteDatabase(source, create=False).copy_to(scratch / name)
    return [scratch / DATABASE, scratch / AUDIT]


async def _restore(args: argparse.Namespace) -> int:
    directory: Path = args.dir
    if (directory / CONFIG_NAME).exists():
        raise ConfigurationError(f"there is a KMS in {directory} already; name another directory with --dir")
    with tempfile.TemporaryDirectory(prefix="sipmikey-kms-") as scratch:
        configuration = await asyncio.to_thread(_check_and_put_back, args, Path(scratch), directory)
    try:
        store = await open_configured(configuration)
    except MasterKeyMismatch as error:
        raise ConfigurationError(f"{error}: put this KMS's master key in place (--master-key FILE)") from None
    subscribers = await store.subscribers.count()
    await store.close()
    out = output(args)
    out.document({"type": "kms.restore", "directory": directory, "subscribers": subscribers})
    out.text(f"{subscribers} subscribers restored into {directory}")
    return ExitCode.OK


def _check_and_put_back(args: argparse.Namespace, scratch: Path, directory: Path) -> KmsConfiguration:
    """Restore what the master key proves; what it does not prove reaches neither files nor code."""
    manifest = backup_seal.unpack(args.file, scratch, MEMBERS)
    if not (scratch / CONFIG_NAME).exists():
        raise ConfigurationError(f"{args.file} is not a backup of a KMS: it holds no {CONFIG_NAME}")
    key = _master_key(load(scratch), directory, args.master_key, args.provider)
    backup_seal.check(manifest, scratch, key)
    parse_policy((scratch / POLICY).read_text(encoding="utf-8"))
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _put_back(scratch, directory, args.master_key)


def _master_key(
    unproved: KmsConfiguration, directory: Path, given: Path | None, provider: str | None
) -> Secret:
    """Return the master key from where the user or the configuration, which nothing proves yet, says."""
    kind, _, name = unproved.store.master_key.partition(":")
    if given is not None:
        return FileMasterKey(given).master_key()
    if kind == "provider" and name != provider:
        raise ConfigurationError(
            f"the backup gets its master key from the class {name!r}: say --provider {name} to have it loaded"
        )
    if kind == "file":
        return FileMasterKey(_inside(directory, Path(name), "store.master_key")).master_key()
    return master_key(unproved)


def _inside(directory: Path, path: Path, setting: str) -> Path:
    """Return *path*, relative to *directory*; raise ConfigurationError where it leads out of that."""
    whole = directory / path
    if not whole.resolve().is_relative_to(directory.resolve()):
        raise ConfigurationError(
            f"{setting} names {path}, outside of {directory}: restore writes nothing there; "
            f"let {CONFIG_NAME} name files beside it before the backup, and move them afterwards"
        )
    return whole


def _put_back(scratch: Path, directory: Path, given_key: Path | None) -> KmsConfiguration:
    """Put configuration, policy, store and master key where the configuration says."""
    configuration = replace(load(scratch), directory=directory)
    kind, _, name = configuration.store.master_key.partition(":")
    files: list[tuple[Path, Path]] = [(scratch / CONFIG_NAME, directory / CONFIG_NAME)]
    named = [(POLICY, configuration.policy.file, "policy.file")]
    if (scratch / PROFILE).exists():
        named.append((PROFILE, configuration.enrolment.profile, "enrolment.profile"))
    for member, path, setting in named:
        # A path of the configuration is made relative to where that was read from.
        inner = path.relative_to(scratch) if path.is_relative_to(scratch) else path
        files.append((scratch / member, _inside(directory, inner, setting)))
    if given_key is not None and kind == "file":
        files.append((given_key, _inside(directory, Path(name), "store.master_key")))
    url = store_url(configuration)
    if url.startswith("sqlite:"):
        path = _inside(directory, sqlite_path(url).absolute(), "store.url")
        files += [(scratch / DATABASE, path), (scratch / AUDIT, path.with_name(path.name + "-audit"))]
    for _, target in files:
        if target.exists():
            raise ConfigurationError(f"{target} exists already and is left alone")
    for source, target in files:
        _copy_private(source, target)
    if not url.startswith("sqlite:"):
        _postgres_tool(
            "pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={url}", str(scratch / DUMP)
        )
    return load(directory)


def _copy_private(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as written, source.open("rb") as read:
            shutil.copyfileobj(read, written)
    except OSError as error:
        raise ConfigurationError(f"{target}: {error.strerror}") from None


def _postgres_tool(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{command[0]} is not installed: apt-get install postgresql-client"
        ) from None
    except subprocess.CalledProcessError as error:
        raise ConfigurationError(f"{command[0]} failed: {error.stderr.strip()[:500]}") from None
