"""A caller with the real MIKEY Initiator, played by a scripted SIP peer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sipmikey.agent.config import KeyManagement
from sipmikey.agent.tickets.store import TicketStore
from sipmikey.kms.client import HttpKmsClient
from sipmikey.mikey.secret import Secret
from sipmikey.sdp import Offerer
from sipmikey.sip import SipMessage
from sipmikey.system import environment
from sipmikey.testing.kms import TestKms
from sipmikey.ticket.request import TicketGrant
from tests.agent.calls.branches import CALLED, CALLER
from tests.agent.calls.scripted import RtpPorts, ScriptedPeer, description
from tests.agent.processes import Process, running_agent


async def grant_of(kms: TestKms, *, caller: str = CALLER) -> TicketGrant:
    """Return a ticket of *caller*'s for calls to bob."""
    user = kms.user(caller)
    keys = KeyManagement(
        kms=kms.identity, psk=Secret(bytes.fromhex(user.psk)), psk_id=user.psk_id.encode(), suites=("128",)
    )
    env = environment()
    async with HttpKmsClient(kms.url) as client:
        return await TicketStore(env, keys, caller).get(CALLED, client.request)


async def offer_of(
    kms: TestKms, ports: RtpPorts, *, caller: str = CALLER, grant: TicketGrant | None = None
) -> tuple[Offerer, str]:
    """Return *caller*'s Offerer for a call to bob, under a ticket of its own or *grant*, and its SDP."""
    grant = grant or await grant_of(kms, caller=caller)
    offerer = Offerer(environment(), grant=grant, called=CALLED)
    return offerer, offerer.make_offer(description(ports, profile="RTP/AVP"))


class Callee:
    """Bob's agent under test, and the peer that calls it."""

    def __init__(self, process: Process, peer: ScriptedPeer, ports: RtpPorts, address: str) -> None:
        self.process, self.peer, self.ports, self.address = process, peer, ports, address

    def invited(self, sdp: str, *, caller: str = CALLER, **more: Any) -> None:
        self.peer.invite(self.address, caller=caller, called=CALLED, sdp=sdp, **more)

    async def refused(self) -> SipMessage:
        """Return the final response, acknowledged."""
        final = await self.peer.response()
        self.peer.acknowledge(final, self.address)
        return final

    async def event(self, **wanted: Any) -> dict[str, Any]:
        return await self.process.until(**wanted)


@contextlib.asynccontextmanager
async def called(kms: TestKms | None, **settings: Any) -> AsyncIterator[Callee]:
    """Run bob's agent; *kms* None leaves it without one."""
    peer, ports = await ScriptedPeer.open(), await RtpPorts.open()
    if kms is not None:
        kms.user(CALLER)
        user = kms.user(CALLED)
        settings = {"psk": user.psk, "psk_id": user.psk_id, "kms_url": kms.url} | settings
    async with running_agent({"identity": CALLED, **settings}) as process:
        ready = await process.until(type="ready")
        yield Callee(process, peer, ports, ready["contact"].rpartition("@")[2])
        assert await process.close() == 0
    peer.close()
    ports.close()
