"""Which keyings policy permits for a call, and what it lets a stack put into descriptions."""

from __future__ import annotations

from collections.abc import Iterator

from sipmikey.call.keying.keying import KeyingKind
from sipmikey.call.keying.known import alternative, kinds
from sipmikey.call.keying.lanes import Lane, StackKeys
from sipmikey.call.keying.means import srtp_suites
from sipmikey.call.policy import CallPolicy, Fallback, SecurityMode
from sipmikey.mikey.errors import LocalError


def permits(
    policy: CallPolicy,
    kind: KeyingKind,
    uri: str,
    *,
    calls: bool,
    least: SecurityMode = SecurityMode.OFF,
) -> bool:
    """Return whether a call with *uri*, which demands *least*, may be keyed so. *calls*: this side calls it.

    An alternative is for ``preferred`` only, where ``security.alternative`` names it; media in clear for
    ``off``, and for ``preferred`` as far as ``security.fallback`` goes.
    """
    return _permits(policy, kind, policy.security_for(uri, least=least), calls=calls)


def _permits(policy: CallPolicy, kind: KeyingKind, mode: SecurityMode, *, calls: bool) -> bool:
    if kind.in_clear:
        willing = (Fallback.BOTH,) if calls else (Fallback.INCOMING, Fallback.BOTH)
        return mode is SecurityMode.OFF or (mode is SecurityMode.PREFERRED and policy.fallback in willing)
    if kind.alternatives:
        return mode is SecurityMode.PREFERRED and policy.alternative in kind.alternatives
    return mode is not SecurityMode.OFF


def permits_again(
    policy: CallPolicy, kind: KeyingKind, uri: str, *, least: SecurityMode = SecurityMode.OFF
) -> bool:
    """Return whether a call to *uri* that failed under another keying may be made again with *kind*."""
    mode = policy.security_for(uri, least=least)
    return mode is SecurityMode.PREFERRED and _permits(policy, kind, mode, calls=True)


def permitted(
    policy: CallPolicy, uri: str, *, calls: bool, least: SecurityMode = SecurityMode.OFF
) -> Iterator[KeyingKind]:
    """Yield the keyings that policy permits for calls with *uri*, in the order of attempts."""
    mode = policy.security_for(uri, least=least)
    return (kind for kind in kinds() if _permits(policy, kind, mode, calls=calls))


def first_kind(policy: CallPolicy, uri: str, *, least: SecurityMode = SecurityMode.OFF) -> KeyingKind:
    """Return what keys the first INVITE to *uri*."""
    return next(permitted(policy, uri, calls=True, least=least))


def transports(policy: CallPolicy, kind: KeyingKind) -> tuple[str, ...]:
    """Return the SIP transports that descriptions of *kind* may go over; empty for any."""
    return kind.alternatives.get(policy.alternative, ())


def goes_over(policy: CallPolicy, kind: KeyingKind, transport: str) -> bool:
    """Return whether descriptions of *kind* may go over a SIP *transport*."""
    over = transports(policy, kind)
    return not over or transport in over


def only_over(policy: CallPolicy, kind: KeyingKind) -> str:
    """Return the transports that *kind* may go over, in words."""
    return _in_words(transports(policy, kind))


def _in_words(over: tuple[str, ...]) -> str:
    return " or ".join(transport.upper() for transport in over)


def stack_keys(policy: CallPolicy, strengths: tuple[str, ...]) -> StackKeys | None:
    """Return what policy lets the stack put into descriptions; None: no keys. *strengths*: suite words.

    Raises ``LocalError`` for an alternative that is not known.
    """
    kind = alternative(policy.alternative)
    if kind is None or kind.lane is not Lane.BY_STACK:
        return None
    suites = tuple(suite.value for suite in srtp_suites(strengths))
    return StackKeys(suites=suites, over=transports(policy, kind))


def check_alternative(word: str, here: tuple[str, ...]) -> None:
    """Raise ``LocalError`` for a value of ``security.alternative`` that no keying has or that allows nothing.

    *here*: the SIP transports of this agent.
    """
    kind = alternative(word)
    over = () if kind is None else kind.alternatives[word]
    if kind is None or not over or set(over) & set(here):
        return
    others = [name for name, wide in kind.alternatives.items() if not wide or set(wide) & set(here)]
    instead = f" (or say {others[0]}, and everybody on the path can read the keys)" if others else ""
    needs = f"security.alternative {word} needs SIP over {_in_words(over)}"
    raise LocalError(f"{needs}: add {over[0]} to sip.transports{instead}")
