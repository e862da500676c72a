"""Redirections (3xx) of an outgoing call: where it is made next (RFC 3261 section 8.1.3.4).

Another identity gets a ticket of its own; the address of a device is called with the ticket for the identity
called so far. No redirection makes a call less protected than the call it redirects.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sipmikey.call.inputs import Contact, Message
from sipmikey.call.policy import CallPolicy, Retarget, SecurityMode
from sipmikey.call.reasons import AgentError, Reason, Side
from sipmikey.mikey.errors import LocalError
from sipmikey.ticket.identity import canonical, same_identity

_USE_PROXY, _ALTERNATIVE_SERVICE = 305, 380
_ELSEWHERE = {
    _USE_PROXY: "its Contact is a proxy to go through",
    _ALTERNATIVE_SERVICE: "it names another service",
}
"""Redirections that name no target (RFC 3261 sections 21.3.4, 21.3.5); other 3xx are treated as 300."""

_SIP_URI = re.compile(
    r"(?P<address>sips?:(?:[^@<>\"]+@)?(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?)"
    r"(?P<parameters>(?:;[^;?@<>\"]+)*)(?:\?[^@<>\"]*)?",
    re.IGNORECASE | re.ASCII,
)
_TOLD = 3
"""Contacts of which an error says why they are not called."""

_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an INVITE of a call goes.

    ``uri``: its Request-URI. ``called``: the identity (canonical) that is called there, ``instead``: the one
    called before, whose ticket serves where the KMS gives none for ``called``. ``mode``: what is demanded
    there, never less than where the call came from. ``secure``: only sips: URIs may follow.
    """

    uri: str
    called: str
    instead: str
    mode: SecurityMode
    secure: bool

    @property
    def identities(self) -> tuple[str, ...]:
        """Whom a ticket is asked for, in this order."""
        return (self.called,) if self.called == self.instead else (self.called, self.instead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The targets of one call: the present one, those ``waiting``, best first, and what was ``tried``.

    ``followed``: INVITEs that were sent to contacts of redirections.
    """

    target: Target
    tried: frozenset[str]
    waiting: tuple[Target, ...] = ()
    followed: int = 0


def first_course(uri: str, via: str | None, *, called: str, policy: CallPolicy) -> Course:
    """Return the course of a call to *uri* (the identity *called*) whose INVITE goes to *via* when given."""
    goes_to = via or uri
    target = Target(
        uri=goes_to.rpartition("<")[2].partition(">")[0] if "<" in goes_to else goes_to,
        called=called,
        instead=called,
        mode=policy.security_for(called),
        secure=_is_sips(called) or _is_sips(via or ""),
    )
    return Course(target=target, tried=frozenset({_key(target.uri)}))


def onward(
    course: Course, status: int, response: Message | None, *, policy: CallPolicy, most: int
) -> Course | None:
    """Return the course after an INVITE failed with *status*; None: the call ends with that status.

    *response*: the final one, if there was one. *most*: how many INVITEs may go to contacts. Raises
    ``AgentError`` (``redirected``), which says why, for a redirection that leads nowhere.
    """
    if 300 <= status < 400 and most > 0:
        return _redirected(course, status, response, policy, most)
    # 6xx speaks for every device that could be called (RFC 3261 section 21.6).
    if status >= 600 or not course.waiting or course.followed >= most:
        return None
    return _next(course, course.waiting)


def _redirected(
    course: Course, status: int, response: Message | None, policy: CallPolicy, most: int
) -> Course:
    found, unfit = _targets(course, status, response, policy)
    again = {_key(target.uri) for target in found}
    waiting = (*found, *(target for target in course.waiting if _key(target.uri) not in again))
    if not waiting:
        side: Side = "local" if any(error.side == "local" for error in unfit) else "remote"
        told = "; ".join(str(error) for error in unfit[:_TOLD])
        raise _not_followed(told or f"the {status} has no Contact", status=status, side=side)
    if course.followed >= most:
        raise _not_followed(
            f"redirected more than {most} times (sip.redirects), now to {waiting[0].uri}", status=status
        )
    return _next(course, waiting)


def _next(course: Course, waiting: tuple[Target, ...]) -> Course:
    target, *rest = waiting
    return replace(
        course,
        target=target,
        tried=course.tried | {_key(target.uri)},
        waiting=tuple(rest),
        followed=course.followed + 1,
    )


def _targets(
    course: Course, status: int, response: Message | None, policy: CallPolicy
) -> tuple[tuple[Target, ...], list[AgentError]]:
    """Return the targets a 3xx names, best first, and why its other contacts are not targets."""
    if status in _ELSEWHERE:
        return (), [_not_followed(f"a {status} is not followed: {_ELSEWHERE[status]}", status=status)]
    if response is None or response.status != status:
        return (), []
    if response.malformed:
        return (), [_not_followed(f"the {status} has a {response.malformed}", status=status)]
    found: dict[str, Target] = {}
    unfit: list[AgentError] = []
    for contact in _best_first(response.contacts):
        try:
            target = _target(contact.uri, course.target, policy)
            key = _key(target.uri)
            if key in course.tried:
                raise _not_followed(f"{target.uri} was called before (a loop)")
        except AgentError as error:
            unfit.append(error)
        else:
            found.setdefault(key, target)
    return tuple(found.values()), unfit


def _best_first(contacts: Iterable[Contact]) -> list[Contact]:
    return sorted(contacts, key=lambda contact: -contact.q)


def _target(contact: str, source: Target, policy: CallPolicy) -> Target:
    """Return *contact* as a target; raises ``AgentError`` where that must not or cannot be called."""
    uri, host = _callable(contact)
    if source.secure and not _is_sips(uri):
        raise _not_followed(f"{uri} is not a sips: URI, but the call was made to one", side="local")
    called = source.called if _is_address(host) or _is_same(uri, source.called) else canonical(uri)
    if called != source.called and policy.retarget is Retarget.REFUSE:
        raise _not_followed(f"policy (security.retarget) forbids to call {called} instead", side="local")
    return Target(
        uri=uri,
        called=called,
        instead=source.called,
        mode=policy.security_for(called, least=source.mode),
        secure=source.secure or _is_sips(uri),
    )


def _callable(contact: str) -> tuple[str, str]:
    """Return (URI, host) of *contact* as a Request-URI for INVITE (RFC 3261 section 19.1.5).

    Header fields that the URI asks for are left out: another party would write into our request.
    """
    shown = repr(contact[:_SHOWN])
    found = _SIP_URI.fullmatch(contact) if contact.isascii() and contact.isprintable() else None
    if found is None or " " in contact:
        raise _not_followed(f"{shown} cannot be called: it is not a SIP URI")
    kept = []
    for parameter in found["parameters"].split(";"):
        name, _, word = parameter.lower().partition("=")
        if name != "method":
            kept.append(parameter)
        elif word != "invite":
            raise _not_followed(f"{shown} cannot be called: it is for another method")
    try:
        canonical(found["address"])
    except LocalError:
        raise _not_followed(f"{shown} cannot be called: it is not a SIP URI") from None
    return found["address"] + ";".join(kept), found["host"]


def _is_address(host: str) -> bool:
    """True for an IP address: it names a device, not an identity."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_same(uri: str, called: str) -> bool:
    """Return whether *uri* names *called*, or the same by sips: (RFC 3261 section 19.1)."""
    scheme, _, rest = uri.partition(":")
    upgraded = scheme.lower() == "sips" and same_identity(f"sip:{rest}", called)
    return upgraded or same_identity(uri, called)


def _is_sips(uri: str) -> bool:
    return uri.lower().startswith("sips:")


def _key(uri: str) -> str:
    """Return what two spellings of one Request-URI have in common."""
    found = _SIP_URI.fullmatch(uri)
    if found is None:
        return uri
    parameters = sorted(found["parameters"].lower().split(";"))
    return canonical(found["address"]) + ";".join(parameters)


def _not_followed(detail: str, *, status: int | None = None, side: Side = "remote") -> AgentError:
    return AgentError(Reason.REDIRECTED, detail, side=side, sip_status=status)
