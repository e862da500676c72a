"""What can be configured: one frozen dataclass a section, each field with its own description and check.

The same table makes the TOML keys, the `SIPMIKEY_*` variables, the command-line options, the error texts and
the reference in docs/configuration.md, so that they cannot disagree.
"""

# ruff: noqa: RUF009 (what `setting` returns is a dataclass field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sipmikey.mikey.secret import Secret
from sipmikey.settings import Section, setting
from sipmikey.settings import readers as read


def _urls(value: object) -> Mapping[str, str]:
    identity, url = read.uri("sip", "sips", "kms"), read.uri("https", "http")
    return MappingProxyType({identity(name): url(text) for name, text in read.pairs(value).items()})


def _contacts(value: object) -> Mapping[str, str]:
    contact, policy = read.uri("sip", "sips", "tel"), read.word(*POLICIES)
    return MappingProxyType({contact(name): policy(word) for name, word in read.pairs(value).items()})


def _modes(value: object) -> Mapping[str, str]:
    contact, mode = read.uri("sip", "sips", "tel"), read.word(*MODES)
    return MappingProxyType({contact(name): mode(word) for name, word in read.pairs(value).items()})


def _by_party(value: object) -> Mapping[str, str]:
    party = read.uri("sip", "sips", "kms", "tel")
    return MappingProxyType({party(name): read.text(text) for name, text in read.pairs(value).items()})


def _by_domain(value: object) -> Mapping[str, str]:
    url = read.uri("https", "http")
    return MappingProxyType({read.text(name).lower(): url(text) for name, text in read.pairs(value).items()})


def _headers(value: object) -> Mapping[str, str]:
    return MappingProxyType({read.text(name): read.text(text) for name, text in read.pairs(value).items()})


