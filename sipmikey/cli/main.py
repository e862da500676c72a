"""The `sipmikey` command: finds the subcommand, runs it, and turns what goes wrong into an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Protocol, cast

from sipmikey import __version__
from sipmikey.cli.exit_codes import CommandFailed, ExitCode, table
from sipmikey.cli.output import complain
from sipmikey.cli.parser import SuggestingParser
from sipmikey.guard import forbid_core_dumps
from sipmikey.native import description

COMMANDS: dict[str, tuple[str, str]] = {
    "call": ("sipmikey.cli.calls.call", "call a SIP URI with keys from a MIKEY ticket"),
    "messages": ("sipmikey.cli.messages.command", "list, play, keep and delete messages left for us"),
    "answer": ("sipmikey.cli.calls.answer", "wait for calls and answer them"),
    "phone": ("sipmikey.cli.phone.command", "the phone: a window, or a terminal with --tui"),
    "setup": ("sipmikey.cli.phone.setup", "set the phone up from an invitation, or by five questions"),
    "echo": ("sipmikey.cli.phone.echo", "answer calls and send back what is heard"),
    "agent": ("sipmikey.cli.calls.agent", "make and take calls, driven by JSON lines"),
    "completion": ("sipmikey.cli.phone.shells", "print the completion of a shell"),
    "manual": ("sipmikey.cli.phone.manual", "write the manual pages"),
    "register": ("sipmikey.cli.calls.register", "register with a SIP registrar and stay registered"),
    "tickets": ("sipmikey.cli.calls.tickets", "list, fetch and forget the tickets kept for later calls"),
    "group": ("sipmikey.cli.group.command", "talk in a group under a group key, one at a time"),
    "check": (
        "sipmikey.cli.calls.check",
        "check registrar, KMS, STUN, TURN, sound, codecs, certificates, mailbox",
    ),
    "devices": ("sipmikey.cli.devices", "list, try out and choose sound devices"),
    "demo": (
        "sipmikey.cli.demo.command",
        "run a KMS and two agents here and prove that a secured call works",
    ),
    "kms": ("sipmikey.cli.kms.command", "set up and run a key management service"),
    "mailbox": ("sipmikey.cli.mailbox.command", "set up and run a server that keeps messages it cannot open"),
    "decode": ("sipmikey.cli.decode.command", "explain MIKEY messages from base64, hex, SDP or a capture"),
    "vectors": ("sipmikey.cli.vectors", "check test vectors, or serve a KMS and a user agent that misbehave"),
    "load": ("sipmikey.cli.load.command", "make many calls, and report times and failures"),
    "conformance": ("sipmikey.cli.conformance", "test a KMS or a user agent against RFC 6043"),
    "report": (
        "sipmikey.cli.report.command",
        "collect what a bug report needs, without names and secrets",
    ),
    "config": ("sipmikey.cli.config.command", "show the merged configuration, secrets masked"),
}
"""Command -> (module with `add_parser` and `run`, one line for `--help`). Modules load when asked for."""

EXTRAS = {
    "pjsua2": "pjsua2",
    "_pjsua2": "pjsua2",
    "pylibsrtp": "media",
    "httptools": "client",
    "tomlkit": "client",
    "aioice": "nat",
    "miniaudio": "sound",
    "samplerate": "sound",
    "numpy": "sound",
    "uvloop": "kms",
    "ldap3": "ldap",
    "keyring": "phone",
    "vobject": "phone",
    "defusedxml": "calls",
    "textual": "tui",
    "PySide6": "gui",
    "prometheus_client": "kms",
    "asyncpg": "postgresql",
    "redis": "redis",
}
"""Optional package -> the extra of ours that installs it."""

EXAMPLES = """\
examples:
  sipmikey demo                                  a whole secured call on this machine
  sipmikey kms init --help                       start a KMS of your own
  sipmikey answer --config bob.toml              wait for calls as bob
  sipmikey call --config alice.toml sip:bob@example.com --duration 10
  sipmikey decode AQAg...                        what is in this a=key-mgmt line?
