"""The settings of the call machines, made from the configuration."""

from __future__ import annotations

from sipmikey.agent.config import AgentConfig
from sipmikey.call.keying.means import KeptTickets
from sipmikey.call.keying.standard import StandardKeyings
from sipmikey.call.settings import CallSettings, Patience
from sipmikey.sdp.codecs import check_codecs
from sipmikey.sdp.ip_version import check_ip_version
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical


class UsableHere:
    """Checks that this agent can use a description. ``codecs``: those it has, in upper case; () for any."""

    def __init__(self, config: AgentConfig) -> None:
        self.codecs = tuple(name.upper() for name in config.audio.offered)
        self._ipv6 = config.sip.ipv6

    def __call__(self, sdp: str) -> None:
        """Raise ``OtherIpVersion`` or ``NoCommonCodec``, which the stack itself would notice too late."""
        check_ip_version(sdp, ipv6=self._ipv6)
        check_codecs(sdp, self.codecs)


def call_settings(config: AgentConfig, usable: UsableHere) -> CallSettings:
    """Return the settings of all calls. pjsua keeps only one dialog for each INVITE."""
    times = config.timeouts
    return CallSettings(
        identity=config.identity,
        policy=config.policy,
        patience=Patience(
            setup=times.setup,
            decision=times.decision,
            media=times.media,
            silence=times.silence,
            gone=times.gone,
        ),
        headers=tuple(config.sip.headers.items()),
        redirects=config.sip.redirects,
        check_description=usable,
        many_dialogs=config.sip.in_python,
        preconditions=config.sip.preconditions,
    )


def keyings(config: AgentConfig, env: Environment, kept: KeptTickets | None = None) -> StandardKeyings:
    """Return the keyings of calls. *kept*: tickets that need not be resolved again."""
    keys, identity = config.keys, canonical(config.identity)
    if keys is None:
        return StandardKeyings(env, config.policy, identity=identity)
    return StandardKeyings(
        env,
        config.policy,
        identity=identity,
        suites=keys.suites,
        credential=lambda: keys.credential,  # it may be renewed meanwhile
        kms=keys.kms,
        asked_about=keys.asked_about,
        kept=kept,
        ticket_keys=keys.ticket_keys,
    )
