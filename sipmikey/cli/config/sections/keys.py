"""What keys calls: the KMS, tickets, the policy, and this device's enrolment."""

# ruff: noqa: RUF009 (what `setting` returns is a dataclass field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sipmikey.cli.config.sections.values import (
    ALTERNATIVES,
    FALLBACKS,
    FORKED,
    MODES,
    NOTHING,
    POLICIES,
    RETARGETS,
    SIGNATURES,
    SUITES,
    mode_by_contact,
    policy_by_contact,
    text_by_party,
    url_by_identity,
)
from sipmikey.mikey.secret import Secret
from sipmikey.settings import readers as read
from sipmikey.settings import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Kms:
    """The key management service and what is shared with it."""

    url: str = setting("", "base URL of the KMS", read.uri("https", "http"), option="--kms", metavar="URL")
    identity: str = setting(
        "",
        "identity of the KMS (IDRkms)",
        read.uri("sip", "sips", "kms"),
        option="--kms-identity",
        metavar="URI",
    )
    others: Mapping[str, str] = setting(
        NOTHING, "URLs of further KMSs by their identity, for tickets of other domains", url_by_identity
    )
    psk: Secret | None = setting(None, "the pre-shared key; better in a file", read.secret, secret=True)
    psk_file: Path | None = setting(
        None, "file that holds the pre-shared key", read.path, option="--psk-file", metavar="FILE"
    )
    psk_id: str = setting(
        "", "name of the pre-shared key (IDRpsk), where the KMS gave one", read.text, option="--psk-id",
        metavar="NAME",
    )  # fmt: skip
    certificate: Path | None = setting(
        None, "our certificate for MIKEY and its chain, instead of a pre-shared key", read.path
    )
    private_key: Path | None = setting(None, "its private key (RSA)", read.path)
    kms_certificates: Path | None = setting(
        None, "certificates of the KMS, to encrypt envelope keys for it", read.path
    )
    signature: str = setting(
        "pkcs1", "RSA signature of our messages with a certificate: PKCS#1 v1.5, or PSS where the KMS has it",
        read.word(*SIGNATURES), words=SIGNATURES,
    )  # fmt: skip
    send_certificate: bool = setting(True, "send our certificate; no: the KMS keeps it", read.boolean)
    mode: str = setting(
        "full", "mode of the tickets for our calls (RFC 6043 section 4.1.1)", read.word(*MODES), words=MODES,
        option="--mode",
    )  # fmt: skip
    modes: Mapping[str, str] = setting(NOTHING, "mode for single contacts by URI", mode_by_contact)
    key_forking: bool = setting(True, "ask for keys of its own for each device that answers", read.boolean)
    ticket_keys: Mapping[str, str] = setting(
        NOTHING,
        "files of ticket protection keys, by the URI of the KMS or peer that shares each",
        text_by_party,
    )
    ticket_key_ids: Mapping[str, str] = setting(
        NOTHING, "their identifiers in hexadecimal, as `kms tpk share` tells them", text_by_party
    )
    ticket_lifetime: float = setting(
        3600.0, "life of a ticket that we make ourselves, seconds", read.seconds(10, 2592000)
    )
    ca_file: Path | None = setting(
        None, "certificates to verify the KMS by, instead of the system's", read.path, option="--kms-ca",
        metavar="FILE",
    )  # fmt: skip
    certificate_file: Path | None = setting(
        None, "our certificate for TLS, if the KMS asks for one", read.path
    )
    private_key_file: Path | None = setting(None, "its private key", read.path)
    plain_http: bool = setting(False, "allow http:// to a KMS that is not on this machine", read.boolean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tickets:
    """Which tickets are kept. They are sealed, by a key in the keyring of the system."""

    keep: bool = setting(False, "keep tickets for later calls, also after a restart", read.boolean)
    file: Path | None = setting(
        None, "file they are kept in (by default tickets.db where the phone's data is)", read.path
    )
    keep_resolved: bool = setting(
        False,
        "when called: do not ask the KMS again about a ticket that may be reused (it cannot refuse it then)",
        read.boolean,
    )
    contacts: tuple[str, ...] = setting(
        (),
        "who has a ticket ahead of calls: `sipmikey tickets fetch` gets it, and `answer`, `agent` and `phone`"
        " renew it before it expires",
        read.texts,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What a call must be."""

    policy: str = setting(
        "required", "protection by MIKEY-TICKET", read.word(*POLICIES), words=POLICIES, option="--security"
    )
    fallback: str = setting(
        "never", "which calls may be in clear under `preferred`", read.word(*FALLBACKS), words=FALLBACKS
    )
    alternative: str = setting(
        "none", "other keying of calls under `preferred`", read.word(*ALTERNATIVES), words=ALTERNATIVES
    )
    contacts: Mapping[str, str] = setting(
        NOTHING, "policy for single contacts by URI, instead of the general one", policy_by_contact
    )
    retarget: str = setting(
        "accept", "another identity that answers than the one dialled", read.word(*RETARGETS), words=RETARGETS
    )
    groups: tuple[str, ...] = setting(
        (), "groups by URI: members, as the KMS knows them, may answer whatever `security.retarget` says",
        read.texts,
    )  # fmt: skip
    forked: str = setting(
        "bind", "a call to several devices without keys of its own for each: the first has it, or it ends",
        read.word(*FORKED), words=FORKED,
    )  # fmt: skip
    transfer: bool = setting(False, "let calls be transferred, to whom the other side says", read.boolean)
    unprotected_in_conference: bool = setting(
        False, "mix calls in clear, or with keys that others can know, with calls that must be protected",
        read.boolean,
    )  # fmt: skip
    suites: tuple[str, ...] = setting(
        SUITES, "suites of RFC 6043 section 12.1, best first", read.words(*SUITES), words=SUITES,
        option="--suites", metavar="SUITE,...",
    )  # fmt: skip
    clock_skew: float = setting(300.0, "tolerated difference of clocks, seconds", read.seconds(0, 86400))


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """This device at its organisation's KMS. `sipmikey setup CODE` writes it."""

    device: str = setting("", "identifier of this device at the KMS", read.text)
    key: Secret | None = setting(
        None, "key that proves this device when it asks for its profile or a new key", read.secret,
        secret=True,
    )  # fmt: skip