"""


CALLING = ("agent", "answer", "call")
"""Commands whose SIP stack is loaded beside the command, in a process of its own."""


class Command(Protocol):
    """What a command module offers."""

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command's parser, options and help."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command and return its exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sipmikey` with *argv* (the process's arguments by default) and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no text of anybody ends a command
    try:
        return _run(words)
    except KeyboardInterrupt:
        complain("interrupted", as_json=as_json, code=ExitCode.INTERRUPTED, reason="interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; leave nothing that flushes into the closed pipe at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return ExitCode.OK
    except ModuleNotFoundError as error:
        return _missing(error, as_json)
    except CommandFailed as error:
        complain(str(error), as_json=as_json, code=error.code, reason=error.reason)
        return error.code
    except Exception as error:  # noqa: BLE001 - the last resort of the process
        return _unexpected(error, as_json)


def _run(words: list[str]) -> int:
    """Parse *words* and run the command they name."""
    try:
        args, module = parsed(words)
    except SystemExit as stop:  # argparse leaves with 0 after --help and with 2 after an error
        return stop.code if isinstance(stop.code, int) else ExitCode.USAGE
    forbid_core_dumps()
    if args.command in CALLING:
        from sipmikey.agent.isolation.ahead import load_ahead

        load_ahead()
    return int(module.run(args))


def parsed(words: list[str]) -> tuple[argparse.Namespace, Command]:
    """Return the options of a command line, and its command. Raises `SystemExit` as argparse does."""
    parser = SuggestingParser(
        prog="sipmikey",
        description="SIP calls protected end to end with MIKEY-TICKET (RFC 6043).",
        epilog=f"{EXAMPLES}\n{table()}\n\nSIPMIKEY_DEBUG=1 adds tracebacks to internal errors.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sipmikey {__version__} ({description()})")
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] = parser.add_subparsers(  # type: ignore[assignment]
        dest="command", metavar="COMMAND", required=True
    )
    chosen = next((word for word in words if not word.startswith("-")), None)
    module: ModuleType | None = None
    for name, (path, summary) in COMMANDS.items():
        if name == chosen:
            module = importlib.import_module(path)
            cast(Command, module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    args = parser.parse_args(words)
    assert module is not None, "argparse accepted a command that is not in the table"
    return args, cast(Command, module)


def _missing(error: ModuleNotFoundError, as_json: bool) -> int:
    """Name the extra that installs a package that is not here."""
    package = (error.name or "").split(".")[0]
    extra = EXTRAS.get(package)
    if extra is None:
        return _bug(error, as_json)
    complain(
        f"this command needs {package}, which is not installed: pip install 'sipmikey[{extra}]'",
        as_json=as_json,
        code=ExitCode.USAGE,
        reason="missing-extra",
    )
    return ExitCode.USAGE


def _unexpected(error: Exception, as_json: bool) -> int:
    """Report misuse that no command reported itself, or a bug."""
    from sipmikey.mikey.errors import LocalError  # loads the codec, which `--version` does without

    if isinstance(error, LocalError):
        complain(str(error), as_json=as_json, code=ExitCode.USAGE, reason="usage")
        return ExitCode.USAGE
    return _bug(error, as_json)


def _bug(error: Exception, as_json: bool) -> int:
    """Report an error no command expected. The message of a foreign exception may hold anything: hide it.

    Errors of this package never contain keys, so theirs is shown; of others only the type and the place.
    """
    from sipmikey.mikey.errors import SipmikeyError

    if isinstance(error, SipmikeyError):
        what = f"{type(error).__name__}: {error}"
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1:]
        place = "".join(f" at {os.path.basename(entry.filename)}:{entry.lineno}" for entry in frame)
        what = f"{type(error).__name__}{place}"
    hint = "" if os.environ.get("SIPMIKEY_DEBUG") else " (SIPMIKEY_DEBUG=1 shows where)"
    complain(f"internal error: {what}{hint}", as_json=as_json, code=ExitCode.INTERNAL, reason="internal")
    if os.environ.get("SIPMIKEY_DEBUG"):
        traceback.print_tb(error.__traceback__)  # frames and source lines only: no values, so no keys
    return ExitCode.INTERNAL


if __name__ == "__main__":
    sys.exit(main())
