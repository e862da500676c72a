"""`sipmikey kms import | export`: subscribers, their devices and groups as JSON lines."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import Actions, action, create_private, opened, output
from sipmikey.kms.enrolment.device_lines import CarriedDevice, format_device, parse_device
from sipmikey.kms.subscribers import SubscriberRecord, format_subscribers, parse_subscribers
from sipmikey.mikey.errors import LocalError
from sipmikey.settings import ConfigurationError

IMPORT = """\
  sipmikey kms import subscribers.jsonl
  sipmikey kms export - --with-keys --dir old | sipmikey kms import - --dir new

a line:
  {"name": "alice", "identities": ["sip:alice@example.com"],
   "psks": [{"key_id": "616c696365", "key": "<base64>"}], "groups": ["sip:support@example.com"]}
or {"group": "sip:support@example.com", "members": ["sip:*@support.example.com"]}
or an enrolled device, {"device": ...}, as `export --with-keys` writes it
"""

EXPORT = """\
  sipmikey kms export subscribers.jsonl
  sipmikey kms export everything.jsonl --with-keys
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `import` and `export`."""
    parser = action(actions, "import", help="add subscribers from JSON lines", examples=IMPORT, body=_import)
    parser.add_argument("file", help="file, or - for standard input")
    parser = action(actions, "export", help="write subscribers as JSON lines", examples=EXPORT, body=_export)
    parser.add_argument("file", help="new file (mode 0600), or - for standard output")
    parser.add_argument(
        "--with-keys",
        action="store_true",
        help="pre-shared keys too: anyone who reads them can act as the subscribers",
    )


async def _import(args: argparse.Namespace) -> int:
    progress = sys.stderr.isatty()

    def tell(count: int) -> None:
        if progress:
            print(f"\r{count} subscribers", end="", file=sys.stderr, flush=True)

    groups: list[tuple[str, list[str]]] = []
    devices: list[CarriedDevice] = []
    with _reading(args.file) as lines:
        async with opened(args) as store:
            count = await store.subscribers.load(
                parse_subscribers(_subscribers(lines, groups, devices)), tell
            )
            await store.devices.carry_in(devices)
            for uri, members in groups:
                await store.subscribers.add_group(uri, members)
    if progress:
        print(file=sys.stderr)
    out = output(args)
    told = {"subscribers": count, "groups": len(groups), "devices": len(devices)}
    out.document({"type": "kms.import", **told})
    out.text(f"{count} subscribers, {len(groups)} groups and {len(devices)} devices imported")
    return ExitCode.OK


async def _export(args: argparse.Namespace) -> int:
    count = 0
    async with opened(args) as store:
        with _writing(args.file) as file:
            async for record in store.subscribers.records(with_keys=args.with_keys):
                _write(file, record)
                count += 1
            async for device in store.devices.carried():
                file.write(format_device(device, with_key=args.with_keys) + "\n")
            for group in await store.subscribers.groups():
                file.write(json.dumps({"group": group.uri, "members": list(group.members)}) + "\n")
    if args.file != "-":
        out = output(args)
        out.document({"type": "kms.export", "subscribers": count, "with_keys": args.with_keys})
        out.text(f"{count} subscribers exported{' with their keys' if args.with_keys else ''} to {args.file}")
    return ExitCode.OK


def _write(file: IO[str], record: SubscriberRecord) -> None:
    for line in format_subscribers([record]):
        file.write(line + "\n")


def _subscribers(
    lines: Iterator[str], groups: list[tuple[str, list[str]]], devices: list[CarriedDevice]
) -> Iterator[str]:
    """Yield the lines of subscribers; put groups and devices apart, a blank line in the place of each."""
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith(('{"group"', '{"device"')):
            yield line
            continue
        try:
            value = json.loads(line)
            if "device" in value:
                devices.append(parse_device(value))
            else:
                groups.append(_group(value))
        except json.JSONDecodeError:
            raise LocalError(f"line {number}: not a JSON object") from None
        except LocalError as error:
            raise LocalError(f"line {number}: {error}") from None
        yield "\n"


def _group(value: dict[str, Any]) -> tuple[str, list[str]]:
    members = value.get("members", [])
    if set(value) - {"group", "members"} or not isinstance(members, list):
        raise LocalError('a group is {"group": URI, "members": [URI, ...]}')
    return str(value["group"]), [str(member) for member in members]


@contextlib.contextmanager
def _reading(name: str) -> Iterator[Iterator[str]]:
    if name == "-":
        yield iter(sys.stdin)
        return
    try:
        file = open(name, encoding="utf-8")  # noqa: SIM115 (closed below by its reader)
    except OSError as error:
        raise ConfigurationError(f"{name}: {error.strerror}") from None
    with file:
        yield iter(file)


@contextlib.contextmanager
def _writing(name: str) -> Iterator[IO[str]]:
    if name == "-":
        yield sys.stdout
        return
    with create_private(Path(name)) as file:
        yield file
