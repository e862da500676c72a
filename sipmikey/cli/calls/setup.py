"""From a merged configuration to the agent and the KMS client it stands for."""

from __future__ import annotations

from pathlib import Path

from sipmikey.agent import (
    AgentConfig,
    Audio,
    CallPolicy,
    DigestCredentials,
    Fallback,
    KeyManagement,
    Retarget,
    SecurityMode,
    Sip,
    Timeouts,
    TlsFiles,
    Transport,
)
from sipmikey.agent.tickets.file import TicketFile
from sipmikey.call.policy import ForkRule
from sipmikey.cli.calls.credentials import (
    certificate_credential,
    from_keyring,
    pre_shared_key,
    shared_ticket_key,
)
from sipmikey.cli.config.load import read_secret_file
from sipmikey.cli.config.schema import Configuration
from sipmikey.cli.config.sections.media import Media
from sipmikey.kms.client import ClientTls, HttpKmsClient
from sipmikey.media.codecs.known import codecs_here
from sipmikey.media.voice.settings import JitterSettings
from sipmikey.media.wav import read_wav
from sipmikey.mikey.errors import LocalError
from sipmikey.nat.servers import NatSettings
from sipmikey.sealed.vault import Vault, data_folder, system_keyring
from sipmikey.settings import ConfigurationError
from sipmikey.sound.remembered_devices import remembered
from sipmikey.sound.settings import Role, SoundSettings
from sipmikey.ticket.identity import canonical
from sipmikey.ticket.mode import Mode

RESOLV_CONF = Path("/etc/resolv.conf")

_NATIVE_CODECS = ("G722", "PCMA", "PCMU")

TICKETS = "tickets.db"
"""Name of the file of kept tickets, and of its key in the keyring."""


def agent_config(configuration: Configuration) -> AgentConfig:
    """Return what the agent is made from. Raises ConfigurationError naming the setting that is missing."""
    if not configuration.identity.uri:
        raise ConfigurationError("no identity: set identity.uri, SIPMIKEY_IDENTITY_URI or --identity")
    sip = _sip(configuration)
    return AgentConfig(
        identity=configuration.identity.uri,
        display_name=configuration.identity.display_name,
        keys=_key_management(configuration),
        policy=_policy(configuration),
        sip=sip,
        nat=nat_settings(configuration),
        audio=_audio(configuration, in_python=sip.in_python),
        timeouts=_timeouts(configuration),
        calls=configuration.sip.calls,
    )


def kms_client(configuration: Configuration) -> HttpKmsClient | None:
    """Return a client for the configured KMS, or None when there is none."""
    kms = configuration.kms
    if not kms.url:
        return None
    return HttpKmsClient(
        kms.url,
        by_identity=kms.others,
        tls=ClientTls(
            ca_file=kms.ca_file, certificate=kms.certificate_file, private_key=kms.private_key_file
        ),
        timeout_s=configuration.timeouts.kms,
        connect_timeout_s=min(3.0, configuration.timeouts.kms),
        allow_plain_http=kms.plain_http,
    )


def ticket_file(configuration: Configuration, config: AgentConfig) -> TicketFile | None:
    """Return the file in which *config*'s agent keeps tickets, None where it keeps none."""
    if not configuration.tickets.keep or config.keys is None:
        return None
    folder = data_folder()
    return TicketFile(
        configuration.tickets.file or folder / TICKETS,
        Vault(folder, system_keyring()).key(TICKETS),
        identity=config.identity,
        keys=config.keys,
    )


def _key_management(configuration: Configuration) -> KeyManagement | None:
    kms = configuration.kms
    needs_kms = any(Mode(word).made_by_kms for word in (kms.mode, *kms.modes.values()))
    if not kms.url and needs_kms:
        if configuration.security.policy == "required":
            raise ConfigurationError(
                "security.policy is required and there is no KMS: set kms.url, kms.identity and kms.psk_file"
            )
        return None
    if kms.url and not kms.identity:
        raise ConfigurationError("kms.url is set and kms.identity is not: the KMS must be known by name")
    certificate = certificate_credential(kms)
    return KeyManagement(
        kms=kms.identity,
        psk=None if certificate is not None or not kms.url else pre_shared_key(kms),
        psk_id=kms.psk_id.encode() if kms.psk_id else None,
        certificate=certificate,
        mode=Mode(kms.mode),
        modes={canonical(uri): Mode(word) for uri, word in kms.modes.items()},
        key_forking=kms.key_forking,
        ticket_keys=tuple(shared_ticket_key(kms, owner) for owner in kms.ticket_keys),
        ticket_lifetime_s=kms.ticket_lifetime,
        suites=configuration.security.suites,
        clock_skew_s=configuration.security.clock_skew,
        keep_resolved=configuration.tickets.keep_resolved,
        others=frozenset(kms.others),
        contacts=tuple(dict.fromkeys(map(canonical, configuration.tickets.contacts))),
    )


def _policy(configuration: Configuration) -> CallPolicy:
    security = configuration.security
    return CallPolicy(
        security=SecurityMode(security.policy),
        fallback=Fallback(security.fallback),
        alternative=security.alternative,
        transfer=security.transfer,
        unprotected_in_conference=security.unprotected_in_conference,
        contacts={uri: SecurityMode(word) for uri, word in security.contacts.items()},
        retarget=Retarget(security.retarget),
        groups=frozenset(map(canonical, security.groups)),
        forked=ForkRule(security.forked),
    )


