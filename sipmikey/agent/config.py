"""The configuration of an agent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from sipmikey.call.policy import CallPolicy
from sipmikey.media.codecs.known import codec_named, codecs_here
from sipmikey.media.voice.settings import JitterSettings
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.secret import Secret
from sipmikey.nat.servers import NatSettings
from sipmikey.sip.uri import fault_of
from sipmikey.sound.settings import SoundSettings
from sipmikey.ticket.credentials import CertificateCredential, ClientCredential, PreSharedKey
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.mode import Mode

if TYPE_CHECKING:  # a stack process never has them
    from sipmikey.ticket.shared_keys import SharedTicketKey

ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})
"""Values of ``sip.bind`` that mean all addresses of the machine."""

MAX_CALLS = 4
"""Calls one process can hold: the limit compiled into the pjsua2 wheel."""


MOST_CALLS = 100
"""The most calls that an agent was tested with."""

MOST_CALLS_IN_PYTHON = 1000
"""The same, for an agent whose SIP stack is in Python: a process holds all of them."""


_URN = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]+:[A-Za-z0-9:._-]+", re.ASCII)
_PATH = re.compile(r"/[!$&'()*+,;=:@%/?A-Za-z0-9._~-]*", re.ASCII)


class Transport(StrEnum):
    """SIP transports. An INVITE too large for UDP goes over TCP when both exist (RFC 3261 section 18.1.1).

    WS and WSS (RFC 7118) lead to a proxy; nobody can open a WebSocket to an agent.
    """

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"


WEBSOCKETS = frozenset({Transport.WS, Transport.WSS})


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestCredentials:
    """What the registrar or proxy asks for (RFC 3261 section 22)."""

    username: str
    password: Secret
    realm: str = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files for SIP over TLS. ``verify``: check the certificate of the other side."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sip:
    """Signalling.

    ``bind``: local address (IPv4 or IPv6) of all transports; ``port`` 0: chosen by the system (TLS takes port
    + 1 when a port is given). ``prefer``: transport for our requests where no URI names one; None: UDP, or
    TCP for large requests and over IPv6. ``registrar``, ``proxy``: SIP URIs. ``trusted_proxies``: addresses
    whose P-Asserted-Identity is believed. ``registration_retry_s``: how long to wait before the next attempt
    when the registrar is lost. ``credentials``: for digest challenges. ``headers``: added to each INVITE;
    ``register_headers``: in each REGISTER. ``redirects``: how many INVITEs of one call may follow
    redirections (3xx), 0 for none. ``name_servers``: IP addresses of DNS servers that are asked for NAPTR,
    SRV and address records of SIP domains (RFC 3263); none: the system resolves host names, and NAPTR and SRV
    records are not looked up. ``calls_per_second``: new calls that are judged, from all sources; half as many
    from one source; twice as many in a burst after a silence. The rest is answered with 503. ``stack``:
    ``pjsua2`` or ``python`` (`sipmikey.agent.asyncio_sip`); empty: pjsua2 where it is installed.
    ``preconditions``: take calls that require those of RFC 3312, and state them in ours; without, a call that
    requires them is refused with 420. ``outbound``: ask the registrar to reach us by the connection on which
    we register (RFC 5626). ``gruu``: ask it for a URI of this device, and have that as Contact of calls by
    its proxy (RFC 5627), which must know what to do with it. ``instance``: URN of this device for both;
    empty: another one at each start. ``websocket_path``: of the proxy's URL. ``presence``: identities to
    watch from the start (RFC 3856). Only the stack in Python has these five.
    """

    bind: str = "0.0.0.0"
    port: int = 0
    transports: tuple[Transport, ...] = (Transport.UDP, Transport.TCP)
    prefer: Transport | None = None
    public_address: str | None = None
    registrar: str | None = None
    registration_expires_s: int = 300
    registration_retry_s: int = 30
    proxy: str | None = None
    credentials: DigestCredentials | None = None
    trusted_proxies: frozenset[str] = frozenset()
    tls: TlsFiles = TlsFiles()
    keepalive_s: int = 15
    session_expires_s: int = 1800
    headers: Mapping[str, str] = field(default_factory=dict)
    register_headers: Mapping[str, str] = field(default_factory=dict)
    redirects: int = 5
    name_servers: tuple[str, ...] = ()
    calls_per_second: float = 20.0
    preconditions: bool = False
    stack: str = ""
    outbound: bool = False
    gruu: bool = False
    instance: str = ""
    websocket_path: str = "/"
    presence: tuple[str, ...] = ()

    @property
    def in_python(self) -> bool:
        """True where SIP and media run in Python, without pjsua2."""
        return self.stack == "python" or (not self.stack and find_spec("pjsua2") is None)

    @property
    def ipv6(self) -> bool:
        """True where the agent is on IPv6: its SIP and its media have one IP version."""
        return ":" in self.bind

    @property
    def named_transport(self) -> Transport | None:
        """The transport to name in URIs we send to; None where the stack may choose.

        pjsip switches to TCP for requests over 1300 octets (RFC 3261 section 18.1.1) on IPv4 only, and an
        INVITE with key management always is.
        """
        both = {Transport.UDP, Transport.TCP} <= set(self.transports)
        return Transport.TCP if self.prefer is None and self.ipv6 and both else self.prefer

    def check_target(self, uri: str, name: str) -> None:
        """Raise ``LocalError``, which names the setting *name*, where this agent cannot send to *uri*."""
        if fault := fault_of(uri):
            raise LocalError(f"{name}: {uri!r}: {fault}")
        if uri[:5].lower() == "sips:" and not {Transport.TLS, Transport.WSS} & set(self.transports):
            raise LocalError(f"{name}: {uri!r} needs TLS: add tls to sip.transports")

    def check_watched(self, identity: str, name: str) -> None:
        """Raise ``LocalError``, which names the setting *name*, where presence has no such identity."""
        if identity[:4].lower() != "sip:" and identity[:5].lower() != "sips:":
            raise LocalError(f"{name}: {identity!r} is not a SIP URI")
        self.check_target(identity, name)

    def __post_init__(self) -> None:
        for name, server in (("sip.registrar", self.registrar), ("sip.proxy", self.proxy)):
            if server:
                self.check_target(server, name)
        for identity in self.presence:
            self.check_watched(identity, "sip.presence")
        if self.redirects < 0:
            raise LocalError(f"sip.redirects: 0 or more, not {self.redirects}")
        for server in self.name_servers:
            try:
                ip_address(server)
            except ValueError:
                raise LocalError(f"sip.name_servers: {server!r} is not an IP address") from None
        if not self.calls_per_second > 0:
            raise LocalError(f"sip.calls_per_second: more than 0, not {self.calls_per_second}")
        if self.stack not in ("", "pjsua2", "python"):
            raise LocalError(f"sip.stack: unknown word {self.stack!r}; allowed: pjsua2, python")
        if not self.transports:
            raise LocalError("sip.transports: at least one of udp, tcp, tls is needed")
        if self.prefer is not None and self.prefer not in self.transports:
            raise LocalError(f"sip.prefer: {self.prefer} is not among the transports")
        if self.instance and _URN.fullmatch(self.instance) is None:
            raise LocalError(f"sip.instance: {self.instance!r} is not a URN such as urn:uuid:...")
        if _PATH.fullmatch(self.websocket_path) is None:
            raise LocalError(f"sip.websocket_path: {self.websocket_path!r} is not a path of a URL")
        if not self.in_python:
            wanted = {"sip.transports ws": bool(WEBSOCKETS & set(self.transports))}
            wanted |= {
                "sip.outbound": self.outbound,
                "sip.gruu": self.gruu,
                "sip.presence": bool(self.presence),
            }
            for name, on in wanted.items():
                if on:
                    raise LocalError(f"{name} needs sip.stack python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Sound. ``device``: ``null`` (no sound hardware) or ``default`` (the devices that ``sound`` names).
    ``play``: WAV file sent instead of the microphone, from the moment the media may flow; ``repeat``: over
    and over. ``record``: WAV file to which the sound received is written. ``streams``: audio m-lines offered.
    ``codecs``: names in order of preference (``G722``, ``opus``, ``PCMA``, ``PCMU``, ...), empty for the
    engine's own order. ``rtp_port``: first RTP port, 0 for any. ``engine``: ``native`` runs media in pjmedia,
    ``python`` in `sipmikey.media` (suite ``128``), which has Opus. ``tones``: ring, ring-back and
    call-waiting tones on the sound devices. ``echo``: send back what is heard. ``jitter``:
    how long packets may wait before they are heard."""

    device: str = "null"
    play: Path | None = None
    record: Path | None = None
    repeat: bool = False
    streams: int = 1
    codecs: tuple[str, ...] = ("PCMA", "PCMU")
    rtp_port: int = 0
    engine: str = "native"
    sound: SoundSettings = field(default_factory=SoundSettings)
    tones: bool = True
    echo: bool = False
    jitter: JitterSettings = field(default_factory=JitterSettings)

    @property
    def offered(self) -> tuple[str, ...]:
        """``codecs``, or the engine's where that is empty; () where only the stack knows them."""
        return self.codecs if self.codecs or self.engine == "native" else codecs_here()

    def __post_init__(self) -> None:
        if self.device not in ("null", "default"):
            raise LocalError(f"audio.device: unknown word {self.device!r}; allowed: null, default")
        if self.engine not in ("native", "python"):
            raise LocalError(f"audio.engine: unknown word {self.engine!r}; allowed: native, python")
        if not 1 <= self.streams <= MAX_CALLS:
            raise LocalError(f"audio.streams: 1 to {MAX_CALLS}, not {self.streams}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. ``kms``: for one answer of the KMS. ``setup``: from INVITE to final response. ``register``:
    for the registrar. ``media``: after establishment, for the first packet that proves the keys.
    ``decision``: for the user to say whether another identity will do (``Retarget.ASK``). ``silence``:
    without a packet that verifies, until a proven stream is told to be stalled. ``gone``: the same on every
    stream, until the peer is taken to be gone and the call ends; 0 for never."""

    kms: float = 5.0
    setup: float = 60.0
    register: float = 10.0
    media: float = 5.0
    decision: float = 30.0
    silence: float = 5.0
    gone: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyManagement:
    """The KMS that this agent uses, and the keys shared with it.

    ``kms``: the identity of the KMS (IDRkms), e.g. ``sip:kms@example.com``; empty without one. ``psk``: the
    pre-shared key. ``psk_id``: name of that key (IDRpsk data), None when the identity alone names it.
    ``certificate``: used at the KMS instead of a pre-shared key. ``mode``: of the tickets for our calls (RFC
    6043 section 4.1.1); ``modes``: for single contacts by canonical URI. ``key_forking``: ask for a ticket
    that gives each answering device its own keys. ``ticket_keys``: TPKs shared with the KMS or with a peer,
    for the modes that need them. ``ticket_lifetime_s``: of tickets made here. ``suites``: names of the suites
    of RFC 6043 section 12.1 to use, best first (``256``, ``128``); tickets are asked for with the first.
    ``clock_skew_s``: tolerated difference of clocks. ``reuse``: ask for tickets that may be used for several
    calls (flag J); the KMS may say no. ``keep_resolved``: do not ask the KMS again about such a ticket of a
    caller while it is valid: quicker, but the KMS can no longer refuse. ``others``: KMSs of other domains
    that this agent asks directly about their tickets. For all other tickets it asks its own KMS, which
    forwards the question (RFC 6043 section 10). ``contacts``: canonical URIs for which a ticket is fetched
    ahead of calls and renewed before it expires. ``present_psk``: asked for the pre-shared key as it is now,
    where it may be renewed while the agent runs; ``psk`` is the one at the start.
    """

    kms: str = ""
    psk: Secret | None = None
    psk_id: bytes | None = None
    certificate: CertificateCredential | None = None
    mode: Mode = Mode.FULL
    modes: Mapping[str, Mode] = field(default_factory=dict)
    key_forking: bool = True
    ticket_keys: tuple[SharedTicketKey, ...] = ()
    ticket_lifetime_s: float = 3600.0
    suites: tuple[str, ...] = ("256", "128")
    clock_skew_s: float = 300.0
    reuse: bool = True
    keep_resolved: bool = False
    others: frozenset[str] = frozenset()
    contacts: tuple[str, ...] = ()
    present_psk: Callable[[], PreSharedKey] | None = None

    def asked_about(self, kms: str | None) -> str | None:
        """Return the KMS to ask about a ticket of *kms* where that is not this agent's own, else None."""
        return kms if kms is not None and any(same_identity(kms, other) for other in self.others) else None

    def __post_init__(self) -> None:
        if self.psk is not None and self.certificate is not None:
            raise LocalError("kms: a pre-shared key or a certificate, not both")
        for who, mode in (("", self.mode), *self.modes.items()):
            self._check_mode(mode, f" for {who}" if who else "")
        if self.ticket_lifetime_s <= 0:
            raise LocalError(f"kms.ticket_lifetime: more than 0 seconds, not {self.ticket_lifetime_s:g}")

    def _check_mode(self, mode: Mode, where: str) -> None:
        if mode.made_by_kms and self.credential is None:
            raise LocalError(
                f"kms.mode {mode}{where} needs a KMS and a key or certificate for it: set kms.psk_file"
            )
        if mode is not Mode.OTWAY_REES:
            return
        from sipmikey.ticket.shared_keys import key_shared_with  # loads all that tickets need

        if key_shared_with(self.kms, self.ticket_keys) is None:
            raise LocalError(
                f"kms.mode {mode}{where} needs a ticket key shared with {self.kms or 'the KMS'}: get one with"
                " `sipmikey kms tpk share` and name it in kms.ticket_keys"
            )

    @property
    def credential(self) -> ClientCredential | None:
        """The credential that proves this agent's identity to the KMS; None without a KMS."""
        if self.present_psk is not None:
            return self.present_psk()
        if self.psk is not None:
            return PreSharedKey(key=self.psk, key_id=self.psk_id)
        return self.certificate

    def mode_for(self, called: str) -> Mode:
        """Return the mode of tickets for *called* (canonical URI)."""
        return self.modes.get(called, self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """The whole configuration. ``identity``: our SIP URI.

    ``keys`` None: no KMS (only security ``off`` can call then). ``isolated``: pjsua2 runs in a process of its
    own, which has no key but those of its calls, and whose death ends its calls only. False runs it in this
    process, to measure and to debug. ``calls``: how many there may be at a time. With pjsua2 a process holds
    four; more processes are started as they are needed, which takes UDP.
    """

    identity: str
    display_name: str = ""
    keys: KeyManagement | None = None
    policy: CallPolicy = field(default_factory=CallPolicy)
    sip: Sip = Sip()
    nat: NatSettings = field(default_factory=NatSettings)
    audio: Audio = Audio()
    timeouts: Timeouts = Timeouts()
    log_level: int = 0
    log_file: Path | None = None
    isolated: bool = True
    calls: int = MAX_CALLS

    def __post_init__(self) -> None:
        if self.policy.alternative != "none":
            # The process of the stack, which has a policy without an alternative, needs no keyings.
            from sipmikey.call.keying.permission import check_alternative

            check_alternative(self.policy.alternative, tuple(str(one) for one in self.sip.transports))
        most = MOST_CALLS_IN_PYTHON if self.sip.in_python else MOST_CALLS
        if not 1 <= self.calls <= most:
            raise LocalError(f"calls: 1 to {most}, not {self.calls}")
        if self.sip.in_python:
            object.__setattr__(self, "audio", replace(self.audio, engine="python"))
        elif self.calls > MAX_CALLS and (not self.isolated or Transport.UDP not in self.sip.transports):
            raise LocalError(
                f"more than {MAX_CALLS} calls need processes of their own (isolated) and SIP over UDP"
            )
        if self.audio.engine == "python":
            self._check_python_media()
        if self.nat.uses_ice and not self.sip.in_python and self.nat.stun_server is None:
            self._check_candidates()

    def _check_candidates(self) -> None:
        if not self.sip.bind.startswith("127.") and self.sip.bind != "::1":
            return
        raise LocalError(
            f"nat.ice is on, and {self.sip.bind} is the only address of sip.listen: ICE has no candidates on"
            " a loopback address (RFC 8445 section 5.1.1.1). Let sip.listen name another address, or set"
            " nat.ice to off"
        )

    def _check_python_media(self) -> None:
        if not self.sip.in_python and (self.nat.uses_ice or self.nat.rtcp_mux):
            raise LocalError(
                "audio.engine python has no ICE and no rtcp-mux with sip.stack pjsua2: leave the settings"
                " of nat empty, or take sip.stack python"
            )
        for name in self.audio.codecs:
            try:
                codec_named(name)
            except LocalError as error:
                raise LocalError(f"media.codecs: {error}") from None
        if not self.sip.in_python and self.sip.bind in ANY_ADDRESS and not self.sip.public_address:
            raise LocalError("audio.engine python needs an address to announce: set sip.bind")
