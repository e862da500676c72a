"""Our identity, our key and our KMS; and the options of the phones of this folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from sipmikey.call import CallPolicy, CallSettings, StandardKeyings
from sipmikey.key_file import read_key_file
from sipmikey.keys.suite import SUITE_128
from sipmikey.kms.client import BlockingKmsClient
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.system import environment
from sipmikey.ticket import PreSharedKey, RequestedKey, TicketGrant, TicketPolicy, TicketRequest

ENV = environment()  # the clock and the randomness of this machine
POLICY = CallPolicy()  # MIKEY-TICKET or no call
SUITES = ("128",)  # what the SRTP of `sipmikey.media` has everywhere


class Account:
    """Our identity, our key at the KMS, and the KMS. *url*: https, or http on this machine."""

    def __init__(self, identity: str, *, kms: str, url: str, psk_id: str, psk_file: Path) -> None:
        self.identity = identity
        self.kms = kms
        self.client = BlockingKmsClient(url)
        self.credential = PreSharedKey(key=read_key_file(psk_file, "--psk-file"), key_id=psk_id.encode())
        self.settings = CallSettings(identity=identity, policy=POLICY, redirects=0)
        self.keyings = StandardKeyings(
            ENV, POLICY, identity=identity, suites=SUITES, credential=self.credential, kms=kms
        )

    def get_ticket(self, callee: str) -> TicketGrant:
        """Ask the KMS for a ticket with which *callee* can be called. Raises ``PeerError``."""
        policy = TicketPolicy(
            suite=SUITE_128,
            flags=TicketFlags.of("DEFGHILMNO"),  # keys of its own for each device; both sides may rekey
            responders=(callee,),
            kms=self.kms,
            initiator=self.identity,
            requested_keys=(RequestedKey(length=SUITE_128.key_length),),
        )
        request = TicketRequest.start(
            ENV, policy=policy, credential=self.credential, identity=self.identity, kms=self.kms
        )
        return request.receive(self.client.request(request.message))


def parser(description: str) -> argparse.ArgumentParser:
    """Return the options of the phones of this folder."""
    made = account_parser(description)
    made.add_argument("--play", required=True, type=Path, help="WAV file to say")
    made.add_argument("--record", type=Path, help="WAV file to write what is heard to")
    made.add_argument(
        "--seconds", type=float, default=3.0, help="how long the caller talks before it hangs up"
    )
    made.add_argument("callee", nargs="?", help="SIP identity to call; without one a call is awaited")
    return made


def account_parser(description: str) -> argparse.ArgumentParser:
    """Return the options that every program of this folder has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--identity", default="sip:alice@example.com", help="our SIP identity")
    made.add_argument("--kms", required=True, metavar="URL", help="URL of the KMS")
    made.add_argument("--kms-identity", default="sip:kms@example.com", help="identity of the KMS")
    made.add_argument("--psk-id", required=True, help="name of our key at the KMS")
    made.add_argument("--psk-file", required=True, type=Path, help="file with our key, as the KMS wrote it")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on")
    made.add_argument("--port", type=int, default=0, help="port to listen on; 0: any")
    made.add_argument("--via", metavar="SIP-URI", help="where the INVITE goes, if not to the callee's host")
    return made


def account(options: argparse.Namespace) -> Account:
    """Return the account that *options* describe."""
    return Account(
        options.identity,
        kms=options.kms_identity,
        url=options.kms,
        psk_id=options.psk_id,
        psk_file=options.psk_file,
    )
