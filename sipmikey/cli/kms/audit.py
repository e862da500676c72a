"""`sipmikey kms audit`: who asked for what, and what was decided."""

from __future__ import annotations

import argparse
import re
import time
from datetime import UTC, datetime

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import Actions, action, opened, output
from sipmikey.cli.output import timestamp
from sipmikey.kms.audit import AuditEvent, AuditQuery, Decision, Exchange, key_name
from sipmikey.printable import printable
from sipmikey.settings import ConfigurationError

EXAMPLES = """\
  sipmikey kms audit --since 1h
  sipmikey kms audit --subscriber sip:alice@example.com --decision refused
  sipmikey kms audit --ticket 3f2a91c05d6e7f80 --json
  sipmikey kms audit --since 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z --limit 100000 --json
"""

_SPAN = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_NS = 1_000_000_000


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `audit`."""
    parser = action(actions, "audit", help="query the audit log", examples=EXAMPLES, body=_audit)
    parser.add_argument("--ticket", metavar="ID", help="ticket identifier, in hexadecimal")
    parser.add_argument("--subscriber", metavar="NAME", help="name or identity, as asker or as one asked for")
    parser.add_argument("--decision", choices=[decision.value for decision in Decision])
    parser.add_argument(
        "--since", metavar="TIME", help="RFC 3339 time, or a span such as 90s, 15m, 2h, 7d ago"
    )
    parser.add_argument("--until", metavar="TIME", help="likewise; events before that time")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many (default: 100)")
    parser.add_argument("--oldest-first", action="store_true", help="default: the newest first")


async def _audit(args: argparse.Namespace) -> int:
    query = AuditQuery(
        ticket=args.ticket,
        subscriber=args.subscriber,
        decision=Decision(args.decision) if args.decision else None,
        since_ns=_time_ns(args.since, "--since"),
        until_ns=_time_ns(args.until, "--until"),
        limit=args.limit,
        oldest_first=args.oldest_first,
    )
    out = output(args)
    async with opened(args) as store:
        for event in await store.audit.query(query):
            out.document({"type": "kms.audit", "ts": timestamp(event.time_ns / 1e9), **event.as_dict()})
            out.text(_line(event))
    return ExitCode.OK


def _line(event: AuditEvent) -> str:
    who = event.subscriber or event.identity or "somebody unknown"
    parts = [timestamp(event.time_ns / 1e9), event.exchange, event.decision, who]
    if event.subscriber and event.identity not in ("", event.subscriber):
        parts.append(f"as {event.identity}")
    if event.peers:
        parts.append(f"for {', '.join(event.peers)}")
    if event.ticket:
        parts.append(f"ticket {event.ticket}")
    if event.kms:
        parts.append(f"KMS {event.kms}")
    if event.credential and event.credential != event.ticket:
        parts.append(_credential(event.credential))
    acts = event.exchange in (Exchange.ENROLMENT, Exchange.ADMINISTRATION)
    word = "act" if acts else "by rule"
    parts.append(f"{word} {event.rule}" if event.rule else event.reason)
    if event.rule and event.decision is not Decision.GRANTED:
        parts.append(f"({event.reason})")
    if event.detail and (acts or event.decision is Decision.REFUSED):
        parts.append(printable(event.detail))
    if event.source:
        parts.append(f"from {event.source}")
    return "  ".join(parts)


def _credential(text: str) -> str:
    """Return what *text* names: an invitation, a certificate by the beginning of its digest, or a key."""
    if text.startswith("invitation "):
        return text
    name = key_name(text)
    if not name and re.fullmatch(r"[0-9a-f]{64}", text):
        return f"certificate {text[:16]}"
    return f"key {name or text}"


def _time_ns(text: str | None, option: str) -> int | None:
    """Return the time *text* names in Unix nanoseconds."""
    if text is None:
        return None
    if span := _SPAN.fullmatch(text):
        return time.time_ns() - int(span[1]) * _SECONDS[span[2]] * _NS
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{option}: {text!r} is neither a time (2026-11-01T00:00:00Z) nor a span (90s, 15m, 2h, 7d)"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * _NS
