"""What the `sipmikey kms` commands share: their common options, and opening the KMS they work on."""

from __future__ import annotations

import argparse
import asyncio
import functools
import importlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.configuration import (
    DIRECTORY_VARIABLE,
    MASTER_KEY_VARIABLE,
    PLAIN_HTTP_WORDS,
    KmsConfiguration,
    default_directory,
    load,
)
from sipmikey.cli.output import Output, complain
from sipmikey.cli.parser import add_verb
from sipmikey.kms.master_keys.wrapped_key import WrappedMasterKey
from sipmikey.kms.service import StoreUnavailable
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.kms.stores.vault import (
    EnvironmentMasterKey,
    FileMasterKey,
    MasterKeyMismatch,
    MasterKeyProvider,
)
from sipmikey.mikey.secret import Secret
from sipmikey.settings import ConfigurationError, read_text

DAY_S = 86_400

Body = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]

Actions = argparse._SubParsersAction  # argparse's own name for it; there is no public one


def add_serving_options(parser: argparse.ArgumentParser) -> None:
    """Add what every server takes: `--plain-http` and `--until-eof`."""
    parser.add_argument(
        "--plain-http",
        metavar="WORDS",
        help=f'allow HTTP without TLS beyond loopback; the words are "{PLAIN_HTTP_WORDS}"',
    )
    parser.add_argument(
        "--until-eof",
        action="store_true",
        help="end when standard input ends, with the program that started it",
    )


def action(
    actions: Actions[argparse.ArgumentParser],
    name: str,
    *,
    help: str,
    examples: str,
    body: Body | None = None,
    run: Callable[[argparse.Namespace], int] | None = None,
    description: str | None = None,
) -> argparse.ArgumentParser:
    """Add one command with `--dir`, `--json`, examples and exit codes; *body* or *run* is what it does."""
    parser = add_verb(actions, name, help=help, examples=examples, description=description)
    parser.add_argument(
        "--dir",
        type=Path,
        default=default_directory(),
        metavar="DIR",
        help=f"the KMS's directory, with its kms.toml (default: ${DIRECTORY_VARIABLE}, or ./kms)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document a line instead of text")
    if body is not None:
        run = functools.partial(drive, body=body)
    parser.set_defaults(kms_run=run)
    return parser


def output(args: argparse.Namespace) -> Output:
    """Return where the command prints."""
    return Output(as_json=args.json)


def master_key(configuration: KmsConfiguration) -> Secret:
    """Return the master key from where `store.master_key` says."""
    return key_from(configuration, configuration.store.master_key, "store.master_key")


def key_from(configuration: KmsConfiguration, source: str, setting: str) -> Secret:
    """Return the master key that *source* names. Raises ConfigurationError naming *setting*."""
    kind, _, rest = source.partition(":")
    provider: MasterKeyProvider
    if kind == "file" and rest:
        provider = FileMasterKey(path_of(configuration, rest))
    elif kind == "env":
        provider = EnvironmentMasterKey(rest or MASTER_KEY_VARIABLE)
    elif kind == "wrapped" and rest:
        provider = WrappedMasterKey(path_of(configuration, rest))
    elif kind == "provider":
        provider = _provider(rest)
    else:
        raise ConfigurationError(
            f"{setting}: unknown source {kind!r}; "
            "use file:PATH, env:NAME, wrapped:PATH or provider:MODULE:CLASS"
        )
    return provider.master_key()


def _provider(name: str) -> MasterKeyProvider:
    """Return an object of the operator's own class, named ``package.module:Class``."""
    provider: MasterKeyProvider = loaded(name, "store.master_key")()
    return provider


def loaded(name: str, setting: str) -> Any:
    """Return the object ``package.module:name`` that *setting* names; raise ConfigurationError."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"{setting}: cannot load {name!r}: {error}") from None


def path_of(configuration: KmsConfiguration, text: str) -> Path:
    """Return a path of the configuration, relative to its file."""
    return configuration.directory / Path(text).expanduser()


def store_url(configuration: KmsConfiguration) -> str:
    """Return the store's URL, a SQLite path made relative to the configuration file."""
    url = _url(configuration, configuration.store.url, "store.url")
    if url.startswith("sqlite:"):
        return f"sqlite:{path_of(configuration, url.removeprefix('sqlite:'))}"
    return url


def _url(configuration: KmsConfiguration, text: str, setting: str) -> str:
    """Return the URL in *text*, or the one that ``env:NAME`` or ``file:PATH`` holds."""
    kind, _, rest = text.partition(":")
    if kind == "file":
        return read_text(path_of(configuration, rest)).strip()
    if kind == "env":
        if not os.environ.get(rest):
            raise ConfigurationError(f"{setting}: environment variable {rest} is not set")
        return os.environ[rest].strip()
    return text


async def open_configured(configuration: KmsConfiguration, *, create: bool = False) -> Store:
    """Open the store of a KMS with its master key."""
    days = configuration.kms.ticket_key_days
    return await open_store(
        store_url(configuration),
        master_key(configuration),
        replay_url=_url(configuration, configuration.store.replay_url, "store.replay_url") or None,
        create=create,
        rotate_tpk_every_s=round(days * DAY_S) or None,
    )


@asynccontextmanager
async def opened(args: argparse.Namespace) -> AsyncIterator[Store]:
    """Open the store of the KMS that the options name, and close it in the end."""
    store = await open_configured(load(args.dir))
    try:
        yield store
    finally:
        await store.close()


def drive(
    args: argparse.Namespace,
    body: Body,
    *,
    runner: Callable[[Coroutine[Any, Any, int]], int] = asyncio.run,
) -> int:
    """Run the coroutine function *body*; a store that does not answer or open ends it with an exit code."""
    try:
        return runner(body(args))
    except StoreUnavailable as error:
        complain(
            f"the store does not answer: {error}",
            as_json=args.json,
            code=ExitCode.KMS,
            reason="store-unavailable",
        )
        return ExitCode.KMS
    except MasterKeyMismatch as error:
        complain(str(error), as_json=args.json, code=ExitCode.USAGE, reason="master-key-mismatch")
        return ExitCode.USAGE


def create_private(path: Path) -> IO[str]:
    """Open a new file that only its owner can read; it must not be there yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already and is left alone; name another file") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    return os.fdopen(descriptor, "w", encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Write *text* to a new file that only its owner can read."""
    with create_private(path) as file:
        file.write(text)
