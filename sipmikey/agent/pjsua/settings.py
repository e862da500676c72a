"""The agent's configuration in pjsua2's form."""

from __future__ import annotations

import uuid
from typing import Any

from sipmikey.agent.config import ANY_ADDRESS, MAX_CALLS, AgentConfig, Sip, Transport
from sipmikey.agent.pjsua.library import fill, pj, refused
from sipmikey.agent.stack import HelpingServers, Lane, StackKeys
from sipmikey.guard import create_private
from sipmikey.sip import quote

MOST_NAME_SERVERS = 4
"""pjsua takes no more."""

_NO_KEYING_METHOD = 7
"""No keying method of pjmedia has this number: SRTP is created, left out of SDP, and drops all packets."""

_REWRITE_ALWAYS = 2
"""Correct the Contact by the rport of the response also where only the port differs."""

_MOST_LOGGED = 4
"""From level 5 on pjmedia writes the keys it is given into its log."""

_MOST_HOST_CANDIDATES = 4

_SRTP_USE = {
    Lane.SECURED: pj.PJMEDIA_SRTP_MANDATORY,
    Lane.BY_STACK: pj.PJMEDIA_SRTP_MANDATORY,
    Lane.CLEAR: pj.PJMEDIA_SRTP_DISABLED,
    Lane.REFUSED: pj.PJMEDIA_SRTP_OPTIONAL,
}


def endpoint_config(config: AgentConfig, *, again: bool = False, private: bool = False) -> Any:
    """Return the endpoint's configuration. *again*: continue the log of a stack that died.

    *private*: keys may be in descriptions, which the log leaves out.
    """
    settings = pj.EpConfig()
    settings.uaConfig.threadCnt = 0
    settings.uaConfig.mainThreadOnly = True
    settings.uaConfig.maxCalls = MAX_CALLS
    settings.uaConfig.natTypeInSdp = 0
    for server in config.sip.name_servers[:MOST_NAME_SERVERS]:
        settings.uaConfig.nameserver.append(server)
    settings.uaConfig.userAgent = "sipmikey"
    settings.logConfig.level = min(config.log_level, _MOST_LOGGED)
    settings.logConfig.consoleLevel = 0
    settings.logConfig.filename = str(config.log_file or "")
    if again:
        settings.logConfig.fileFlags = pj.PJ_O_APPEND
    elif config.log_file is not None:
        with refused(f"log to {config.log_file}"):
            create_private(config.log_file)
    if private:
        settings.logConfig.msgLogging = 0
    settings.medConfig.noVad = True
    settings.medConfig.jbMinPre = config.audio.jitter.least_ms
    settings.medConfig.jbMaxPre = config.audio.jitter.most_ms
    settings.medConfig.jbMax = 2 * config.audio.jitter.most_ms
    # The echo canceller works where the devices are.
    settings.medConfig.ecTailLen = 0
    return settings


def account_config(config: AgentConfig, lane: Lane, keys: StackKeys | None, contact: str = "") -> Any:
    """Return an account's configuration. *keys*: which pjmedia may make itself, None for none.

    *contact*: our Contact, "" for the stack's own.
    """
    sip = config.sip
    settings = pj.AccountConfig()
    name = f"{quote(config.display_name)} " if config.display_name else ""
    settings.idUri = f"{name}<{config.identity}>"
    if sip.registrar and lane is Lane.SECURED:
        settings.regConfig.registrarUri = sip.registrar
        settings.regConfig.timeoutSec = sip.registration_expires_s
        settings.regConfig.retryIntervalSec = sip.registration_retry_s
        settings.regConfig.firstRetryIntervalSec = sip.registration_retry_s
        settings.regConfig.randomRetryIntervalSec = sip.registration_retry_s // 3
        fill(settings.regConfig.headers, tuple(sip.register_headers.items()))
    settings.regConfig.registerOnAdd = False
    if sip.credentials is not None:
        given = sip.credentials
        secret = given.password.reveal().decode()
        settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", given.realm, given.username, 0, secret))
    if sip.proxy:
        settings.sipConfig.proxies.append(_route(sip))
    # The agent moves the calls itself, each as its keys demand.
    settings.ipChangeConfig.reinviteFlags = 0
    settings.natConfig.udpKaIntervalSec = sip.keepalive_s
    # The port of a TLS connection is often not known before its first response tells it.
    settings.natConfig.contactRewriteUse = _REWRITE_ALWAYS
    # pjsip's own is the same for all programs of a host, so a registrar would take them for one device.
    settings.natConfig.sipOutboundInstanceId = f"<urn:uuid:{uuid.uuid4()}>"
    # The port of our end of one TCP connection is useless to the peer, which must call our listening port.
    # Without a certificate no peer can open a connection to our TLS port: the proxy must use the one it has.
    deaf = Transport.TLS in sip.transports and sip.tls.certificate_file is None
    settings.natConfig.contactUseSrcPort = int(deaf)
    if contact:
        settings.sipConfig.contactForced = contact
    if sip.preconditions:
        # The answer in a 183 must be acknowledged before an UPDATE may offer again.
        settings.callConfig.prackUse = pj.PJSUA_100REL_OPTIONAL
    settings.callConfig.timerSessExpiresSec = sip.session_expires_s
    _fill_media(settings, config, lane, keys)
    if config.nat.uses_ice and lane is not Lane.REFUSED:
        _fill_ice(settings)
    settings.mediaConfig.rtcpMuxEnabled = config.nat.rtcp_mux
    return settings


