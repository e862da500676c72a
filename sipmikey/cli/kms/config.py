"""`sipmikey kms config`: what a KMS's configuration comes to, and what can be set in it."""

from __future__ import annotations

import argparse

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import Actions, action, output
from sipmikey.cli.kms.configuration import CONFIG_NAME, SECTIONS, PeerSection, load_merged, peer_name
from sipmikey.settings import as_document, as_toml, merge, reference_table
from sipmikey.settings.show import plain


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `config` and what can be done with it."""
    parser = actions.add_parser("config", help=f"show {CONFIG_NAME} with defaults, and what can be set in it")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    action(
        verbs,
        "show",
        help="print every setting, its value and where it came from",
        examples="  sipmikey kms config show\n  sipmikey kms config show --dir /etc/sipmikey-kms --json\n",
        run=_show,
    )
    reference = verbs.add_parser(
        "reference",
        help="print what can be set, as Markdown",
        description="Print every setting with its key, default and meaning, as Markdown.",
    )
    reference.set_defaults(kms_run=_reference)


def _show(args: argparse.Namespace) -> int:
    configuration, merged = load_merged(args.dir)
    out = output(args)
    peers = {
        identity: {"url": peer.url, "key_id": peer.key_id, "key_file": plain(peer.key_file)}
        for identity, peer in configuration.peers.items()
    }
    out.document({"type": "kms.config", "file": merged.path, "settings": as_document(merged), "peers": peers})
    out.text(as_toml(merged))
    for identity, peer in peers.items():
        kind = {peer_name(identity): PeerSection}
        out.text("\n" + as_toml(merge(kind, path=merged.path, tables={peer_name(identity): peer})))
    return ExitCode.OK


def _reference(args: argparse.Namespace) -> int:
    print(reference())
    return ExitCode.OK


def reference() -> str:
    """Return every setting as a row of a Markdown table. docs/kms/configuration.md holds it."""
    return reference_table({**SECTIONS, 'peers."IDENTITY"': PeerSection}, options=False)
