"""The keys `sipmikey decode` verifies and decrypts with: from options, files and the store of a KMS."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from sipmikey.decode.results import Names
from sipmikey.decode.unlock import Unlocker
from sipmikey.key_file import read_key_option
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.identity import IDR
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import IdRole
from sipmikey.mikey.secret import Secret
from sipmikey.pem_file import read_rsa_key


def add_key_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that give keys, and names that messages leave out."""
    group = parser.add_argument_group("verify and decrypt (KEY is hex, base64 or @FILE)")
    group.add_argument("--psk", action="append", default=[], metavar="KEY", help="key shared with the KMS")
    group.add_argument("--tpk", action="append", default=[], metavar="KEY", help="ticket protection key")
    group.add_argument(
        "--kms-key", action="append", default=[], type=Path, metavar="PEM", help="the KMS's RSA private key"
    )
    group.add_argument("--dir", type=Path, metavar="DIR", help="take all keys from this KMS's store")
    group.add_argument("--initiator", default="", metavar="URI", help="IDRi where messages leave it out")
    group.add_argument("--responder", default="", metavar="URI", help="IDRr where messages leave it out")
    group.add_argument("--kms", default="", metavar="URI", help="IDRkms where messages leave it out")
    group.add_argument(
        "--wireshark-keys", type=Path, metavar="FILE", help="write the keys as a key file for the dissector"
    )
    group.add_argument("--show-keys", action="store_true", help="print keys, not only their fingerprints")


def unlocker(args: argparse.Namespace, messages: Sequence[Message]) -> Unlocker:
    """Return an unlocker with the keys that the options give. Raises `LocalError`."""
    psks = [read_key_option(text, "--psk") for text in args.psk]
    tpks = [read_key_option(text, "--tpk") for text in args.tpk]
    if args.dir is not None:
        from_store = _from_store(args, messages)
        psks += from_store[0]
        tpks += from_store[1]
    names = Names(initiator=args.initiator.encode(), responder=args.responder.encode(), kms=args.kms.encode())
    if args.wireshark_keys is not None:
        _write_key_file(args.wireshark_keys, psks, tpks, names)
    return Unlocker(
        psks=psks, tpks=tpks, kms_keys=[read_rsa_key(path, "--kms-key") for path in args.kms_key], names=names
    )


def _write_key_file(path: Path, psks: Sequence[Secret], tpks: Sequence[Secret], names: Names) -> None:
    """Write the key file of contrib/wireshark, for its owner alone. Raises `LocalError` where it exists."""
    lines = [f"psk {key.reveal().hex()}" for key in psks] + [f"tpk {key.reveal().hex()}" for key in tpks]
    named = {"initiator": names.initiator, "responder": names.responder, "kms": names.kms}
    lines += [f"{word} {name.decode()}" for word, name in named.items() if name]
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise LocalError(f"--wireshark-keys {path}: {error.strerror}") from None


def _from_store(args: argparse.Namespace, messages: Sequence[Message]) -> tuple[list[Secret], list[Secret]]:
    """Return the PSKs that the messages may be protected with, and every TPK."""
    from sipmikey.cli.kms.common import drive, opened  # loads the KMS

    psks: list[Secret] = []
    tpks: list[Secret] = []
    key_ids = {item.data for message in messages for item in message.all(IDR, IdRole.PSK)}
    roles = (IdRole.INITIATOR, IdRole.RESPONDER)
    identities = {item.data for message in messages for role in roles for item in message.all(IDR, role)}

    async def body(_: argparse.Namespace) -> int:
        async with opened(args) as store:
            credentials = store.lookups().credentials
            for key_id in key_ids:
                found = await credentials.psk_by_key_id(key_id)
                if found is not None:
                    psks.append(found.key)
            for identity in identities:
                owned = await credentials.psks_of(identity.decode("utf-8", "replace"))
                psks.extend(item.key for item in owned)
            tpks.extend(record.key for record in await store.ticket_keys.list())
        return 0

    if drive(args, body):
        raise LocalError(f"the store of {args.dir} gave no keys")
    return list(dict.fromkeys(psks)), tpks
