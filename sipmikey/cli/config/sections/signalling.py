"""The agent's identity, how it speaks SIP, and how its calls come through NAT."""

# ruff: noqa: RUF009 (what `setting` returns is a dataclass field)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sipmikey.cli.config.sections.values import ICE, NOTHING, STACKS, TRANSPORTS, header_fields
from sipmikey.mikey.secret import Secret
from sipmikey.settings import readers as read
from sipmikey.settings import setting


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
    headers: Mapping[str, str] = setting(NOTHING, "headers of your own in each INVITE", header_fields)
    register_headers: Mapping[str, str] = setting(
        NOTHING, "headers of your own in each REGISTER", header_fields
    )
    session_expires: float = setting(1800.0, "session timer (RFC 4028), seconds", read.seconds(90, 86400))
    name_servers: tuple[str, ...] = setting(
        (),
        "DNS servers for NAPTR and SRV records of domains, as IP addresses; system: those of this machine",
        read.texts,
    )
    outbound: bool = setting(
        False, "have the registrar reach us by the connection on which we register (RFC 5626); stack python",
        read.boolean,
    )  # fmt: skip
    gruu: bool = setting(
        False,
        "ask the registrar for a URI of this device, for Contact (RFC 5627); stack python",
        read.boolean,
    )
    instance: str = setting(
        "", "URN of this device for outbound and gruu, such as urn:uuid:...; empty: another at each start",
        read.text,
    )  # fmt: skip
    websocket_path: str = setting(
        "/", "path in the URL of a proxy that is reached by WebSocket (RFC 7118)", read.text
    )
    presence: tuple[str, ...] = setting(
        (),
        "SIP URIs of whom to watch (RFC 3856), told by the event presence.changed; stack python",
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
