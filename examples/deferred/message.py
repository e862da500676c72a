"""Leave a protected message for somebody who is offline, and play it later.

    message.py leave --kms URL --as sip:alice@example.com --psk-id alice --psk-file alice.psk \
        --to sip:bob@example.com greeting.wav DEPOSIT
    message.py play --kms URL --as sip:bob@example.com --psk-id bob --psk-file bob.psk DEPOSIT heard.wav

DEPOSIT is a file that anybody may keep: TRANSFER_INIT and the SRTP packets (docs/deferred.md).
Exit status: 0 done, 1 refused, 2 wrong input.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import sys
import time
from pathlib import Path

from sipmikey.deferred.deposit import parse_deposit
from sipmikey.deferred.leaving import deferred_ticket_policy, leave_message
from sipmikey.deferred.opening import open_message, read_transfer
from sipmikey.keys.suite import SUITE_256
from sipmikey.kms.client import HttpKmsClient
from sipmikey.media.codecs.codec import frame_ticks
from sipmikey.media.g711 import PCMA
from sipmikey.media.wav import WavRecorder, read_frames
from sipmikey.mikey import Secret, SrtpPolicy, Timestamp
from sipmikey.mikey.errors import LocalError, PeerError
from sipmikey.system import environment
from sipmikey.ticket import PreSharedKey, TicketRequest, TicketResolve

DAY_S = 86_400


def credential(options: argparse.Namespace) -> PreSharedKey:
    try:
        key = base64.b64decode(options.psk_file.read_text().strip(), validate=True)
    except binascii.Error:
        raise LocalError(f"{options.psk_file} holds no base64") from None
    return PreSharedKey(key=Secret(key), key_id=options.psk_id.encode())


async def ask(options: argparse.Namespace, message: bytes) -> bytes:
    async with HttpKmsClient(options.kms) as kms:
        return await kms.request(message)


def leave(options: argparse.Namespace) -> None:
    env = environment()
    frames = read_frames(options.wav, PCMA)
    policy = deferred_ticket_policy(
        SUITE_256,
        initiator=options.identity,
        addressee=options.to,
        kms=options.kms_identity,
        valid_until=Timestamp.ntp_utc_32(int(time.time()) + options.valid_s),
    )
    request = TicketRequest.start(
        env,
        policy=policy,
        credential=credential(options),
        identity=options.identity,
        kms=options.kms_identity,
    )
    grant = request.receive(asyncio.run(ask(options, request.message)))
    deposit = leave_message(
        env,
        grant,
        frames,
        codec=PCMA,
        srtp=SrtpPolicy.aes_gcm(),
        initiator=options.identity,
        addressee=options.to,
    )
    options.deposit.write_bytes(deposit.encode())
    changed = ", ".join(request.changes(grant))
    print(f"left {len(frames) / 50:.1f} s for {options.to} in {options.deposit}", end="")
    print(f" (the KMS changed: {changed})" if changed else "")


def play(options: argparse.Namespace) -> None:
    env = environment()
    deposit = parse_deposit(options.deposit.read_bytes())
    transfer = read_transfer(env, deposit.transfer_init, identity=options.identity, kept_for_s=options.kept_s)
    resolve = TicketResolve.start(
        env,
        ticket=transfer.ticket,
        credential=credential(options),
        identity=options.identity,
        kms=options.kms_identity,
    )
    transfer.verify(resolve.receive(asyncio.run(ask(options, resolve.message))))
    opened = open_message(transfer, deposit)
    recorder = WavRecorder(options.wav, opened.codec)
    for number, frame in enumerate(opened.frames):
        recorder.put(number * frame_ticks(opened.codec), frame)
    recorder.close()
    print(f"{opened.duration_s:.1f} s from {opened.sender}, verified")


def arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--kms", required=True, metavar="URL", help="base URL of the KMS")
    common.add_argument("--kms-identity", default="sip:kms@example.com", metavar="URI")
    common.add_argument("--as", required=True, dest="identity", metavar="URI", help="who you are")
    common.add_argument("--psk-id", required=True, metavar="ID", help="name of your key at the KMS")
    common.add_argument("--psk-file", required=True, type=Path, help="your key in base64")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    leaving = commands.add_parser("leave", parents=[common], help="leave a message")
    leaving.add_argument("--to", required=True, metavar="URI", help="for whom it is")
    leaving.add_argument("--valid-s", type=int, default=DAY_S, help="seconds until nobody can play it")
    leaving.add_argument("wav", type=Path)
    leaving.add_argument("deposit", type=Path)
    leaving.set_defaults(run=leave)
    playing = commands.add_parser("play", parents=[common], help="play a message")
    playing.add_argument("--kept-s", type=int, default=DAY_S, help="oldest message accepted, seconds")
    playing.add_argument("deposit", type=Path)
    playing.add_argument("wav", type=Path)
    playing.set_defaults(run=play)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    try:
        options.run(options)
    except PeerError as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        return 1
    except (LocalError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
