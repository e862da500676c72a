"""What must be true of the call, each as a check with the figures it was judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sipmikey.cli.demo.actor import Actor
from sipmikey.cli.demo.modes import TRANSFER
from sipmikey.media.similarity import Likeness, compare_files

PROFILES = {"256": "AES_256_CM_HMAC_SHA1_80", "128": "AES_CM_128_HMAC_SHA1_80"}
"""Suite of RFC 6043 section 12.1 -> the SRTP profile it keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be true, whether it is, and what shows it."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What was heard at one end. ``own``: likeness with the file the other side played; ``other``: likeness
    with the file this side itself played, which must not be there."""

    listener: str
    own: Likeness
    other: Likeness


def messages(alice: Actor, bob: Actor) -> list[dict[str, Any]]:
    """Return the MIKEY messages of the call in the order they were seen: name, who, octets, Unix seconds."""
    found: list[dict[str, Any]] = []
    names = {"ticket-request": "REQUEST", "ticket-resolve": "RESOLVE"}
    for actor in (alice, bob):
        for event in actor.events:
            kind = event["type"]
            entry = {"at": event["at"], "octets": event.get("size")}
            if kind == "kms.request":
                entry |= {"message": f"{names[event['exchange']]}_INIT", "from": actor.name, "to": "kms"}
            elif kind == "kms.response":
                entry |= {"message": f"{names[event['exchange']]}_RESP", "from": "kms", "to": actor.name}
            elif kind == "mikey.sent":
                to = bob.name if actor is alice else alice.name
                entry |= {"message": event["message"], "from": actor.name, "to": to}
            else:
                continue
            found.append(entry)
    return sorted(found, key=lambda entry: float(entry["at"]))


def check_call(
    alice: Actor, bob: Actor, *, suite: str, seconds: float, expected: Sequence[str]
) -> Iterator[Check]:
    """Check everything but the sound. *expected*: the messages there must be, and no others."""
    seen = [entry["message"] for entry in messages(alice, bob)]
    missing = [name for name in expected if name not in seen]
    surplus = [name for name in seen if name not in expected]
    yield Check(
        name="messages", ok=not missing and not surplus,
        detail=f"{len(seen)} MIKEY messages" + (f", without {', '.join(missing)}" if missing else "")
        + (f", and {', '.join(surplus)}" if surplus else ""),
    )  # fmt: skip
    yield from _same_octets(alice, bob)
    for actor, peer in ((alice, bob), (bob, alice)):
        yield _peer(actor, peer, asked=len(expected) > len(TRANSFER))
        yield _suite(actor, PROFILES[suite])
    yield _keys(alice, bob)
    for actor in (alice, bob):
        yield Check(
            name=f"{actor.name} proven", ok=actor.last("media.proven") is not None,
            detail="a packet of the other side verified under the keys of the ticket",
        )  # fmt: skip
    for sender, receiver in ((alice, bob), (bob, alice)):
        yield _packets(sender, receiver, least=round(0.8 * seconds * 50))


def _same_octets(alice: Actor, bob: Actor) -> Iterator[Check]:
    """What one side sent in SDP arrived at the other with the same length; MACs vouch for the rest."""
    for name, sender, receiver in (("TRANSFER_INIT", alice, bob), ("TRANSFER_RESP", bob, alice)):
        sent = {event["size"] for event in sender.all("mikey.sent") if event["message"] == name}
        got = {event["size"] for event in receiver.all("mikey.received") if event["message"] == name}
        sizes = ", ".join(map(str, sorted(sent))) or "no"
        yield Check(
            name=name, ok=len(sent) == 1 and sent == got,
            detail=f"{sizes} octets from {sender.name} to {receiver.name}",
        )  # fmt: skip


def _security(actor: Actor) -> dict[str, Any]:
    end = actor.last("call.end")
    return end["security"] if end is not None else {}


def _identity(actor: Actor) -> str:
    ready = actor.last("agent.ready")
    return str(ready["identity"]) if ready is not None else f"sip:{actor.name}@example.com"


def _peer(actor: Actor, peer: Actor, *, asked: bool) -> Check:
    """Check who *actor* says the peer is; *asked*: a KMS vouches for that."""
    security = _security(actor)
    who, kms = security.get("peer"), security.get("kms")
    return Check(
        name=f"{actor.name} knows {peer.name}",
        ok=who == _identity(peer) and bool(kms) is asked,
        detail=f"{who or 'nobody'}, " + (f"as {kms} says" if kms else "by the key they share"),
    )


def _suite(actor: Actor, profile: str) -> Check:
    found = _security(actor).get("suite")
    return Check(name=f"{actor.name} suite", ok=found == profile, detail=f"{found}")


def _keys(alice: Actor, bob: Actor) -> Check:
    one, other = alice.last("media.keyed"), bob.last("media.keyed")
    if one is None or other is None:
        return Check(name="keys", ok=False, detail="not keyed")
    ok = (one["send_key"], one["receive_key"]) == (other["receive_key"], other["send_key"])
    return Check(
        name="keys",
        ok=ok and one["send_key"] != one["receive_key"],
        detail=f"{one['send_key']} from {alice.name}, {other['send_key']} from {bob.name} (fingerprints)",
    )


def packets(actor: Actor) -> dict[str, int]:
    """Return the sums of an agent's packet counts over its streams."""
    stats = actor.last("stats")
    streams = stats["streams"] if stats is not None else []
    return {name: sum(stream[name] for stream in streams) for name in ("sent", "decrypted", "lost")}


def _packets(sender: Actor, receiver: Actor, *, least: int) -> Check:
    sent, decrypted = packets(sender)["sent"], packets(receiver)["decrypted"]
    return Check(
        name=f"packets {sender.name} to {receiver.name}",
        ok=sent >= least and decrypted >= 0.95 * sent,
        detail=f"{sent} sent, {decrypted} verified and decrypted",
    )


def listen(listener: str, recorded: Path, *, played_by_peer: Path, played_here: Path) -> Hearing:
    """Compare a recording with the file the other side played, and with the one that must not be in it."""
    return Hearing(
        listener=listener,
        own=compare_files(played_by_peer, recorded),
        other=compare_files(played_here, recorded),
    )


def check_hearing(hearing: Hearing) -> Check:
    """The speech of the other side is in the recording, and the speech of this side is not."""
    own, other = hearing.own, hearing.other
    return Check(
        name=f"{hearing.listener} heard",
        ok=own.same and other.matched == 0,
        detail=(
            f"correlation {own.score:.3f}, {own.matched} of {own.sections} sections of 0.4 s found;"
            f" control, the other voice: {other.score:.3f}, {other.matched} of {other.sections}"
        ),
    )
