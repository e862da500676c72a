"""Words and tables that settings have in common: what is allowed, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sipmikey.call.keying.known import alternatives
from sipmikey.settings import readers as read

NOTHING: Mapping[str, str] = MappingProxyType({})
POLICIES = ("required", "preferred", "off")
FALLBACKS = ("never", "incoming", "both")
ALTERNATIVES = alternatives()
FORKED = ("bind", "refuse")
RETARGETS = ("accept", "ask", "refuse")
ENGINES = ("native", "python")
SUITES = ("256", "128")
SIGNATURES = ("pkcs1", "pss")
MODES = ("full", "kerberos", "otway-rees", "preshared")
TRANSPORTS = ("udp", "tcp", "tls", "ws", "wss")
STACKS = ("pjsua2", "python")
ICE = ("auto", "on", "off")
DEVICES = ("default", "null")


def url_by_identity(value: object) -> Mapping[str, str]:
    """Read URLs by identity."""
    identity, url = read.uri("sip", "sips", "kms"), read.uri("https", "http")
    return MappingProxyType({identity(name): url(text) for name, text in read.pairs(value).items()})


def policy_by_contact(value: object) -> Mapping[str, str]:
    """Read policies by contact."""
    contact, policy = read.uri("sip", "sips", "tel"), read.word(*POLICIES)
    return MappingProxyType({contact(name): policy(word) for name, word in read.pairs(value).items()})


def mode_by_contact(value: object) -> Mapping[str, str]:
    """Read modes of tickets by contact."""
    contact, mode = read.uri("sip", "sips", "tel"), read.word(*MODES)
    return MappingProxyType({contact(name): mode(word) for name, word in read.pairs(value).items()})


def text_by_party(value: object) -> Mapping[str, str]:
    """Read texts by the URI of a party."""
    party = read.uri("sip", "sips", "kms", "tel")
    return MappingProxyType({party(name): read.text(text) for name, text in read.pairs(value).items()})


def url_by_domain(value: object) -> Mapping[str, str]:
    """Read URLs by domain."""
    url = read.uri("https", "http")
    return MappingProxyType({read.text(name).lower(): url(text) for name, text in read.pairs(value).items()})


def header_fields(value: object) -> Mapping[str, str]:
    """Read header fields by name."""
    return MappingProxyType({read.text(name): read.text(text) for name, text in read.pairs(value).items()})