def _sip(configuration: Configuration) -> Sip:
    sip = configuration.sip
    host, _, port = sip.listen.rpartition(":")
    return Sip(
        stack=sip.stack,
        bind=host.strip("[]"),
        port=int(port),
        transports=tuple(Transport(word) for word in sip.transports),
        prefer=Transport(sip.prefer) if sip.prefer else None,
        public_address=sip.public_address.strip("[]") or None,
        registrar=sip.registrar or None,
        registration_expires_s=round(sip.registration_expires),
        proxy=sip.proxy or None,
        credentials=_digest(configuration),
        trusted_proxies=frozenset(sip.trusted_proxies),
        tls=TlsFiles(
            ca_file=sip.tls_ca_file,
            certificate_file=sip.tls_certificate_file,
            private_key_file=sip.tls_private_key_file,
        ),
        session_expires_s=round(sip.session_expires),
        headers=dict(sip.headers),
        register_headers=dict(sip.register_headers),
        redirects=sip.redirects,
        preconditions=sip.preconditions,
        outbound=sip.outbound,
        gruu=sip.gruu,
        instance=sip.instance,
        websocket_path=sip.websocket_path,
        presence=sip.presence,
        calls_per_second=sip.calls_per_second,
        name_servers=_name_servers(sip.name_servers),
    )


def _name_servers(configured: tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses configured, with the system's own for the word ``system``."""
    found: list[str] = []
    for server in configured:
        if server != "system":
            found.append(server)
            continue
        try:
            lines = RESOLV_CONF.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise ConfigurationError(f"sip.name_servers: {RESOLV_CONF}: {error.strerror}") from None
        words = (line.split() for line in lines)
        found += [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return tuple(found)


def _digest(configuration: Configuration) -> DigestCredentials | None:
    credentials = configuration.credentials
    password = None
    if credentials.password is not None:
        password = from_keyring(credentials.password, "credentials.password")
    if credentials.password_file is not None:
        password = read_secret_file(credentials.password_file, "credentials.password_file")
    if password is None:
        if credentials.username:
            raise ConfigurationError(
                "credentials.username is set and there is no password: set credentials.password_file"
            )
        return None
    user = configuration.identity.uri.partition(":")[2].partition("@")[0]
    return DigestCredentials(
        username=credentials.username or user, password=password, realm=credentials.realm
    )


def _audio(configuration: Configuration, *, in_python: bool) -> Audio:
    """Return the sound settings. *in_python*: whether the stack in Python runs the calls."""
    media = configuration.media
    native = media.engine == "native" and not in_python
    if media.play is not None:
        try:
            read_wav(media.play)
        except LocalError as error:
            raise ConfigurationError(f"media.play: {error}") from None
    if media.record is not None and not media.record.parent.is_dir():
        raise ConfigurationError(f"media.record: {media.record.parent}: no such directory")
    if media.record is not None and media.record.exists():
        if not media.record.is_file():
            raise ConfigurationError(f"media.record: {media.record}: not a file that can be written over")
        if media.play is not None and media.record.samefile(media.play):
            raise ConfigurationError(f"media.record: {media.record} is what media.play plays")
    return Audio(
        device=media.device,
        play=media.play,
        record=media.record,
        repeat=media.repeat,
        streams=media.streams,
        codecs=media.codecs or (_NATIVE_CODECS if native else codecs_here()),
        rtp_port=media.rtp_port,
        engine=media.engine,
        sound=_sound(media),
        tones=media.tones,
        echo=media.echo,
        jitter=JitterSettings(least_ms=media.jitter_least, most_ms=media.jitter_most),
    )


def nat_settings(configuration: Configuration) -> NatSettings:
    """Return the servers that help through NAT. Raises ``ConfigurationError``."""
    nat = configuration.nat
    secret = None
    if nat.turn_secret_file is not None:
        secret = read_secret_file(nat.turn_secret_file, "nat.turn_secret_file")
    return NatSettings(
        stun=nat.stun,
        turn=nat.turn,
        turn_username=nat.turn_username,
        turn_password_file=nat.turn_password_file,
        turn_secret=secret,
        ice={"auto": None, "on": True, "off": False}[nat.ice],
        rtcp_mux=nat.rtcp_mux,
    )


def _sound(media: Media) -> SoundSettings:
    """Return the devices configured; those that are not configured are the ones remembered."""
    kept = remembered()
    return SoundSettings(
        input=media.input or kept.get(Role.INPUT, ""),
        output=media.output or kept.get(Role.OUTPUT, ""),
        ringer=media.ringer or kept.get(Role.RINGER, ""),
        input_db=media.input_volume,
        output_db=media.output_volume,
        gate_db=media.noise_gate or None,
        echo_tail_ms=media.echo_tail,
    )


def _timeouts(configuration: Configuration) -> Timeouts:
    timeouts = configuration.timeouts
    return Timeouts(
        kms=timeouts.kms,
        setup=timeouts.setup,
        register=timeouts.register,
        media=timeouts.media,
        silence=timeouts.silence,
        gone=timeouts.gone,
        decision=timeouts.decision,
    )
