"""The rules and limits that decide which subscriber gets which tickets.

Pure: identities and group memberships go in, a decision with the rule that made it comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from sipmikey.kms.policy.adjust import Breach, adjust, breaches
from sipmikey.kms.policy.limits import DEFAULT_LIMITS, TicketLimits
from sipmikey.mikey.errors import InvalidTicketPolicy, NotAuthorized, PeerError
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.ticket import TicketFlag
from sipmikey.ticket.identity import wildcards_of
from sipmikey.ticket.policy import RequestedKey, TicketPolicy

GROUP_PREFIX = "group:"
SUBSCRIBERS = "subscribers"
"""The word of a rule for everybody whom this KMS knows."""

NO_RULE = "(no rule)"
"""The name of the rule where none applied."""

MAX_RESPONDERS = 32
"""Responders of one ticket: each costs a look at the rules and, where they name groups, a lookup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Somebody a rule may be about: canonical identities (of one subscriber) and the groups they are in.

    ``subscriber``: whether this KMS has a subscriber who owns them.
    """

    identities: tuple[str, ...]
    groups: tuple[str, ...] = ()
    subscriber: bool = False

    def names(self) -> frozenset[str]:
        """Return every word of a rule that means this party."""
        return _names(self.identities, self.groups, self.subscriber)


@lru_cache(maxsize=8192)
def _names(identities: tuple[str, ...], groups: tuple[str, ...], subscriber: bool) -> frozenset[str]:
    words = {word for identity in identities for word in (identity, *wildcards_of(identity))}
    words.update(f"{GROUP_PREFIX}{group}" for group in (*groups, *identities))
    if subscriber:
        words.add(SUBSCRIBERS)
    return frozenset(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. ``sources``, ``targets``: identities, wildcards, ``*``, ``subscribers``, ``group:URI``."""

    name: str
    sources: frozenset[str]
    targets: frozenset[str]
    allow: bool
    limits: str = "default"

    def concerns(self, source: frozenset[str], target: frozenset[str]) -> bool:
        """Return whether the rule is about these two parties, each given by its names."""
        return not self.sources.isdisjoint(source) and not self.targets.isdisjoint(target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A request granted: the policy of the ticket, what was changed in it, and the rule that allowed it."""

    policy: TicketPolicy
    changes: tuple[str, ...]
    rule: str
    for_responder_key: bool
    """The ticket is sealed with the key shared with its responder (mode 2)."""


class Refusal(NotAuthorized):
    """Policy says no. ``rule`` is the rule that said it."""

    def __init__(self, detail: str, *, rule: str) -> None:
        super().__init__(detail)
        self.rule = rule


class UnacceptablePolicy(InvalidTicketPolicy):
    """The rule allows a ticket, but not with these properties."""

    http_status = 403

    def __init__(self, detail: str, *, rule: str, field: str) -> None:
        super().__init__(detail, field=field)
        self.rule = rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a caller may or may not have a ticket for a callee."""

    allowed: bool
    rule: str
    steps: tuple[str, ...]
    limits: TicketLimits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules in force, the first that concerns both parties decides; none means no.

    See `sipmikey.kms.policy.file` for how a file says this.
    """

    rules: tuple[Rule, ...] = ()
    limits: Mapping[str, TicketLimits] = field(
        default_factory=lambda: MappingProxyType({"default": DEFAULT_LIMITS})
    )
    looks_up_sources: bool = field(init=False, repr=False, compare=False)
    """True where a rule names a group or subscribers as source, so that initiators must be looked up."""
    looks_up_targets: bool = field(init=False, repr=False, compare=False)
    """True where a rule names a group or subscribers as target, so that responders must be looked up."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks_up_sources", any(_needs_lookup(rule.sources) for rule in self.rules))
        object.__setattr__(self, "looks_up_targets", any(_needs_lookup(rule.targets) for rule in self.rules))

    def rule_for(self, source: Party, target: Party) -> Rule | None:
        """Return the rule that decides whether *source* may have a ticket for *target*."""
        return self._rule(source.names(), target.names())

    def _rule(self, source: frozenset[str], target: frozenset[str]) -> Rule | None:
        for rule in self.rules:
            if rule.concerns(source, target):
                return rule
        return None

    def decide_request(
        self, asker: Party, targets: Sequence[Party], desired: TicketPolicy, *, now_s: int
    ) -> Grant:
        """Return what is granted of *desired*, whose responders are *targets* in the same order.

        Every target must be allowed, and the limits of every rule used must be met: what they allow to be
        adjusted is adjusted (and K set), else the request is refused. Raises `Refusal` or
        `UnacceptablePolicy`; each names the rule.
        """
        used = self._rules_used(asker, targets)
        name = ", ".join(used)
        limits = [self.limits[rule.limits] for rule in used.values()]
        granted, changes = desired, []
        for each in limits:
            granted, made = adjust(granted, each, now_s=now_s)
            changes += made
        for each in limits:
            found = breaches(granted, granted.requested_keys, each, now_s=now_s)
            if found:
                raise _unacceptable(found, name)
        return Grant(
            policy=_with_k(granted) if changes else granted,
            changes=tuple(dict.fromkeys(changes)),
            rule=name,
            for_responder_key=any(each.responder_key for each in limits),
        )

    def _rules_used(self, asker: Party, targets: Sequence[Party]) -> dict[str, Rule]:
        source = asker.names()
        used: dict[str, Rule] = {}
        for target in targets:
            used_here = self._allowing(source, target)
            used[used_here.name] = used_here
        return used

    def _allowing(self, source: frozenset[str], target: Party) -> Rule:
        rule = self._rule(source, target.names())
        if rule is None:
            raise Refusal(f"no rule allows a ticket for {target.identities[0]}", rule=NO_RULE)
        if not rule.allow:
            raise Refusal(f"rule {rule.name!r} refuses a ticket for {target.identities[0]}", rule=rule.name)
        return rule

    def decide_resolve(
        self,
        initiator: Party,
        responder: Party,
        ticket: TicketPolicy,
        keys: Sequence[KeyData],
        *,
        now_s: int,
    ) -> str:
        """Return the name of the rule that lets *responder* have the keys of a ticket of *initiator*.

        The rules may have changed since the ticket was made: a ticket they would not allow today is not
        resolved. Raises `Refusal` or `UnacceptablePolicy`.
        """
        rule = self._allowing(initiator.names(), responder)
        requested = tuple(
            RequestedKey(key_type=key.key_type, length=len(key.key), salt_length=len(key.salt or b""))
            for key in keys
        )
        found = breaches(ticket, requested, self.limits[rule.limits], now_s=now_s)
        if found:
            raise _unacceptable(found, rule.name)
        return rule.name

    def check_allowed(self, initiator: Party, responder: Party) -> str:
        """Return the name of the rule that allows tickets between these two; raise `Refusal` if none does."""
        return self._allowing(initiator.names(), responder).name

    def explain(
        self, source: Party, target: Party, desired: TicketPolicy | None = None, *, now_s: int = 0
    ) -> Explanation:
        """Say which rule decides about *source* and *target*, and what it makes of *desired*."""
        steps: list[str] = [
            f"from: {', '.join(source.identities)}; groups: {', '.join(source.groups) or 'none'}",
            f"to: {', '.join(target.identities)}; groups: {', '.join(target.groups) or 'none'}",
        ]
        from_names, to_names = source.names(), target.names()
        for number, rule in enumerate(self.rules, 1):
            by, about = sorted(rule.sources & from_names), sorted(rule.targets & to_names)
            if not by or not about:
                missing = "from" if not by else "to"
                steps.append(f"rule {number} {rule.name!r}: its {missing!r} does not fit")
                continue
            verdict = "allows" if rule.allow else "refuses"
            steps.append(
                f"rule {number} {rule.name!r}: fits by from={by[0]!r} and to={about[0]!r}: {verdict}"
            )
            limits = self.limits[rule.limits]
            if not rule.allow or desired is None:
                return Explanation(allowed=rule.allow, rule=rule.name, steps=tuple(steps), limits=limits)
            return self._explain_limits(source, target, desired, rule, steps, now_s)
        steps.append("no rule fits: refused")
        return Explanation(allowed=False, rule=NO_RULE, steps=tuple(steps))

    def _explain_limits(
        self, source: Party, target: Party, desired: TicketPolicy, rule: Rule, steps: list[str], now_s: int
    ) -> Explanation:
        limits = self.limits[rule.limits]
        try:
            grant = self.decide_request(source, [target], desired, now_s=now_s)
        except PeerError as error:
            steps.append(f"limits {rule.limits!r}: refused: {error}")
            return Explanation(allowed=False, rule=rule.name, steps=tuple(steps), limits=limits)
        steps += [f"limits {rule.limits!r}: {change}" for change in grant.changes]
        steps.append(f"granted with flags {grant.policy.flags} and suite {grant.policy.suite.name}")
        return Explanation(allowed=True, rule=rule.name, steps=tuple(steps), limits=limits)


def _needs_lookup(words: frozenset[str]) -> bool:
    return any(word == SUBSCRIBERS or word.startswith(GROUP_PREFIX) for word in words)


def _with_k(policy: TicketPolicy) -> TicketPolicy:
    return replace(policy, flags=policy.flags.with_flag(TicketFlag.K, True))


def _unacceptable(found: Sequence[Breach], rule: str) -> UnacceptablePolicy:
    return UnacceptablePolicy("; ".join(breach.text for breach in found), rule=rule, field=found[0].field)
