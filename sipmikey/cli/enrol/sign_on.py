"""Single sign-on on the device: a code and an address to show, then a key of the device's own."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sipmikey.cli.enrol.command import kept
from sipmikey.cli.enrol.redeem import Enrolment, asked, certificate_request, device_name, enrolment_of
from sipmikey.cli.exit_codes import CommandFailed, ExitCode
from sipmikey.cli.qr import qr_text
from sipmikey.kms.client import ClientTls
from sipmikey.kms.client.errors import KmsBadAnswer, KmsBusy, UntrustedCertificate, word_of
from sipmikey.kms.client.exchange import KmsUrl
from sipmikey.kms.enrolment.codes import SIGN_ON_PATH
from sipmikey.kms.enrolment.device import SignOn
from sipmikey.kms.enrolment.documents import MAX_NAME
from sipmikey.kms.enrolment.sign_on_documents import Begun, State
from sipmikey.mikey.errors import PeerError
from sipmikey.sealed.vault import Vault

BUSY_S = 5.0
"""Seconds until the KMS is asked again that is busy and does not say for how long."""


def signed_on(
    kms_url: str,
    *,
    show: Callable[[Begun], None],
    name: str | None = None,
    ca_file: Path | None = None,
    with_certificate: bool = False,
    wait: Callable[[float], object] = time.sleep,
) -> Enrolment:
    """Let a person sign on at the organisation's provider, and return this device's enrolment.

    *show* tells the person where and with which code; *wait* passes seconds between two questions. The
    certificate of the KMS is verified: here no code proves the KMS. Raises `CommandFailed`.
    """
    url, tls = KmsUrl.parse(kms_url), ClientTls(ca_file=ca_file)
    sign_on = SignOn(name=(name or device_name())[:MAX_NAME], random=os.urandom)
    try:
        begun = sign_on.receive(asked(url, sign_on.body, tls, path=SIGN_ON_PATH))
        show(begun)
        number = _approved(url, tls, sign_on, begun, wait)
    except UntrustedCertificate as error:
        raise CommandFailed(
            f"{error}; for sign-on the KMS is known by its certificate alone: give its CA with --ca",
            code=ExitCode.KMS,
            reason=word_of(error),
        ) from None
    except KmsBadAnswer:
        raise CommandFailed(
            f"{url.site} serves no sign-on: ask its administrator for an invitation",
            code=ExitCode.KMS,
            reason="no-sign-on",
        ) from None
    except PeerError as error:
        raise CommandFailed(
            f"{error}; nothing was written", code=ExitCode.KMS, reason=word_of(error)
        ) from None
    private_key, csr = certificate_request() if with_certificate else ("", b"")
    question = sign_on.redeem(number, csr=csr)
    return enrolment_of(question, kms_url, ca_file=ca_file, private_key=private_key, by_code=False)


def _approved(
    url: KmsUrl, tls: ClientTls, sign_on: SignOn, begun: Begun, wait: Callable[[float], object]
) -> str:
    """Ask until the person has decided; return the number of the invitation. The KMS ends it by refusing."""
    pause_s: float = begun.interval_s
    while True:
        try:
            state = State.decode(asked(url, sign_on.poll, tls, path=SIGN_ON_PATH))
        except KmsBusy as error:
            wait(error.retry_after_s or BUSY_S)
            continue
        if state.invitation:
            return state.invitation
        pause_s = max(pause_s, state.interval_s)
        wait(pause_s)


def sign_on_and_enrol(args: argparse.Namespace, kms_url: str, path: Path, vault: Vault) -> Iterator[str]:
    """Sign on as the options say, showing the code; write the configuration, yield what there is to tell."""
    enrolment = signed_on(
        kms_url, show=print_code, name=args.name, ca_file=args.ca, with_certificate=args.certificate
    )
    yield from kept(enrolment, path, vault)


def print_code(begun: Begun) -> None:
    """Print where to sign on and with which code, with a QR of the address."""
    print(f"Sign on at    {begun.verification_uri}\nwith the code {begun.user_code}\n")
    print(qr_text(begun.verification_uri_complete or begun.verification_uri))
    minutes = max(1, begun.expires_in_s // 60)
    print(f"Use any browser, also that of another device. The code is good for {minutes} min.")
    print("Enter it only if you started this yourself: who has you enter a code gets a phone in your name.")
    print("Waiting ...", flush=True)
