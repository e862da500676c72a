"""`sipmikey kms policy`: who may have tickets for whom."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import Actions, action, open_configured, opened, output
from sipmikey.cli.kms.configuration import KmsConfiguration, load
from sipmikey.cli.kms.users.acts import administration
from sipmikey.keys.suite import SUITES
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.policy.rules import Policy
from sipmikey.kms.service import party_of
from sipmikey.kms.stores.store import Store
from sipmikey.kms.subscribers import normal_identity
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.settings import ConfigurationError, read_text
from sipmikey.ticket.policy import FULL_MODE, RequestedKey, TicketPolicy

TEST = """\
  sipmikey kms policy test --from sip:alice@example.com --to sip:bob@example.com
  sipmikey kms policy test --from sip:alice@example.com --to sip:support@example.com --flags DEFGHINO
  sipmikey kms policy test --from sip:alice@example.com --to sip:bob@example.com --file new.toml --json

exit code 0: allowed; 4: refused
"""


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `policy` and what can be done with it."""
    parser = actions.add_parser("policy", help="who may have tickets for whom")
    verbs = parser.add_subparsers(dest="kms_verb", metavar="VERB", required=True)
    test = action(
        verbs, "test", help="explain a decision and the rule that made it", examples=TEST, body=_test
    )
    test.add_argument("--from", dest="source", required=True, metavar="URI", help="who asks for the ticket")
    test.add_argument("--to", dest="target", required=True, metavar="URI", help="for whom: user or group")
    test.add_argument(
        "--flags", default=str(FULL_MODE), help=f"ticket flags asked for (default: {FULL_MODE})"
    )
    test.add_argument("--suite", choices=sorted(SUITES), default="256", help="crypto suite asked for")
    _file_option(test)
    show = action(
        verbs, "show", help="print the policy in force", examples="  sipmikey kms policy show\n", body=_show
    )
    _file_option(show)
    check = action(
        verbs,
        "check",
        help="check a policy without putting it in force",
        examples="  sipmikey kms policy check --file new.toml && mv new.toml kms/policy.toml\n"
        "  kill -HUP $PID_OF_THE_SERVICE\n",
        body=_check,
    )
    _file_option(check)
    put = action(
        verbs,
        "put",
        help="put a policy in force for all machines (where policy.source is store)",
        examples="  sipmikey kms policy put new.toml\n",
        body=_put,
    )
    put.add_argument("file", type=Path)


def _file_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, metavar="FILE", help="this policy instead of the one in force")


async def current_policy(configuration: KmsConfiguration, store: Store) -> Policy:
    """Return the policy in force: the file's, or the newest in the store. Raises PolicyError."""
    return parse_policy(await policy_text(configuration, store))


async def policy_text(configuration: KmsConfiguration, store: Store) -> str:
    """Return the text of the policy in force. Raises ConfigurationError where there is none."""
    section = configuration.policy
    if section.source == "file":
        return read_text(section.file)
    version = await store.policies.current()
    if version is None:
        raise ConfigurationError("the store holds no policy yet: sipmikey kms policy put FILE")
    return version.text


async def _chosen(args: argparse.Namespace) -> str:
    """Return the text of the policy that the command is about."""
    if args.file is not None:
        return read_text(args.file)
    configuration = load(args.dir)
    if configuration.policy.source == "file":
        return read_text(configuration.policy.file)
    async with opened(args) as store:
        return await policy_text(configuration, store)


async def _test(args: argparse.Namespace) -> int:
    policy = parse_policy(await _chosen(args))
    suite = SUITES[args.suite]
    target = normal_identity(args.target)
    desired = TicketPolicy(
        suite=suite,
        flags=TicketFlags.of(args.flags),
        responders=(target,),
        requested_keys=(RequestedKey(length=suite.key_length),),
    )
    store = await open_configured(load(args.dir))
    try:
        source = await party_of(store.subscribers, normal_identity(args.source))
        to = await party_of(store.subscribers, target)
    finally:
        await store.close()
    told = policy.explain(source, to, desired, now_s=int(time.time()))
    out = output(args)
    out.document(
        {
            "type": "kms.policy.test",
            "from": source.identities,
            "to": to.identities,
            "allowed": told.allowed,
            "rule": told.rule,
            "steps": told.steps,
        }
    )
    for step in told.steps:
        out.text(f"  {step}")
    verdict = out.paint.good("allowed") if told.allowed else out.paint.bad("refused")
    out.text(f"{verdict} by rule {told.rule}")
    return ExitCode.OK if told.allowed else ExitCode.KMS


async def _show(args: argparse.Namespace) -> int:
    text = await _chosen(args)
    policy = parse_policy(text)
    out = output(args)
    out.document(
        {
            "type": "kms.policy",
            "rules": [
                {
                    "name": rule.name,
                    "from": sorted(rule.sources),
                    "to": sorted(rule.targets),
                    "decision": "allow" if rule.allow else "refuse",
                    "limits": rule.limits,
                }
                for rule in policy.rules
            ],
        }
    )
    out.text(text.rstrip("\n"))
    return ExitCode.OK


async def _check(args: argparse.Namespace) -> int:
    policy = parse_policy(await _chosen(args))
    out = output(args)
    out.document({"type": "kms.policy.checked", "rules": len(policy.rules)})
    out.text(f"the policy is valid: {len(policy.rules)} rule{'' if len(policy.rules) == 1 else 's'}")
    return ExitCode.OK


async def _put(args: argparse.Namespace) -> int:
    text = read_text(args.file)
    parse_policy(text)
    if load(args.dir).policy.source != "store":
        raise ConfigurationError('this KMS reads its policy from a file: set source = "store" in [policy]')
    async with opened(args) as store:
        rules = await administration(store).put_policy(text)
    out = output(args)
    out.document({"type": "kms.policy.put", "rules": rules})
    out.text(f"{rules} rules in force within seconds")
    return ExitCode.OK
