"""A group session across domains: a member asks its own KMS, which asks the one that made the ticket."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.group.sessions import GroupSessions
from sipmikey.agent.tickets.correspondent import Correspondent
from sipmikey.agent.tickets.kms import KmsDesk
from sipmikey.call.reasons import AgentError
from sipmikey.kms.client import ClientTls, HttpKmsClient
from sipmikey.system import environment
from tests.kms.http.serving import ALICE, KMS, TICKET_RESOLVE, Subscriber, command
from tests.kms.http.test_forwarding import BOB, OTHER_KMS, Pair

TALK = "sip:talk@example.com"
CAROL, SUPPORT = "sip:carol@example.org", "sip:support@example.org"
FRAME = bytes(160)


class Domains:
    """alice@example.com with her KMS, bob and carol@example.org with theirs; SIP is a function call."""

    def __init__(self, pair: Pair) -> None:
        self._ca = pair.ca
        self.sessions: dict[str, GroupSessions] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, stack: AsyncExitStack, who: Subscriber, url: str, kms: str) -> GroupSessions:
        client = HttpKmsClient(url, tls=ClientTls(ca_file=self._ca), timeout_s=20.0)
        await stack.enter_async_context(client)
        us = Correspondent(
            env=environment(),
            keys=KeyManagement(kms=kms, psk=who.psk.key, psk_id=who.psk.key_id),
            identity=who.identity,
            kms=KmsDesk(client, home=kms, timeout_s=20.0, publish=lambda event: None),
            send=lambda to, body: self._carry(who.identity, to, body),
            answer_s=20.0,
        )
        made = self.sessions[who.identity] = GroupSessions(us)
        return made

    def _carry(self, sender: str, to: str, body: str) -> None:
        task = asyncio.ensure_future(self.sessions[to].take(sender, body.encode()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def test_a_member_of_another_domain_joins_and_somebody_outside_does_not(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    outsider = pair.relay.add(CAROL)
    command("group", "add", "--dir", pair.issuer.directory, TALK, ALICE, BOB)

    async def scene(issuer: str, relay: str) -> None:
        domains = Domains(pair)
        async with AsyncExitStack() as stack:
            alice = await domains.join(stack, pair.alice, issuer, KMS)
            bob = await domains.join(stack, pair.bob, relay, OTHER_KMS)
            carol = await domains.join(stack, outsider, relay, OTHER_KMS)
            chair = alice.chair(TALK, media="239.255.60.43:5004", announces=False, tell=lambda notice: None)
            member = bob.member(TALK, chair=ALICE, tell=lambda notice: None)
            await member.join()
            assert chair.members == (BOB,)
            assert member.talk.open(chair.talk.protect(FRAME, 160)).payload == FRAME
            with pytest.raises(AgentError):
                await carol.member(TALK, chair=ALICE, tell=lambda notice: None).join()
            assert chair.members == (BOB,)

    with pair.running(OTHER_KMS) as (issuer, relay):
        asyncio.run(scene(issuer.url, relay.url))
        # Of the groups of bob's domain his own KMS knows who is in: the other one would believe it.
        command("group", "add", "--dir", pair.relay.directory, SUPPORT, CAROL)
        for responders in ((SUPPORT,), (TALK, SUPPORT)):
            resolve = pair.bob.resolve(pair.grant(issuer, *responders), pair.alice, kms=OTHER_KMS)
            assert pair.post(relay, resolve.message, TICKET_RESOLVE)[:2] == (403, "not-authorized")
