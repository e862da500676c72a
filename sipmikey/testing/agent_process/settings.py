"""From the settings of an agent, as JSON, to its configuration."""

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
from sipmikey.mikey.secret import Secret
from sipmikey.nat.servers import NatSettings
from sipmikey.pem_file import read_certificates, read_rsa_key
from sipmikey.sound.settings import SoundSettings
from sipmikey.testing.agent_process.lines import Fields
from sipmikey.ticket.credentials import CertificateCredential, TicketProtectionKey
from sipmikey.ticket.mode import Mode
from sipmikey.ticket.shared_keys import SharedTicketKey


def agent_config(settings: Fields) -> AgentConfig:
    """Return the agent's configuration.

    The sections ``keys``, ``policy``, ``sip``, ``nat``, ``audio`` and ``timeouts`` have the fields of
    `KeyManagement`, `CallPolicy`, `Sip`, `NatSettings`, `Audio` and `Timeouts` as JSON; ``psk`` is in
    hexadecimal. ``digest`` has ``username`` and ``password``. ``tls`` has the files of `TlsFiles`, or is a
    file of CA certificates. ``isolated``: whether pjsua2 has a process of its own; ``calls``: the most.
    """
    return AgentConfig(
        identity=settings["identity"],
        keys=_keys(settings.get("keys")),
        policy=_policy(settings.get("policy", {})),
        sip=_sip(settings),
        nat=_nat(settings.get("nat", {})),
        audio=_audio(settings.get("audio", {})),
        timeouts=Timeouts(**settings.get("timeouts", {})),
        isolated=settings.get("isolated", True),
        calls=settings.get("calls", 4),
        log_level=settings.get("log_level", 0),
        log_file=Path(settings["log_file"]) if settings.get("log_file") else None,
    )


def _keys(section: Fields | None) -> KeyManagement | None:
    if section is None:
        return None
    converted: Fields = {"suites": tuple(section.get("suites", ("256", "128")))}
    if section.get("psk"):
        converted |= {"psk": Secret(bytes.fromhex(section["psk"])), "psk_id": section["psk_id"].encode()}
    if "mode" in section:
        converted["mode"] = Mode(section["mode"])
    if "modes" in section:
        converted["modes"] = {uri: Mode(word) for uri, word in section["modes"].items()}
    if "ticket_keys" in section:
        converted["ticket_keys"] = tuple(map(_ticket_key, section["ticket_keys"]))
    if "certificate" in section:
        converted |= {"psk": None, "psk_id": None}
        converted["certificate"] = _certificate(section["certificate"])
    return KeyManagement(**{**section, **converted})


def _ticket_key(section: Fields) -> SharedTicketKey:
    """``owner``: whom the key is shared with; ``key`` and ``key_id`` in hexadecimal."""
    key, key_id = Secret(bytes.fromhex(section["key"])), bytes.fromhex(section.get("key_id", ""))
    return SharedTicketKey(owner=section["owner"], tpk=TicketProtectionKey(key=key, key_id=key_id or None))


def _certificate(section: Fields) -> CertificateCredential:
    """``certificate``, ``private_key``, ``kms_certificates``: PEM files."""
    paths = {name: Path(file) for name, file in section.items()}
    return CertificateCredential(
        private_key=read_rsa_key(paths["private_key"]),
        certificates=read_certificates(paths["certificate"]),
        kms_certificates=read_certificates(paths["kms_certificates"]),
    )


def ticket_file(settings: Fields, config: AgentConfig) -> TicketFile | None:
    """``ticket_file``: where tickets are kept, sealed with a key that everybody knows."""
    if "ticket_file" not in settings or config.keys is None:
        return None
    path, key = Path(settings["ticket_file"]), Secret(bytes(range(32)))
    return TicketFile(path, key, identity=config.identity, keys=config.keys)


def _policy(section: Fields) -> CallPolicy:
    return CallPolicy(
        security=SecurityMode(section.get("security", "required")),
        fallback=Fallback(section.get("fallback", "never")),
        alternative=section.get("alternative", "none"),
        contacts={uri: SecurityMode(word) for uri, word in section.get("contacts", {}).items()},
        retarget=Retarget(section.get("retarget", "accept")),
        forked=ForkRule(section.get("forked", ForkRule.BIND)),
        groups=frozenset(section.get("groups", ())),
        transfer=section.get("transfer", False),
        unprotected_in_conference=section.get("unprotected_in_conference", False),
    )


def _sip(settings: Fields) -> Sip:
    section = dict(settings.get("sip", {}))
    if "transports" in section:
        section["transports"] = tuple(Transport(word) for word in section["transports"])
    if "trusted_proxies" in section:
        section["trusted_proxies"] = frozenset(section["trusted_proxies"])
    if section.get("prefer"):
        section["prefer"] = Transport(section["prefer"])
    if digest := settings.get("digest"):
        password = Secret(digest["password"].encode())
        section["credentials"] = DigestCredentials(username=digest["username"], password=password)
    if tls := settings.get("tls"):
        files: Fields = tls if isinstance(tls, dict) else {"ca_file": tls}
        paths: Fields = {name: Path(file) for name, file in files.items()}
        section["tls"] = TlsFiles(**paths)
    return Sip(**section)


def _nat(section: Fields) -> NatSettings:
    secret = {"turn_secret": Secret(section["turn_secret"].encode())} if "turn_secret" in section else {}
    return NatSettings(**{**section, **secret})


def _audio(section: Fields) -> Audio:
    paths = {name: Path(section[name]) for name in ("play", "record") if section.get(name)}
    codecs = {"codecs": tuple(section["codecs"])} if "codecs" in section else {}
    sound = {"sound": SoundSettings(**section["sound"])} if "sound" in section else {}
    return Audio(**{**section, **paths, **codecs, **sound})