def _fill_ice(settings: Any) -> None:
    nat = settings.natConfig
    nat.iceEnabled = True
    # A peer without trickle ICE would get no media in a call made with it.
    nat.iceTrickle = pj.PJ_ICE_SESS_TRICKLE_DISABLED
    # Each makes the INVITE longer.
    nat.iceMaxHostCands = _MOST_HOST_CANDIDATES


def fill_servers(settings: Any, servers: HelpingServers) -> None:
    """Let an account's media use these servers."""
    nat = settings.natConfig
    nat.mediaStunUse = pj.PJSUA_STUN_USE_DEFAULT if servers.stun else pj.PJSUA_STUN_USE_DISABLED
    nat.turnEnabled = bool(servers.turn)
    nat.turnServer = servers.turn
    nat.turnUserName = servers.username
    nat.turnPassword = "" if servers.password is None else servers.password.reveal().decode()
    nat.turnPasswordType = 0
    nat.turnConnType = pj.PJ_TURN_TP_UDP


def _route(sip: Sip) -> str:
    """Return the proxy as a loose route. Its URI decides the transport; IPv6 needs one named."""
    route = str(sip.proxy)
    if sip.prefer is None and sip.named_transport is not None and "transport=" not in route:
        route = f"{route};transport={sip.named_transport}"
    return route if ";lr" in route else f"{route};lr"


def _fill_media(settings: Any, config: AgentConfig, lane: Lane, keys: StackKeys | None) -> None:
    bind = config.sip.bind
    media = settings.mediaConfig
    media.transportConfig.port = config.audio.rtp_port
    media.transportConfig.boundAddress = "" if bind in ANY_ADDRESS else bind
    if config.sip.public_address:
        media.transportConfig.publicAddress = config.sip.public_address
    # Where pjlib has IPv6, it would else try it also from an IPv4 address, which cannot work.
    settings.sipConfig.ipv6Use = media.ipv6Use = pj.PJSUA_IPV6_DISABLED
    if config.sip.ipv6:
        # With "only" pjsip crashes on a Contact that names no transport, in a dialog over TCP or TLS.
        settings.sipConfig.ipv6Use = pj.PJSUA_IPV6_ENABLED_PREFER_IPV6
        media.ipv6Use = pj.PJSUA_IPV6_ENABLED_USE_IPV6_ONLY
    media.srtpSecureSignaling = 0
    media.srtpUse = _SRTP_USE[lane]
    if lane is not Lane.CLEAR:
        methods = pj.IntVector()
        methods.append(pj.PJMEDIA_SRTP_KEYING_SDES if lane is Lane.BY_STACK else _NO_KEYING_METHOD)
        media.srtpOpt.keyings = methods
    if lane is Lane.BY_STACK and keys is not None:
        for name in keys.suites:
            crypto = pj.SrtpCrypto()
            crypto.name = name
            media.srtpOpt.cryptos.append(crypto)
    in_python = lane is Lane.SECURED and config.audio.engine == "python"
    media.useLoopMedTp = lane is Lane.REFUSED or in_python
