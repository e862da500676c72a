"""`sipmikey kms status`: what works, what ends soon, and who is there."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import http.client
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sipmikey.cli.exit_codes import ExitCode
from sipmikey.cli.kms.common import DAY_S, Actions, action, open_configured, output
from sipmikey.cli.kms.configuration import KmsConfiguration, load
from sipmikey.cli.output import Output, timestamp
from sipmikey.kms.administration.devices import state as device_state
from sipmikey.kms.audit import AuditQuery, Decision
from sipmikey.kms.service import StoreUnavailable
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError
from sipmikey.printable import printable

HOUR_NS = 3_600_000_000_000
MOST_EVENTS = 100_000
ASK_S = 2.0
CLOCK_APART_S = 2.0
_UNSYNCHRONISED = 5
"""What adjtimex returns while nothing keeps the clock right (TIME_ERROR)."""

EXAMPLES = """\
  sipmikey kms status
  sipmikey kms status --keys --days 30
  sipmikey kms status --json --strict || alert

exit code 0 while everything works, 4 while something does not; with --strict also for a warning
"""


class State(StrEnum):
    """How a part is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part of the KMS, how it is, and in which words; ``fields``: the same for programs."""

    part: str
    state: State
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


def add_actions(actions: Actions[argparse.ArgumentParser]) -> None:
    """Add `status`."""
    parser = action(
        actions,
        "status",
        help="what works, which keys end soon and when each was used, which devices there are",
        examples=EXAMPLES,
        body=_status,
    )
    parser.add_argument("--days", type=float, default=14, metavar="N", help="how soon is soon (default: 14)")
    parser.add_argument("--keys", action="store_true", help="list every key, with its end and its last use")
    parser.add_argument("--strict", action="store_true", help="exit code 4 for warnings too")
    parser.add_argument("--no-server", action="store_true", help="do not ask the server, only the stores")


async def _status(args: argparse.Namespace) -> int:
    out = output(args)
    worst = State.OK
    async for finding in _findings(load(args.dir), args, out):
        document = {"type": "kms.status", "part": finding.part, "state": finding.state, "text": finding.text}
        out.document({**document, **finding.fields})
        paint = {State.OK: out.paint.good, State.WARNING: out.paint.strong, State.FAILED: out.paint.bad}
        out.text(f"{finding.part:<12} {paint[finding.state](f'{finding.state:<8}')} {finding.text}")
        if finding.state is State.FAILED or (finding.state is State.WARNING and worst is State.OK):
            worst = finding.state
    out.document({"type": "kms.status", "part": "all", "state": worst})
    bad = worst is State.FAILED or (args.strict and worst is State.WARNING)
    return ExitCode.KMS if bad else ExitCode.OK


async def _findings(
    configuration: KmsConfiguration, args: argparse.Namespace, out: Output
) -> AsyncIterator[Finding]:
    soon_s = round(args.days * DAY_S)
    if not args.no_server:
        for address in configuration.http.listen:
            yield await asyncio.to_thread(_server, configuration, address)
    try:
        store = await open_configured(configuration)
    except (StoreUnavailable, LocalError) as error:
        yield Finding(part="store", state=State.FAILED, text=str(error))
        return
    try:
        async for finding in store_findings(configuration, store, soon_s, each=args.keys, out=out):
            yield finding
    finally:
        await store.close()


async def store_findings(
    configuration: KmsConfiguration,
    store: Store,
    soon_s: int,
    *,
    each: bool = False,
    out: Output | None = None,
    most: int | None = None,
) -> AsyncIterator[Finding]:
    """Yield how the parts of an open store are, and the certificate. *each* prints every key to *out*.

    Of more than *most* subscribers keys and devices are not looked at one by one.
    """
    now_s = int(time.time())
    large = most is not None and await store.subscribers.count() > most
    for part, look in (
        ("store", lambda: _store(configuration, store)),
        ("replay", lambda: _replay(configuration, store)),
        ("audit", lambda: _audit(store, now_s)),
        ("clock", lambda: _clock(store)),
        ("ticket key", lambda: _ticket_keys(configuration, store, now_s)),
        ("keys", lambda: _keys(store, now_s, soon_s, out if each else None)),
        ("devices", lambda: _devices(store, now_s, soon_s)),
        ("invitations", lambda: _invitations(store, now_s)),
    ):
        if large and part in ("keys", "devices"):
            text = "too many to look at here: `sipmikey kms status` does"
            yield Finding(part=part, state=State.OK, text=text)
        else:
            yield await _looked(part, look)
    yield _certificate(configuration, now_s, soon_s)


async def _looked(part: str, look: Callable[[], Awaitable[Finding]]) -> Finding:
    """Return what *look* finds; a store that does not answer is a finding too."""
    try:
        async with asyncio.timeout(ASK_S * 5):
            return await look()
    except TimeoutError:
        return Finding(part=part, state=State.FAILED, text=f"no answer within {ASK_S * 5:g} s")
    except (StoreUnavailable, LocalError) as error:
        return Finding(part=part, state=State.FAILED, text=str(error))


def _server(configuration: KmsConfiguration, address: str) -> Finding:
    """Ask the server at *address* whether it is ready; its certificate is judged elsewhere."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    fields = {"address": address}
    if port == "0":
        return Finding(
            part="server", state=State.OK, text=f"{address} has any free port; not asked", fields=fields
        )
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = (
        http.client.HTTPConnection(host, int(port), timeout=ASK_S)
        if configuration.tls.certificate is None
        else http.client.HTTPSConnection(host, int(port), timeout=ASK_S, context=context)
    )
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        said = printable(response.read(200).decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as error:
        text = f"nothing serves {address}: {error or type(error).__name__}"
        return Finding(part="server", state=State.FAILED, text=text, fields=fields)
    finally:
        connection.close()
    if response.status != 200:
        return Finding(part="server", state=State.FAILED, text=f"{address}: not ready: {said}", fields=fields)
    return Finding(part="server", state=State.OK, text=f"{address} is ready", fields=fields)


async def _store(configuration: KmsConfiguration, store: Store) -> Finding:
    await store.ping_directory()
    count = await store.subscribers.count()
    groups = await store.subscribers.count_groups()
    url = without_password(configuration.store.url)
    text = f"{url}: {count} subscribers, {groups} groups, and it can be written"
    fields = {"url": url, "subscribers": count, "groups": groups}
    return Finding(part="store", state=State.OK, text=text, fields=fields)


async def _replay(configuration: KmsConfiguration, store: Store) -> Finding:
    await store.replay.ping()
    place = without_password(configuration.store.replay_url) or "in the store"
    return Finding(part="replay", state=State.OK, text=f"{place}: it answers", fields={"url": place})


async def _audit(store: Store, now_s: int) -> Finding:
    await store.audit.ping()
    since_ns = now_s * 1_000_000_000 - HOUR_NS
    events = await store.audit.query(AuditQuery(since_ns=since_ns, limit=MOST_EVENTS))
    refused = sum(event.decision is Decision.REFUSED for event in events)
    last = events[:1] or await store.audit.query(AuditQuery(limit=1))
    last_s = last[0].time_ns // 1_000_000_000 if last else None
    when = "nothing was ever asked" if last_s is None else f"the last at {timestamp(last_s)}"
    text = f"{len(events)} decisions in the last hour, {refused} refused; {when}"
    fields = {"hour": len(events), "hour_refused": refused, "last_s": last_s}
    return Finding(part="audit", state=State.OK, text=text, fields=fields)


async def _clock(store: Store) -> Finding:
    apart_s = 0.0
    if store.directory.dialect == "postgresql":
        before = time.time()
        rows = await store.directory.fetch("SELECT extract(epoch FROM clock_timestamp())::float8")
        apart_s = float(rows[0][0]) - (before + time.time()) / 2
    fields = {"apart_s": round(apart_s, 3), "synchronised": synchronised()}
    if abs(apart_s) > CLOCK_APART_S:
        text = f"the database is {apart_s:+.1f} s off: set both clocks by NTP"
        return Finding(part="clock", state=State.WARNING, text=text, fields=fields)
    if fields["synchronised"] is False:
        text = "nothing keeps this machine's clock right: run an NTP client"
        return Finding(part="clock", state=State.WARNING, text=text, fields=fields)
    text = "kept by NTP" if fields["synchronised"] else "this system does not tell whether it is kept right"
    return Finding(part="clock", state=State.OK, text=text, fields=fields)


def synchronised() -> bool | None:
    """Return whether the kernel says that something keeps the clock right, None where it cannot be asked."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _UNSYNCHRONISED


async def _ticket_keys(configuration: KmsConfiguration, store: Store, now_s: int) -> Finding:
    keys = await store.ticket_keys.list()
    current = [key for key in keys if key.owner is None and key.seals(now_s)]
    shared = sum(key.owner is not None and key.seals(now_s) for key in keys)
    fields: dict[str, Any] = {"keys": len(keys), "shared": shared, "created_s": None}
    if not current:
        text = "none yet; the first ticket makes it"
        return Finding(part="ticket key", state=State.OK, text=text, fields=fields)
    fields["created_s"] = created_s = max(key.created_s for key in current)
    days = configuration.kms.ticket_key_days
    age = (now_s - created_s) / DAY_S
    every = f"replaced after {days:g}" if days else "replaced by command only"
    text = f"{age:.1f} days old, {every}; {len(keys)} kept, {shared} shared with a subscriber"
    return Finding(part="ticket key", state=State.OK, text=text, fields=fields)


async def _keys(store: Store, now_s: int, soon_s: int, out: Output | None) -> Finding:
    uses = await store.audit.uses()
    generations = {device.device: device.generation for device in await store.devices.devices()}
    counts = {"keys": 0, "renewed": 0, "expired": 0, "expiring": 0, "never_used": 0}
    ending: list[str] = []
    async for record in store.subscribers.records():
        await asyncio.sleep(0)  # where this serves as well, tickets go first
        for psk in record.psks:
            used_s = uses.get(psk.key_id.hex())
            until_s = psk.valid_until_s
            name = printable(psk.key_id.decode(errors="replace"))
            counts["keys"] += 1
            counts["never_used"] += used_s is None
            if _renewed(name, generations):
                counts["renewed"] += 1
            elif until_s is not None and until_s <= now_s:
                counts["expired"] += 1
            elif until_s is not None and until_s <= now_s + soon_s:
                counts["expiring"] += 1
                ending.append(name)
            if out is not None:
                _key_line(out, record.name, name, until_s, used_s)
    text = f"{counts['keys']} keys, {counts['never_used']} never used"
    if ending or counts["expired"]:
        text += f"; {counts['expired']} have ended, {counts['expiring']} end within {soon_s / DAY_S:g} days"
    if ending:
        text += f": {_some(ending)}"
    state = State.WARNING if ending else State.OK
    return Finding(part="keys", state=state, text=text, fields=counts)


def _renewed(psk_id: str, generations: Mapping[str, int]) -> bool:
    """Return whether a key (`DEVICE.NUMBER`) is of a device that has a newer one."""
    device, _, number = psk_id.rpartition(".")
    return number.isdecimal() and int(number) < generations.get(device, 0)


def _key_line(out: Output, subscriber: str, psk_id: str, until_s: int | None, used_s: int | None) -> None:
    out.document(
        {
            "type": "kms.key", "subscriber": subscriber, "psk_id": psk_id, "valid_until_s": until_s,
            "used_s": used_s,
        }
    )  # fmt: skip
    end = "without end" if until_s is None else f"until {timestamp(until_s)[:16]}Z"
    used = "never used" if used_s is None else f"used {timestamp(used_s)[:16]}Z"
    out.text(f"  {psk_id}  {subscriber}  {end}  {used}")


async def _devices(store: Store, now_s: int, soon_s: int) -> Finding:
    counts: dict[str, int] = {"active": 0, "expired": 0, "revoked": 0, "disabled": 0}
    ending: list[str] = []
    for device in await store.devices.devices():
        state = device_state(device, now_s)
        counts[state] += 1
        if state == "active" and device.valid_until_s <= now_s + soon_s:
            ending.append(device.device)
    shown = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "active")
    if ending:
        shown += f"; not renewed, and end within {soon_s / DAY_S:g} days: {_some(ending)}"
    state = State.WARNING if ending else State.OK
    return Finding(part="devices", state=state, text=shown, fields={**counts, "expiring": len(ending)})


async def _invitations(store: Store, now_s: int) -> Finding:
    records = await store.devices.invitations()
    still_open = sum(record.open_at(now_s) for record in records)
    tried = [
        record.number
        for record in records
        if record.used_s is None and record.tries > 1 and not record.revoked
    ]
    text = f"{still_open} open"
    if tried:
        text += f"; wrong codes were tried for {_some(tried)}"
    fields = {"open": still_open, "tried": tried}
    return Finding(part="invitations", state=State.WARNING if tried else State.OK, text=text, fields=fields)


def _certificate(configuration: KmsConfiguration, now_s: int, soon_s: int) -> Finding:
    path = configuration.tls.certificate
    if path is None:
        text = "none: the KMS serves plain HTTP"
        return Finding(part="certificate", state=State.OK, text=text, fields={"expires_s": None})
    from sipmikey.pem_file import read_certificates

    try:
        certificate = read_certificates(path)[0]
    except LocalError as error:
        return Finding(part="certificate", state=State.FAILED, text=str(error))
    end_s = int(certificate.not_valid_after_utc.timestamp())
    fields = {"expires_s": end_s}
    text = f"of the server, until {datetime.fromtimestamp(end_s, UTC).date()}"
    if end_s <= now_s:
        return Finding(part="certificate", state=State.FAILED, text=f"{text}: it has expired", fields=fields)
    state = State.WARNING if end_s <= now_s + soon_s else State.OK
    return Finding(part="certificate", state=state, text=text, fields=fields)


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def without_password(url: str) -> str:
    """Return a store's URL as it may be shown."""
    return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1@", re.sub(r"(?i)(password=)[^&]*", r"\1...", url))
