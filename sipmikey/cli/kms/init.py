"""`sipmikey kms init`: a new KMS in a directory of its own."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import (
    Actions,
    action,
    open_configured,
    output,
    path_of,
    write_private,
)
from sipmikey.cli.kms.configuration import (
    CONFIG_NAME,
    HttpSection,
    KmsConfiguration,
    default_directory,
    load,
)
from sipmikey.cli.kms.system.unit import (
    ACCOUNT,
    DIRECTORY,
    NAME,
    SYSUSERS,
    UNIT,
    account_text,
    closed_to_others,
    unit_text,
)
from sipmikey.cli.output import Output
from sipmikey.kms.stores.vault import FileMasterKey
from sipmikey.kms.subscribers import normal_identity
from sipmikey.settings import ConfigurationError

EXAMPLES = """\
  sipmikey kms init --identity sip:kms@example.com
  sipmikey kms init --dir /etc/sipmikey-kms --identity sip:kms@example.com \\
      --listen 0.0.0.0:8443 --tls-cert kms.pem --tls-key kms.key
  sipmikey kms init --system --identity sip:kms@example.com --listen 0.0.0.0:8443 \\
      --tls-cert kms.pem --tls-key kms.key
  sipmikey kms init --identity sip:kms@example.com --store postgresql://kms@db/kms \\
      --replay redis://cache:6379/0 --workers 2
"""

POLICY = """\
# Who may have tickets for whom, and with which properties.
# `sipmikey kms policy test --from URI --to URI` explains a decision.
# Without a rule everything is refused. "subscribers" are the users of this KMS; calls to groups and to users
# of other KMSs need a rule each, such as:
#     to = ["group:sip:support@example.com", "sip:*@partner.example"]

[[rule]]
name = "subscribers"
from = ["{parties}"]
to = ["{parties}"]
decision = "allow"
"""

POLICIES = {"open": "*", "subscribers": "subscribers"}
"""Policy to begin with, and the word for whom it lets call whom."""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `init`."""
    parser = action(
        actions,
        "init",
        help="make a new KMS: configuration, master key, store, policy",
        examples=EXAMPLES,
        body=_init,
    )
    parser.add_argument(
        "--identity", required=True, metavar="URI", help="the KMS's own URI, e.g. sip:kms@example.com"
    )
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help=f"address to serve on, repeatable (default: {HttpSection().listen[0]})",
    )
    parser.add_argument(
        "--store", default="sqlite:kms.sqlite", metavar="URL", help="sqlite:PATH or postgresql://..."
    )
    parser.add_argument(
        "--replay", default="", metavar="URL", help="redis://... for a replay cache shared by machines"
    )
    parser.add_argument(
        "--master-key",
        default="file:master.key",
        metavar="SOURCE",
        help="file:PATH (made if it is missing), env:NAME or provider:MODULE:CLASS",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="server certificate with its chain, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument(
        "--policy",
        choices=tuple(POLICIES),
        default="subscribers",
        help="who may have tickets to begin with: subscribers for one another, nothing for identities that"
        " nobody knows (the default); with open, subscribers for anybody",
    )
    parser.add_argument(
        "--system",
        action="store_true",
        help=f"a service of this machine: in {DIRECTORY}, with an account and a hardened systemd unit",
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="with --system: put its files below DIR"
    )


