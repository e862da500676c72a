"""`sipmikey kms master-key`: wrapped by a token or a Vault, and changed while the KMS serves."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import (
    Actions,
    action,
    key_from,
    master_key,
    opened,
    output,
    path_of,
    write_private,
)
from sipmikey.cli.kms.configuration import load
from sipmikey.cli.kms.users.acts import acted
from sipmikey.cli.output import timestamp
from sipmikey.kms.administration.audit_acts import AdminAct
from sipmikey.kms.master_keys.wrapped_key import wrapper_of, written
from sipmikey.kms.stores.vault import MASTER_KEY_BYTES, FileMasterKey
from sipmikey.mikey.secret import Secret
from sipmikey.settings import ConfigurationError

SETTLE_S = 10.0
"""Five times as long as a server takes to notice a change."""

CHANGE = """\
  sipmikey kms master-key change --to file:new.key
  sipmikey kms master-key change --to wrapped:hsm.toml --dir /etc/sipmikey-kms

The KMS serves meanwhile, on any number of machines. Given again, the command goes on where it broke off. Then
name the new key in store.master_key of every machine, restart them one after the other, and:

  sipmikey kms master-key finish
"""

WRAP = """\
  sipmikey kms master-key wrap hsm.toml --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token kms --key kms \\
      --pin file:/etc/sipmikey-kms/pin --make-key
  sipmikey kms master-key wrap vault.toml --vault https://vault.example.com:8200 --key kms \\
      --vault-token file:/run/vault-token
  sipmikey kms master-key wrap new.toml --new --vault https://vault.example.com:8200 --key kms

then: master_key = "wrapped:hsm.toml" under [store], and take master.key away to a safe place
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `master-key` and what can be done with it."""
    parser = actions.add_parser("master-key", help="wrap or change the key that opens all others")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    wrap = action(
        verbs, "wrap", help="write the master key wrapped by a token (PKCS#11) or a Vault", examples=WRAP,
        run=_wrap,
    )  # fmt: skip
    wrap.add_argument("file", type=Path, help="new file, which holds no secret")
    how = wrap.add_mutually_exclusive_group(required=True)
    how.add_argument("--pkcs11", metavar="MODULE", help="library of the token")
    how.add_argument("--vault", metavar="URL", help="a Vault or OpenBao with the transit engine")
    wrap.add_argument("--key", required=True, metavar="NAME", help="wrapping key, by label or name")
    wrap.add_argument("--token", metavar="LABEL", help="label of the token")
    wrap.add_argument(
        "--pin", default="env:SIPMIKEY_KMSD_PIN", metavar="SOURCE", help="file:PATH or env:NAME"
    )
    wrap.add_argument("--make-key", action="store_true", help="make the wrapping key in the token first")
    wrap.add_argument("--vault-token", default="env:VAULT_TOKEN", metavar="SOURCE", help="likewise")
    wrap.add_argument("--mount", default="transit", help="where the transit engine is (default: transit)")
    wrap.add_argument("--ca", metavar="FILE", help="CA of the Vault, PEM")
    wrap.add_argument("--new", action="store_true", help="a new key, for `change`, and not the present one")
    change = action(
        verbs, "change", help="seal everything under another key, while the KMS serves", examples=CHANGE,
        body=_change,
    )  # fmt: skip
    change.add_argument(
        "--to", required=True, metavar="SOURCE", help="the new key; file:PATH is made if it is missing"
    )
    change.add_argument(
        "--settle-s", type=float, default=SETTLE_S, metavar="N",
        help=f"seconds that servers get to notice (default: {SETTLE_S:g})",
    )  # fmt: skip
    action(
        verbs, "finish", help="forget the old key, once every server is given the new one",
        examples="  sipmikey kms master-key finish\n", body=_finish,
    )  # fmt: skip
    action(
        verbs, "show", help="tell whether a change is under way",
        examples="  sipmikey kms master-key show --json\n", body=_show,
    )  # fmt: skip


def _wrap(args: argparse.Namespace) -> int:
    if args.file.exists():
        raise ConfigurationError(f"{args.file} exists already and is left alone; name another file")
    if args.pkcs11 and not args.token:
        raise ConfigurationError("--pkcs11 needs --token LABEL")
    settings = (
        {"module": args.pkcs11, "token": args.token, "key": args.key, "pin": args.pin}
        if args.pkcs11
        else {"url": args.vault, "key": args.key, "token": args.vault_token, "mount": args.mount}
        | ({"ca": args.ca} if args.ca else {})
    )
    kind = "pkcs11" if args.pkcs11 else "vault"
    wrapper = wrapper_of(kind, settings, "master-key wrap")
    if args.make_key:
        make = getattr(wrapper, "make_key", None)
        if make is None:
            raise ConfigurationError("--make-key is for tokens; a Vault has its own command for that")
        make()
    key = Secret(os.urandom(MASTER_KEY_BYTES)) if args.new else master_key(load(args.dir))
    text = written(wrapper, wrapper.wrap(key))
    if wrapper.unwrap(wrapper.wrap(key)).reveal() != key.reveal():
        raise ConfigurationError("what was wrapped does not unwrap: nothing was written")
    write_private(args.file, text)
    out = output(args)
    out.document({"type": "kms.master-key.wrapped", "file": args.file, "kind": kind, "new": args.new})
    out.text(f"{args.file} holds {'a new' if args.new else 'the'} master key, wrapped ({kind})")
    return ExitCode.OK


async def _change(args: argparse.Namespace) -> int:
    configuration = load(args.dir)
    kind, _, name = args.to.partition(":")
    if kind == "file" and name and not path_of(configuration, name).exists():
        FileMasterKey(path_of(configuration, name)).create()
    new = key_from(configuration, args.to, "--to")
    out = output(args)
    async with opened(args) as store:
        await store.master_key.begin(new, now_s=int(time.time()))
        await acted(store, AdminAct.CHANGE_MASTER_KEY, detail=f"to {args.to}")
        out.document({"type": "kms.master-key.began", "to": args.to})
        out.text(f"the change to {args.to} has begun; servers get {args.settle_s:g} s to notice")
        await asyncio.sleep(args.settle_s)

        def progress(count: int) -> None:
            if sys.stderr.isatty():
                print(f"\r{count} secrets sealed again ", end="", file=sys.stderr, flush=True)

        count = await store.master_key.seal_again(progress, now_s=int(time.time()))
    out.document({"type": "kms.master-key.sealed", "sealed": count})
    out.text(f"{count} secrets are sealed under the new key now")
    out.text(f'next: master_key = "{args.to}" on every machine, and restart each')
    out.text("then: sipmikey kms master-key finish")
    return ExitCode.OK


async def _finish(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        await store.master_key.finish()
        await acted(store, AdminAct.CHANGE_MASTER_KEY, detail="finished")
    out = output(args)
    out.document({"type": "kms.master-key.finished"})
    out.text("the old master key opens nothing in the store any more; backups made before still need it")
    return ExitCode.OK


async def _show(args: argparse.Namespace) -> int:
    async with opened(args) as store:
        change = await store.master_key.refresh()
    out = output(args)
    began, sealed = (None, None) if change is None else (change.began_s, change.sealed_s)
    out.document({"type": "kms.master-key", "began_s": began, "sealed_s": sealed})
    if began is None:
        out.text("no change of the master key is under way")
    elif sealed is None:
        out.text(f"a change began at {timestamp(began)}; not everything is sealed under the new key yet")
    else:
        out.text(f"everything is sealed under the new key since {timestamp(sealed)}; finish is still to come")
    return ExitCode.OK