NOTHING: Mapping[str, str] = MappingProxyType({})
POLICIES = ("required", "preferred", "off")
FALLBACKS = ("never", "incoming", "both")
ALTERNATIVES = ("none", "sdes", "sdes-without-tls")
FORKED = ("bind", "refuse")
RETARGETS = ("accept", "ask", "refuse")
ENGINES = ("native", "python")
SUITES = ("256", "128")
SIGNATURES = ("pkcs1", "pss")
MODES = ("full", "kerberos", "otway-rees", "preshared")
TRANSPORTS = ("udp", "tcp", "tls")
STACKS = ("pjsua2", "python")
ICE = ("auto", "on", "off")
DEVICES = ("default", "null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity of this agent."""

    uri: str = setting("", "our SIP identity", read.uri("sip", "sips"), option="--identity", metavar="URI")
    display_name: str = setting(
        "", "name shown to the other side", read.text, option="--display-name", metavar="NAME"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the SIP registrar or proxy asks for (digest). The key shared with the KMS is in `[kms]`."""

    username: str = setting(
        "", "digest user name (by default the user part of the identity)", read.text, option="--username",
        metavar="NAME",
    )  # fmt: skip
    realm: str = setting("*", "digest realm these credentials are for; * is any", read.text)
    password: Secret | None = setting(None, "digest password; better in a file", read.secret, secret=True)
    password_file: Path | None = setting(
        None, "file that holds the digest password", read.path, option="--password-file", metavar="FILE"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sip:
    """Signalling."""

    listen: str = setting(
        "0.0.0.0:0", "address and port of all transports; port 0: any", read.endpoint, option="--listen",
        metavar="HOST:PORT",
    )  # fmt: skip
    stack: str = setting(
        "", "what speaks SIP: pjsua2, or Python (docs/stacks.md); by default pjsua2 where it is installed",
        read.word(*STACKS), words=STACKS, option="--stack",
    )  # fmt: skip
    transports: tuple[str, ...] = setting(
        ("udp", "tcp"), "transports to open", read.words(*TRANSPORTS), words=TRANSPORTS,
        option="--transports", metavar="WORD,...",
    )  # fmt: skip
    prefer: str = setting(
        "", "transport for our requests (by default UDP; TCP for what is too large for it, and over IPv6)",
        read.word(*TRANSPORTS), words=TRANSPORTS,
    )  # fmt: skip
    public_address: str = setting("", "address to give to others, where it is not our own", read.text)
    registrar: str = setting(
        "", "URI of the registrar; leave it out to call without registering", read.uri("sip", "sips"),
        option="--registrar", metavar="URI",
    )  # fmt: skip
    registration_expires: float = setting(300.0, "life of a registration, seconds", read.seconds(10, 86400))
    proxy: str = setting("", "outbound proxy", read.uri("sip", "sips"), option="--proxy", metavar="URI")
    trusted_proxies: tuple[str, ...] = setting(
        (), "addresses whose P-Asserted-Identity is believed", read.texts
    )
    tls_ca_file: Path | None = setting(None, "certificates to verify SIP peers by", read.path)
    tls_certificate_file: Path | None = setting(None, "our certificate for SIP over TLS", read.path)
    tls_private_key_file: Path | None = setting(None, "its private key", read.path)
    headers: Mapping[str, str] = setting(NOTHING, "headers of your own in each INVITE", _headers)
    register_headers: Mapping[str, str] = setting(NOTHING, "headers of your own in each REGISTER", _headers)
    session_expires: float = setting(1800.0, "session timer (RFC 4028), seconds", read.seconds(90, 86400))
    name_servers: tuple[str, ...] = setting(
        (),
        "DNS servers for NAPTR and SRV records of domains, as IP addresses; system: those of this machine",
        read.texts,
    )
    preconditions: bool = setting(
        False, "state and obey preconditions (RFC 3312), as in IMS; without, calls that require them get 420",
        read.boolean,
    )  # fmt: skip
    redirects: int = setting(5, "redirections (3xx) a call follows at most; 0: none", read.count(0, 32))
    calls: int = setting(
        4, "calls at a time; with pjsua2 more than 4 need processes beside", read.count(1, 1000)
    )
    calls_per_second: float = setting(
        20.0, "new calls looked at in all, half as many of one source", read.number(0.1, 1000, "a second")
    )


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
        NOTHING, "URLs of further KMSs by their identity, for tickets of other domains", _urls
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
    modes: Mapping[str, str] = setting(NOTHING, "mode for single contacts by URI", _modes)
    key_forking: bool = setting(True, "ask for keys of its own for each device that answers", read.boolean)
    ticket_keys: Mapping[str, str] = setting(
        NOTHING,
        "files of ticket protection keys, by the URI of the KMS or peer that shares each",
        _by_party,
    )
    ticket_key_ids: Mapping[str, str] = setting(
        NOTHING, "their identifiers in hexadecimal, as `kms tpk share` tells them", _by_party
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
        NOTHING, "policy for single contacts by URI, instead of the general one", _contacts
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
        False, "mix calls in clear, or keyed by SDES, with calls that policy demands protection for",
        read.boolean,
    )  # fmt: skip
    suites: tuple[str, ...] = setting(
        SUITES, "suites of RFC 6043 section 12.1, best first", read.words(*SUITES), words=SUITES,
        option="--suites", metavar="SUITE,...",
    )  # fmt: skip
    clock_skew: float = setting(300.0, "tolerated difference of clocks, seconds", read.seconds(0, 86400))


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Sound."""

    device: str = setting("default", "sound device", read.word(*DEVICES), words=DEVICES)
    engine: str = setting(
        "native",
        "what runs the media: pjmedia, or Python (suite 128)",
        read.word(*ENGINES),
        words=ENGINES,
    )
    echo: bool = setting(False, "send back what is heard, as an echo service does", read.boolean)
    play: Path | None = setting(None, "WAV file to send", read.path, option="--play", metavar="WAV")
    repeat: bool = setting(False, "play it over and over", read.boolean)
    record: Path | None = setting(
        None, "WAV file to write what is heard to", read.path, option="--record", metavar="WAV"
    )
    streams: int = setting(1, "audio streams to offer", read.count(1, 4))
    codecs: tuple[str, ...] = setting(
        (),
        "codecs, best first (by default G722, opus in the Python engine where it is installed, PCMA, PCMU)",
        read.texts,
    )
    rtp_port: int = setting(0, "first RTP port; 0: any", read.count(0, 65534))
    jitter_least: int = setting(
        50, "shortest time that what arrives waits before it is heard, milliseconds", read.count(40, 1000)
    )
    jitter_most: int = setting(200, "longest such time, milliseconds", read.count(40, 1000))
    input: str = setting(
        "",
        "microphone: a device's name or a part of it (by default what `sipmikey devices` remembers, or the"
        " system's)",
        read.text,
        option="--input",
        metavar="NAME",
    )
    output: str = setting("", "speaker, likewise", read.text, option="--output", metavar="NAME")
    ringer: str = setting("", "device that rings, likewise", read.text, option="--ringer", metavar="NAME")
    input_volume: float = setting(0.0, "volume of the microphone, decibels", read.number(-60, 20, "decibels"))
    output_volume: float = setting(0.0, "volume of the speaker, decibels", read.number(-60, 20, "decibels"))
    noise_gate: float = setting(
        0.0,
        "turn the microphone down below this level, decibels (such as -50); 0: no gate",
        read.number(-96, 0, "decibels"),
    )
    echo_tail: int = setting(
        0,
        "longest echo that the canceller takes out, milliseconds (such as 200); 0: it is off",
        read.count(0, 500),
    )
    tones: bool = setting(True, "ring, ring-back and call-waiting tones", read.boolean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """Calls through NAT."""

    stun: str = setting(
        "", "STUN server on UDP (with TURN, that is the STUN server as well)", read.text, option="--stun",
        metavar="HOST[:PORT]",
    )  # fmt: skip
    turn: str = setting(
        "", "TURN server on UDP, which relays media where no direct path works", read.text, option="--turn",
        metavar="HOST[:PORT]",
    )  # fmt: skip
    turn_username: str = setting("", "user name at the TURN server", read.text)
    turn_password_file: Path | None = setting(
        None, "file with its password, or with NAME:PASSWORD; read again each time", read.path
    )
    turn_secret_file: Path | None = setting(
        None, "file with the secret shared with the TURN server, for credentials with a time limit", read.path
    )
    ice: str = setting(
        "auto", "find the best way for the media: auto is where a server is set", read.word(*ICE), words=ICE
    )
    rtcp_mux: bool = setting(False, "RTP and RTCP on one port; both sides must have it", read.boolean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """Messages that are left, by us and for us."""

    url: str = setting(
        "", "URL of our mailbox, and of every domain that `mailbox.domains` does not name",
        read.uri("https", "http"), option="--mailbox", metavar="URL",
    )  # fmt: skip
    domains: Mapping[str, str] = setting(NOTHING, "mailboxes of other domains: URLs by domain", _by_domain)
    token_file: Path | None = setting(
        None, "file with the token that opens our box", read.path, option="--token-file", metavar="FILE"
    )
    boxes: Mapping[str, str] = setting(
        NOTHING, "boxes of groups that we are in: files with their tokens, by the group's URI (`--box`)",
        _by_party,
    )  # fmt: skip
    ca_file: Path | None = setting(
        None, "certificates to verify the mailbox by, instead of the system's", read.path
    )
    certificate_file: Path | None = setting(None, "our certificate for TLS, if that opens our box", read.path)
    private_key_file: Path | None = setting(None, "its private key", read.path)
    plain_http: bool = setting(False, "allow http:// to a mailbox that is not on this machine", read.boolean)
    valid_days: float = setting(
        7.0, "days in which a message of ours can be heard, if the KMS allows as many",
        read.number(0.001, 3650, "days"),
    )  # fmt: skip
    longest: float = setting(120.0, "longest message that we leave, seconds", read.seconds(1, 600))


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """This device at its organisation's KMS. `sipmikey setup CODE` writes it."""

    device: str = setting("", "identifier of this device at the KMS", read.text)
    key: Secret | None = setting(
        None, "key that proves this device when it asks for its profile or a new key", read.secret,
        secret=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds."""

    kms: float = setting(
        5.0,
        "longest wait for an answer from the KMS",
        read.seconds(0.01, 600),
        option="--kms-timeout",
        metavar="SECONDS",
    )
    setup: float = setting(
        60.0,
        "longest wait for the call to be answered",
        read.seconds(0.1, 3600),
        option="--ring-timeout",
        metavar="SECONDS",
    )
    register: float = setting(10.0, "for the registrar", read.seconds(0.1, 600))
    mailbox: float = setting(20.0, "for an answer of the mailbox", read.seconds(0.1, 600))
    media: float = setting(5.0, "for the first packet that proves the keys", read.seconds(0.1, 600))
    silence: float = setting(
        5.0, "without a packet that verifies, until proven media is told to be stalled", read.seconds(1, 600)
    )
    gone: float = setting(
        60.0, "of such silence, until the peer is taken to be gone and the call ends; 0: never",
        read.seconds(0, 86400),
    )  # fmt: skip
    decision: float = setting(
        30.0, "for the user to accept another identity (`security.retarget`)", read.seconds(0.1, 600)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressBook:
    """Names of people, read from a CardDAV server by the phone."""

    url: str = setting(
        "", "CardDAV address book, or its server; the phone reads it", read.uri("https", "http")
    )
    username: str = setting("", "user name there", read.text)
    password: Secret | None = setting(None, "password there; better in a file", read.secret, secret=True)
    password_file: Path | None = setting(None, "file that holds the password", read.path)
    ca_file: Path | None = setting(
        None, "certificates to verify the server by, instead of the system's", read.path
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All of it, merged and checked."""

    identity: Identity = Identity()
    credentials: Credentials = Credentials()
    sip: Sip = Sip()
    kms: Kms = Kms()
    tickets: Tickets = Tickets()
    security: Security = Security()
    media: Media = Media()
    nat: Nat = Nat()
    mailbox: Mailbox = Mailbox()
    address_book: AddressBook = AddressBook()
    enrolment: Enrolment = Enrolment()
    timeouts: Timeouts = Timeouts()


SECTIONS: Mapping[str, Section] = {
    "identity": Identity,
    "credentials": Credentials,
    "sip": Sip,
    "kms": Kms,
    "tickets": Tickets,
    "security": Security,
    "media": Media,
    "nat": Nat,
    "mailbox": Mailbox,
    "address_book": AddressBook,
    "enrolment": Enrolment,
    "timeouts": Timeouts,
}
