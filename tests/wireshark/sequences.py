"""The messages of vector files in the order they are sent, and the keys that open them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sipmikey.decode.results import Names
from sipmikey.vectors.exchange import private_key
from tests.wireshark.reading import Keys

OWN = Path(__file__).parents[1] / "vectors"
OUTSIDE = Path(__file__).parents[3] / "shared" / "vectors"
ORDER = (
    "request_init", "request_resp", "transfer_init", "resolve_init", "resolve_resp", "transfer_resp",
    "update_init", "update_resp", "update_2_init", "update_2_resp",
)  # fmt: skip


@cache
def vectors(folder: Path) -> tuple[dict[str, Any], ...]:
    return tuple(
        vector
        for path in sorted(folder.glob("*.json"))
        for vector in json.loads(path.read_text(encoding="utf-8")).get("vectors", [])
    )


def exchanges(folder: Path) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in vectors(folder) if item.get("kind") == "exchange"}


def messages(vector: dict[str, Any], *, stop: str = "", replaced: str = "") -> list[bytes]:
    """Return the messages of an exchange; with *stop*, up to that one, which is *replaced*."""
    carried = vector["messages"]
    parts = [carried, *carried.get("branches", []), *carried.get("reuse", [])]
    found: list[Any] = []
    for part in parts:
        for name in ORDER:
            if stop and name == stop:
                return [*found, bytes.fromhex(replaced)]
            if name in part:
                found.append(bytes.fromhex(part[name]))
    return found


def keys(vector: dict[str, Any]) -> Keys:
    credentials, identities = vector["credentials"], vector["identities"]
    parties = [credentials.get("initiator", {}), credentials.get("responder", {})]
    for branch in (*vector["messages"].get("branches", []), *vector["messages"].get("reuse", [])):
        parties += branch.get("credentials", {}).values()
    psks = [bytes.fromhex(party["psk"]) for party in parties if "psk" in party]
    envelopes = [
        bytes.fromhex(item["envelope_key"])
        for part in (vector["expect"], *vector["expect"].get("branches", []))
        for item in part.values()
        if isinstance(item, dict) and "envelope_key" in item
    ]
    named = {role: identities[role].encode() for role in ("initiator", "responder", "kms")}
    return Keys(
        psks=list(dict.fromkeys(psks)),
        tpks=[bytes.fromhex(credentials["tpk"])],
        envelopes=envelopes,
        kms_keys=[private_key(credentials["kms"], "kms")] if envelopes else [],
        names=Names(**named),
    )


def rejects(folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the name of each exchange with all rejects that rest on it, each after the messages before it."""
    grouped: dict[str, list[bytes]] = {}
    known = exchanges(folder)
    for vector in vectors(folder):
        if vector.get("kind") == "reject" and vector["base"] in known:
            sent = messages(known[vector["base"]], stop=vector["message"], replaced=vector["hex"])
            grouped.setdefault(vector["base"], []).extend(sent)
    yield from grouped.items()
