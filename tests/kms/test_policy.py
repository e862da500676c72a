"""Policy: what is granted, changed and refused, and that the file says so when it is wrong."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipmikey.cli.kms.init import POLICIES, POLICY
from sipmikey.keys.suite import SUITE_128, SUITE_256
from sipmikey.kms.policy.adjust import breaches
from sipmikey.kms.policy.file import PolicyError, parse_policy, read_policy
from sipmikey.kms.policy.limits import FLAG_NAMES, FlagWord, Otherwise, TicketLimits
from sipmikey.kms.policy.rules import NO_RULE, Party, Policy, Refusal, UnacceptablePolicy
from sipmikey.kms.service import run
from sipmikey.mikey.errors import LocalError
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.ticket import TicketFlag, TicketFlags, flag_violations
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.policy import RequestedKey, TicketPolicy
from sipmikey.ticket.request import policy_changes
from tests.kms.domain import FLAGS, Domain, subscriber, uri, with_initiator_data

NOW = 1_800_000_000
ALICE, BOB = Party(identities=(uri("alice"),)), Party(identities=(uri("bob"),))


def rules(*lines: str, limits: str = "") -> Policy:
    """A policy of rules written as ``name from to decision [limits]``."""
    text = ""
    for line in lines:
        name, source, target, decision, *more = line.split()
        text += f'[[rule]]\nname="{name}"\nfrom=["{source}"]\nto=["{target}"]\ndecision="{decision}"\n'
        text += f'limits="{more[0]}"\n' if more else ""
    return parse_policy(text + limits)


def limited(limits: str) -> Policy:
    return rules("all * * allow", limits=f"[limits.default]\n{limits}")


def wanted(**fields: object) -> TicketPolicy:
    given = {"suite": SUITE_256, "flags": FLAGS, "responders": (uri("bob"),), "valid_until": at(600)} | fields
    return TicketPolicy(**given)  # type: ignore[arg-type]


def at(seconds: int) -> Timestamp:
    return Timestamp.ntp_utc_32(NOW + seconds)


def test_without_a_rule_everything_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        Policy().decide_request(ALICE, [BOB], wanted(), now_s=NOW)
    assert caught.value.rule == NO_RULE


def test_the_first_rule_about_both_decides() -> None:
    policy = rules(
        "not-bob sip:alice@example.com sip:bob@example.com refuse",
        "staff sip:*@example.com sip:*@example.com allow",
    )
    with pytest.raises(Refusal) as caught:
        policy.decide_request(ALICE, [BOB], wanted(), now_s=NOW)
    assert caught.value.rule == "not-bob"
    assert policy.decide_request(BOB, [ALICE], wanted(), now_s=NOW).rule == "staff"


@pytest.mark.parametrize(
    ("word", "fits"),
    [
        ("*", True),
        ("sip:alice@example.com", True),
        ("SIP:alice@EXAMPLE.COM:5060", True),
        ("sip:*@example.com", True),
        ("group:sip:staff@example.com", True),
        ("sips:*@example.com", False),
        ("sip:*@sub.example.com", False),
        ("sip:alic@example.com", False),
        ("group:sip:other@example.com", False),
        ("sip:staff@example.com", False),
    ],
)
def test_the_words_of_a_rule(word: str, fits: bool) -> None:
    alice = replace(ALICE, groups=("sip:staff@example.com",))
    policy = rules(f"r {word} * allow")
    assert (policy.rule_for(alice, BOB) is not None) == fits


def test_every_responder_must_be_allowed() -> None:
    policy = rules("one * sip:bob@example.com allow")
    with pytest.raises(Refusal, match="carol"):
        policy.decide_request(ALICE, [BOB, Party(identities=(uri("carol"),))], wanted(), now_s=NOW)


def test_what_is_within_limits_is_granted_unchanged() -> None:
    asked = wanted(requested_keys=(RequestedKey(length=32),), rekeying_interval_s=60)
    grant = limited("").decide_request(ALICE, [BOB], asked, now_s=NOW)
    assert grant.policy == asked
    assert grant.changes == ()


@pytest.mark.parametrize(
    ("limits", "asked", "field"),
    [
        ('suites = ["128"]', {}, "suite"),
        ('flags = {reuse = "forced-on"}', {}, "flags"),
        ('flags = {key_forking = "forced-off"}', {}, "flags"),
        ("max_validity_s = 60", {}, "valid_until"),
        ("max_rekeying_interval_s = 60", {"rekeying_interval_s": 90}, "rekeying_interval_s"),
    ],
)
def test_what_is_adjusted_sets_k(limits: str, asked: dict[str, object], field: str) -> None:
    desired = wanted(requested_keys=(RequestedKey(length=16),), **asked)
    grant = limited(limits).decide_request(ALICE, [BOB], desired, now_s=NOW)
    assert grant.policy.flags.changed
    assert policy_changes(desired, grant.policy) == (field,)
    assert grant.changes


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ('otherwise = "refuse"\nsuites = ["128"]', {}),
        ('flags = {key_forking = "refused"}', {}),
        ('flags = {reuse = "required"}', {}),
        ('otherwise = "refuse"\nmax_validity_s = 60', {}),
        ('otherwise = "refuse"\nkey_types = ["TEK"]', {"requested_keys": (RequestedKey(length=32),)}),
        ('otherwise = "refuse"\nmin_key_bytes = 32', {"requested_keys": (RequestedKey(length=16),)}),
        ('otherwise = "refuse"\nmax_keys = 1', {"requested_keys": (RequestedKey(length=32),) * 2}),
        ('applications = ["sip:app@example.com"]', {}),
        ('applications = ["sip:app@example.com"]', {"applications": ("sip:other@example.com",)}),
        ("min_key_bytes = 32", {"suite": SUITE_128}),
    ],
)
def test_what_cannot_be_adjusted_is_refused_with_the_rule(limits: str, asked: dict[str, object]) -> None:
    with pytest.raises(UnacceptablePolicy) as caught:
        limited(limits).decide_request(ALICE, [BOB], wanted(**asked), now_s=NOW)
    assert caught.value.rule == "all"


def test_keys_are_fitted_to_type_length_and_number() -> None:
    policy = limited(
        'key_types = ["TEK+SALT"]\nmax_key_bytes = 16\nmax_keys = 2'.replace("TEK+SALT", "TEK_SALT")
    )
    asked = wanted(requested_keys=(RequestedKey(length=32),) * 3)
    grant = policy.decide_request(ALICE, [BOB], asked, now_s=NOW)
    assert [(key.key_type, key.length) for key in grant.policy.requested_keys] == [
        (KeyDataType.TEK_SALT, 16)
    ] * 2
    assert grant.policy.flags.changed


def test_keys_left_open_are_one_tgk_without_k() -> None:
    for suite in (SUITE_128, SUITE_256):
        grant = limited("").decide_request(ALICE, [BOB], wanted(suite=suite), now_s=NOW)
        assert grant.policy.requested_keys == (RequestedKey(length=suite.key_length),)
        assert not grant.policy.flags.changed


def test_no_end_of_validity_becomes_one_with_k() -> None:
    grant = limited("default_validity_s = 300").decide_request(
        ALICE, [BOB], wanted(valid_until=None), now_s=NOW
    )
    assert grant.policy.valid_until == at(300)
    assert grant.policy.flags.changed


words = st.dictionaries(st.sampled_from(sorted(FLAG_NAMES)), st.sampled_from(FlagWord))
flag_sets = st.integers(0, (1 << 12) - 1).filter(lambda bits: not flag_violations(bits))


@given(words, flag_sets, st.sampled_from([SUITE_128, SUITE_256]), st.sampled_from(Otherwise), st.data())
def test_whatever_the_limits_a_grant_keeps_them_and_differs_only_with_k(
    flags: dict[str, FlagWord], asked: int, suite: object, otherwise: Otherwise, data: st.DataObject
) -> None:
    try:
        limits = TicketLimits(
            flags={FLAG_NAMES[name]: word for name, word in flags.items()},
            otherwise=otherwise,
            suites=tuple(
                data.draw(st.lists(st.sampled_from([SUITE_128, SUITE_256]), min_size=1, unique=True))
            ),
            max_key_bytes=data.draw(st.sampled_from([16, 24, 32])),
            max_validity_s=data.draw(st.sampled_from([60, 3600])),
            default_validity_s=60,
        )
    except LocalError:
        return  # a file with such limits does not load
    policy = replace(rules("all * * allow"), limits={"default": limits})
    lengths = st.integers(16, 40).map(lambda length: RequestedKey(length=length))
    desired = wanted(
        flags=TicketFlags(TicketFlag(asked)),
        suite=suite,
        requested_keys=tuple(data.draw(st.lists(lengths, max_size=3))),
        valid_until=data.draw(st.none() | st.integers(1, 10_000).map(at)),
    )
    with contextlib.suppress(UnacceptablePolicy):
        check_granted(desired, policy, limits)


def check_granted(desired: TicketPolicy, policy: Policy, limits: TicketLimits) -> None:
    granted = policy.decide_request(ALICE, [BOB], desired, now_s=NOW).policy
    assert breaches(granted, granted.requested_keys, limits, now_s=NOW) == []
    assert granted.flags.kms_generated
    asked = replace(desired, flags=desired.flags.with_flag(TicketFlag.K, False))  # K of a TP is ignored
    keys_changed = asked.requested_keys not in ((), granted.requested_keys)
    assert granted.flags.changed == (
        bool(policy_changes(asked, granted)) or keys_changed or asked.valid_until is None
    )
    if not granted.flags.changed:
        assert granted == replace(asked, requested_keys=granted.requested_keys)


def test_policy_is_asked_again_at_resolve(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, subscribers=[subscriber("alice"), subscriber("bob")])
    ticket = with_initiator_data(kms.ask())
    kms.resolve(ticket)
    kms.use('[[rule]]\nname="no more"\nfrom=["*"]\nto=["sip:bob@example.com"]\ndecision="refuse"')
    outcome = kms.handle(kms.resolving(ticket).message)
    assert (outcome.status, outcome.reason) == (403, "not-authorized")
    assert kms.audit()[0].rule == "no more"
    kms.use(
        '[[rule]]\nname="strict"\nfrom=["*"]\nto=["*"]\ndecision="allow"\n'
        '[limits.default]\nflags={initiator_keys="refused", reuse="required"}'
    )
    outcome = kms.handle(kms.resolving(ticket).message)
    assert (outcome.status, outcome.reason) == (403, "invalid-ticket-policy")
    kms.close()


def test_group_rules_look_at_memberships_of_both_sides(tmp_path: Path) -> None:
    staff, guests = "sip:staff@example.com", "sip:guests@example.com"
    text = f'[[rule]]\nname="staff"\nfrom=["group:{staff}"]\nto=["group:{guests}"]\ndecision="allow"\n'
    kms = Domain.make(
        tmp_path,
        text,
        subscribers=[
            subscriber("alice", groups=[staff]),
            subscriber("bob", groups=[guests]),
            subscriber("carol"),
        ],
    )
    kms.resolve(with_initiator_data(kms.ask()))
    assert kms.audit()[0].rule == "staff"
    assert kms.handle(kms.request("alice", kms.wanted(uri("carol"))).message).status == 403
    assert kms.handle(kms.request("bob", kms.wanted(uri("alice"))).message).status == 403
    group_ticket = with_initiator_data(kms.ask(policy=kms.wanted(guests)))
    kms.resolve(group_ticket)
    kms.close()


def test_a_membership_counts_for_every_identity_of_a_subscriber(tmp_path: Path) -> None:
    staff, mobile = "sip:staff@example.com", "tel:+46701234567"
    text = f'[[rule]]\nname="staff"\nfrom=["group:{staff}"]\nto=["group:{staff}"]\ndecision="allow"\n'
    kms = Domain.make(
        tmp_path,
        text,
        subscribers=[
            subscriber("alice", mobile, groups=[staff]),
            subscriber("bob", "tel:+1", groups=[staff]),
        ],
    )
    grant = kms.ask("alice", kms.wanted("tel:+1"), identity=mobile)
    kms.resolve(with_initiator_data(grant))
    kms.close()


def test_explain_names_the_rule_and_what_it_changes() -> None:
    policy = rules(
        "strangers sip:*@elsewhere.example * refuse",
        "staff sip:*@example.com * allow short",
        limits="[limits.short]\nmax_validity_s = 60",
    )
    told = policy.explain(ALICE, BOB, wanted(), now_s=NOW)
    assert (told.allowed, told.rule) == (True, "staff")
    assert any("'strangers'" in step and "does not fit" in step for step in told.steps)
    assert any("shortened to 60 s" in step for step in told.steps)
    refused = policy.explain(Party(identities=("sip:x@elsewhere.example",)), BOB)
    assert (refused.allowed, refused.rule) == (False, "strangers")
    assert policy.explain(Party(identities=("sip:x@third.example",)), BOB).rule == NO_RULE
    strict = limited('flags = {reuse = "required"}').explain(ALICE, BOB, wanted(), now_s=NOW)
    assert not strict.allowed
    assert "reuse" in strict.steps[-1]


RULE = '[[rule]]\nname="r"\nfrom=["*"]\nto=["*"]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]", "not TOML"),
        ("rules = []", "unknown key 'rules'; did you mean rule. allowed: rule, limits"),
        ("rule = 1", r"\[\[rule\]\]"),
        ("[[rule]]", "rule 1: name is missing"),
        ('[[rule]]\nname="r"', "from is missing"),
        (RULE, "decision is missing; allowed: allow, refuse"),
        (RULE + 'decision="yes"', "decision cannot be 'yes'; allowed: allow, refuse"),
        (RULE + 'decision="allow"\nlimits="x"', "limits cannot be 'x'; allowed: default"),
        (RULE.replace('["*"]', '["alice"]', 1) + 'decision="allow"', "sip:user@host"),
        (RULE.replace('["*"]', '["sip:al*@x.example"]', 1) + 'decision="allow"', "whole user part"),
        (RULE + 'decision="allow"\n' + RULE + 'decision="allow"', "'r' is given twice"),
        ('[limits.default]\nsuites=["512"]', "limits.default: suites cannot be '512'; allowed: 128, 256"),
        ('[limits.x]\nflags={fork="allowed"}', "flags: unknown key 'fork'"),
        ('[limits.x]\nflags={reuse="on"}', "reuse cannot be 'on'; allowed: allowed, forced-on, forced-off"),
        ('[limits.x]\nkey_types=["MPK"]', "key_types cannot be 'MPK'; allowed: TGK"),
        ('[limits.x]\nmax_validity_s="1"', "max_validity_s must be a whole number"),
        ("[limits.x]\nmax_validity_s=0", "default_validity_s is more than 0"),
        ("[limits.x]\nmin_key_bytes=8", "min_key_bytes is 16 or more"),
        ('[limits.x]\nflags={key_forking="forced-on", resolve_mandatory="forced-off"}', "I on implies E on"),
        ('[limits.x]\nflags={randr_r="refused", randr_i="refused"}', "cannot both be off"),
        ('[limits.x]\nticket_key="responder"\nflags={key_forking="forced-on"}', "needs resolve_mandatory"),
        ("[limits.x]\nmax_validty_s=1", "did you mean max_validity_s"),
        ('[limits.x]\notherwise="maybe"', "allowed: adjust, refuse"),
    ],
)
def test_errors_name_the_key_and_the_words_allowed(text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        parse_policy(text)


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    with contextlib.suppress(PolicyError):
        parse_policy(text)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"policy\.toml: No such file"):
        read_policy(tmp_path / "policy.toml")


def test_subscribers_are_those_whom_the_kms_knows(tmp_path: Path) -> None:
    kms = Domain.make(tmp_path, POLICY.format(parties=POLICIES["subscribers"]))
    try:
        kms.resolve(with_initiator_data(kms.ask()))
        for nobody in (uri("nobody"), "sip:bob@example.org", "sip:*@example.com"):
            outcome = kms.handle(kms.request(policy=kms.wanted(nobody)).message)
            assert outcome.reason == "not-authorized"
            assert f"no rule allows a ticket for {nobody}" in outcome.event.detail
        assert not kms.handle(kms.request(policy=kms.wanted(uri("bob"), uri("nobody"))).message).granted
        ticket = with_initiator_data(kms.ask())
        run(kms.store.subscribers.set_enabled("alice", False))
        outcome = kms.handle(kms.resolving(ticket).message)
        assert not outcome.granted, "a ticket of who is disabled now"
        run(kms.store.subscribers.set_enabled("alice", True))
        run(kms.store.subscribers.set_enabled("bob", False))
        assert not kms.handle(kms.request().message).granted, "disabled, and as if nobody knew it"
    finally:
        kms.close()
    open_to_all = parse_policy(POLICY.format(parties=POLICIES["open"]))
    assert open_to_all.check_allowed(ALICE, Party(identities=(uri("nobody"),))) == "subscribers"
    assert not open_to_all.looks_up_targets