async def _init(args: argparse.Namespace) -> int:
    system: bool = args.system
    directory: Path = args.root / DIRECTORY.relative_to("/") if system else args.dir
    if system:
        _check_system(args)
    if (directory / CONFIG_NAME).exists():
        raise ConfigurationError(f"there is a KMS in {directory} already; name another directory with --dir")
    if (args.tls_cert is None) != (args.tls_key is None):
        raise ConfigurationError("--tls-cert and --tls-key go together")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(directory / CONFIG_NAME, _configuration(args))
    try:
        configuration = load(directory)
        if not configuration.policy.file.exists():
            text = POLICY.format(parties=POLICIES[args.policy])
            write_private(configuration.policy.file, text)
        kind, _, name = configuration.store.master_key.partition(":")
        if kind == "file" and not path_of(configuration, name).exists():
            FileMasterKey(path_of(configuration, name)).create()
        store = await open_configured(configuration, create=True)
    except BaseException:
        (directory / CONFIG_NAME).unlink()  # so that the same command can be given again
        raise
    await store.close()
    out = output(args)
    out.document(
        {
            "type": "kms.init",
            "directory": directory,
            "identity": configuration.kms.identity,
            "store": args.store,
            "listen": configuration.http.listen,
        }
    )
    out.text(f"KMS {configuration.kms.identity} made in {directory}")
    if kind == "file":
        out.text(f"keep {path_of(configuration, name)} apart from backups of the store: it opens every key")
    if system:
        _write_system(args.root, configuration, out)
        return ExitCode.OK
    out.text(f"next: sipmikey kms user add --dir {directory} sip:alice@example.com")
    return ExitCode.OK


def _check_system(args: argparse.Namespace) -> None:
    """Raise ConfigurationError where the system has files of a KMS already."""
    if args.dir != default_directory():
        raise ConfigurationError(f"--system makes the KMS in {DIRECTORY}: leave --dir out")
    for file in (UNIT, SYSUSERS):
        if (args.root / file).exists():
            raise ConfigurationError(f"{args.root / file} exists already and is left alone")
    if args.root == Path("/") and (closed := closed_to_others(Path(sys.executable), Path(__file__))):
        raise ConfigurationError(
            f"the account of the service cannot run this Python: {closed} is closed to it;"
            " install sipmikey where every account may read it, e.g. in /opt/sipmikey"
        )


def _write_system(root: Path, configuration: KmsConfiguration, out: Output) -> None:
    """Write account and unit, and say what puts them to work."""
    for file, text in (
        (SYSUSERS, account_text(DIRECTORY)),
        (UNIT, unit_text(DIRECTORY, configuration.http.listen)),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")
    out.document({"type": "kms.init.system", "unit": root / UNIT, "sysusers": root / SYSUSERS})
    out.text(f"unit {root / UNIT}, account {root / SYSUSERS}; now, as root:")
    out.text("  systemd-sysusers")
    out.text(f"  chown -R {ACCOUNT}: {DIRECTORY}")
    if (key := configuration.tls.private_key) is not None:
        readable = f"runuser -u {ACCOUNT} -- test -r {shlex.quote(str(key))}"
        out.text(f"  {readable} || echo let {ACCOUNT} read that key")
    out.text(f"  systemctl daemon-reload && systemctl enable --now {NAME}")
    out.text(
        f"then: runuser -u {ACCOUNT} -- sipmikey kms user invite --dir {DIRECTORY} sip:alice@example.com"
    )


def _configuration(args: argparse.Namespace) -> str:
    """Return the text of `kms.toml`: what was asked for, all else by default."""
    listen = args.listen or list(HttpSection().listen)
    lines = [
        "# A key management service; `sipmikey kms serve --help` says more. Paths are relative to this file.",
        "[kms]",
        f"identity = {_quoted(normal_identity(args.identity))}",
        "",
        "[store]",
        f"url = {_quoted(args.store)}",
        f"replay_url = {_quoted(args.replay)}",
        f"master_key = {_quoted(args.master_key)}",
        "",
        "[http]",
        f"listen = [{', '.join(_quoted(address) for address in listen)}]",
        f"workers = {args.workers}",
    ]
    if args.tls_cert is not None:
        lines += [
            "",
            "[tls]",
            f"certificate = {_quoted(str(Path(args.tls_cert).resolve()))}",
            f"private_key = {_quoted(str(Path(args.tls_key).resolve()))}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return *text* as a TOML basic string, which JSON's strings are (but for lone surrogates)."""
    return json.dumps(text, ensure_ascii=False)
