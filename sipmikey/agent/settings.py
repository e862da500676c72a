"""What the configuration means for the calls' machines."""

from __future__ import annotations

import functools

from sipmikey.agent.config import AgentConfig
from sipmikey.call.keying.standard import StandardKeyings
from sipmikey.call.keying.ticket import KeptTickets
from sipmikey.call.settings import CallSettings, Patience
from sipmikey.sdp.ip_version import check_ip_version
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import canonical


def call_settings(config: AgentConfig) -> CallSettings:
    """Return what all calls have in common. pjsua keeps one dialog for each INVITE."""
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
        check_description=functools.partial(check_ip_version, ipv6=config.sip.ipv6),
        many_dialogs=False,
    )


def keyings(config: AgentConfig, env: Environment, kept: KeptTickets | None = None) -> StandardKeyings:
    """Return what keys the calls. *kept*: tickets that need not be resolved again."""
    keys, identity = config.keys, canonical(config.identity)
    if keys is None:
        return StandardKeyings(env, config.policy, identity=identity)
    return StandardKeyings(
        env,
        config.policy,
        identity=identity,
        suites=keys.suites,
        credential=keys.credential,
        kms=keys.kms,
        asked_about=keys.asked_about,
        kept=kept,
        ticket_keys=keys.ticket_keys,
    )
