"""Workers of one KMS that are told of the same users and groups at the same moment, on each kind of store."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from sipmikey.kms.administration.audit_acts import Actor
from sipmikey.kms.provisioning.acts import LDAP, Provisioner
from sipmikey.kms.provisioning.people import DirectoryGroup, DirectoryUser, Found, Pattern
from sipmikey.kms.provisioning.plan import plan_of
from sipmikey.kms.provisioning.synchronise import synchronise
from sipmikey.kms.scim.desk import ScimDesk, ScimReply, ScimRequest, ScimSettings
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.secret import Secret

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
KEY = Secret(bytes(range(32)))
WORKERS = 2
ACTOR = Actor(name="scim tests", source="127.0.0.1")
Act = Callable[[Store, ScimDesk, threading.Barrier], Awaitable[list[ScimReply]]]


def desk(store: Store) -> ScimDesk:
    settings = ScimSettings(
        identities=(Pattern("sip:{userName}@example.com", "identities"),),
        group=Pattern("sip:{displayName}@groups.example.com", "group"),
        base="https://kms.example.com/scim/v2",
    )
    return ScimDesk(store, settings, time.time_ns)


async def ask(to: ScimDesk, method: str, path: str, **document: Any) -> ScimReply:
    return await to.handle(ScimRequest(method=method, path=path, body=json.dumps(document).encode()), ACTOR)


def at_once(url: str, act: Act) -> Sequence[tuple[ScimReply, ...]]:
    """Have each worker, a thread with a store of its own, do *act*; return the answers, act by act."""
    start = threading.Barrier(WORKERS, timeout=20)
    answers: list[list[ScimReply]] = [[] for _ in range(WORKERS)]

    async def worker(number: int) -> None:
        store = await open_store(url, KEY)
        try:
            answers[number] = await act(store, desk(store), start)
        finally:
            await store.close()

    threads = [threading.Thread(target=asyncio.run, args=(worker(number),)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return list(zip(*answers, strict=True))


def on_store(url: str, act: Callable[[Store], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        store = await open_store(url, KEY, create=True)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(body())


async def _count(store: Store) -> tuple[int, int, int]:
    kept = store.provisioned
    return await store.subscribers.count(), await kept.count("scim"), len(await kept.groups("scim"))


@pytest.mark.parametrize("names", [("ann{}", "ann{}"), ("ann{}", "ANN{}")])
def test_one_of_two_workers_adds_a_name(store_url: str, names: tuple[str, str]) -> None:
    assert on_store(store_url, _count) == (0, 0, 0)

    async def act(store: Store, to: ScimDesk, start: threading.Barrier) -> list[ScimReply]:
        answers = []
        for number in range(6):
            name = names[start.wait()].format(number)
            answers.append(await ask(to, "POST", "/Users", schemas=[USER], userName=name))
            start.wait()
            answers.append(await ask(to, "POST", "/Groups", schemas=[GROUP], displayName=name))
        return answers

    for pair in at_once(store_url, act):
        assert sorted(reply.status for reply in pair) == [201, 409], pair
        (refused,) = (reply.document for reply in pair if reply.status == 409)
        assert refused is not None
        assert refused["scimType"] == "uniqueness"
    assert on_store(store_url, _count) == (6, 6, 6)


def test_one_of_two_workers_changes_and_both_see_a_user_gone(store_url: str) -> None:
    async def made(store: Store) -> str:
        reply = await ask(desk(store), "POST", "/Users", schemas=[USER], userName="ann")
        assert reply.document is not None
        return f"/Users/{reply.document['id']}"

    path = on_store(store_url, made)

    async def rename(store: Store, to: ScimDesk, start: threading.Barrier) -> list[ScimReply]:
        answers = []
        for number in range(4):
            operation = {"op": "replace", "path": "userName", "value": f"ann{number}-{start.wait()}"}
            answers.append(await ask(to, "PATCH", path, schemas=[PATCH], Operations=[operation]))
        start.wait()
        answers.append(await ask(to, "DELETE", path))
        return answers

    *renamed, deleted = at_once(store_url, rename)
    for pair in renamed:
        assert sorted(reply.status for reply in pair) in ([200, 200], [200, 409]), pair
    assert sorted(reply.status for reply in deleted) in ([204, 204], [204, 404], [204, 409])
    assert on_store(store_url, _count) == (0, 0, 0)


def test_a_directory_is_followed_on_every_store(store_url: str) -> None:
    people = [
        DirectoryUser(key=f"k{n}", shown=f"n{n}", identities=(f"sip:n{n}@example.com",)) for n in range(3)
    ]
    everybody = DirectoryGroup(
        key="g", shown="g", uri="sip:g@groups.example.com", members=frozenset({"k0", "k1"})
    )

    async def follow(store: Store) -> tuple[dict[str, int], dict[str, int]]:
        provisioner = Provisioner(store, LDAP, ACTOR)
        counts = []
        for found in (Found(users=people, groups=[everybody]), Found(users=people[1:], groups=[])):
            users, groups = await provisioner.users(), await store.provisioned.groups(LDAP)
            done = await synchronise(provisioner, plan_of(found, users, groups))
            assert done.problems == []
            counts.append({what: count for what, count in done.counts.items() if count})
        assert (await store.subscribers.get("sip:n0@example.com")).enabled is False
        return counts[0], counts[1]

    assert on_store(store_url, follow) == (
        {"add": 3, "group-add": 1, "group-members": 1},
        {"leave": 1, "group-remove": 1},
    )
