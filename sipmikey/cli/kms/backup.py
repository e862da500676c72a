"""`sipmikey kms backup | restore`: everything but the master key, in one file."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Final

from sipmikey import __version__
from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import Actions, action, open_configured, output, store_url
from sipmikey.cli.kms.configuration import CONFIG_NAME, KmsConfiguration, load
from sipmikey.kms.stores.open import sqlite_path
from sipmikey.kms.stores.sqlite import SqliteDatabase
from sipmikey.kms.stores.vault import MasterKeyMismatch
from sipmikey.settings import ConfigurationError

MANIFEST: Final = "manifest.json"
POLICY: Final = "policy"
DATABASE: Final = "store.sqlite"
AUDIT: Final = "store.sqlite-audit"
DUMP: Final = "store.pgdump"
FORMAT: Final = 1

BACKUP = """\
  sipmikey kms backup kms-backup.tar
  sipmikey kms backup --dir /etc/sipmikey-kms /var/backups/kms.tar

The service may run meanwhile. Keys in the file are sealed; the master key that opens them is not in it.
"""

RESTORE = """\
  sipmikey kms restore kms-backup.tar --dir restored
  sipmikey kms restore kms-backup.tar --dir restored --master-key /safe/master.key

A PostgreSQL store is restored into the database its URL names, which must be empty.
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


async def _backup(args: argparse.Namespace) -> int:
    configuration = load(args.dir)
    if args.file.exists():
        raise ConfigurationError(f"{args.file} exists already and is left alone; name another file")
    store = await open_configured(configuration)  # so that what is saved is known to open
    subscribers = await store.subscribers.count()
    await store.close()
    with tempfile.TemporaryDirectory(prefix="sipmikey-kms-") as scratch:
        members = await asyncio.to_thread(_collect, configuration, Path(scratch))
        manifest = Path(scratch) / MANIFEST
        manifest.write_text(
            json.dumps({"format": FORMAT, "version": __version__, "time_s": int(time.time())}),
            encoding="ascii",
        )
        descriptor = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            for path in (manifest, *members):
                archive.add(path, arcname=path.name)
            archive.add(configuration.directory / CONFIG_NAME, arcname=CONFIG_NAME)
            archive.add(configuration.policy.file, arcname=POLICY)
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
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="sipmikey-kms-") as scratch:
        _unpack(args.file, Path(scratch))
        configuration = await asyncio.to_thread(_put_back, Path(scratch), directory, args.master_key)
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


def _unpack(file: Path, scratch: Path) -> None:
    try:
        with tarfile.open(file) as archive:
            archive.extractall(scratch, filter="data")
        manifest = json.loads((scratch / MANIFEST).read_text(encoding="ascii"))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise ConfigurationError(f"{file} is not a backup of a KMS: {error}") from None
    if manifest.get("format") != FORMAT:
        raise ConfigurationError(f"{file} was written by a newer sipmikey ({manifest.get('version')})")


def _put_back(scratch: Path, directory: Path, master_key: Path | None) -> KmsConfiguration:
    """Put configuration, policy, store and master key where the configuration says."""
    shutil.copy(scratch / CONFIG_NAME, directory / CONFIG_NAME)
    configuration = load(directory)
    if not configuration.policy.file.exists():
        shutil.copy(scratch / POLICY, configuration.policy.file)
    kind, _, name = configuration.store.master_key.partition(":")
    if master_key is not None and kind == "file":
        target = directory / name
        if target.exists():
            raise ConfigurationError(f"{target} exists already and is left alone")
        shutil.copy(master_key, target)
        target.chmod(0o600)
    url = store_url(configuration)
    if url.startswith("sqlite:"):
        path = sqlite_path(url)
        if path.exists():
            raise ConfigurationError(f"{path} exists already and is left alone")
        for source, target in ((DATABASE, path), (AUDIT, path.with_name(path.name + "-audit"))):
            shutil.copy(scratch / source, target)
            target.chmod(0o600)
    else:
        _postgres_tool(
            "pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={url}", str(scratch / DUMP)
        )
    return configuration


def _postgres_tool(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{command[0]} is not installed: apt-get install postgresql-client"
        ) from None
    except subprocess.CalledProcessError as error:
        raise ConfigurationError(f"{command[0]} failed: {error.stderr.strip()[:500]}") from None
