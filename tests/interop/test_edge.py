"""Calls by an edge proxy to devices that it reaches by their own connections only: the stack in Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab import programs
from tests.interop.lab.agents import Agent, Failed, settings, wait_until
from tests.interop.lab.edge import WEBSOCKET_PATH, Edge
from tests.interop.lab.kms import Kms, uri
from tests.interop.lab.namespace import Namespace

INSTANCE = "urn:uuid:00000000-0000-1000-8000-000a95a0e128"


@pytest.fixture
def edge(network: Namespace, tmp_path: Path) -> Iterator[Edge]:
    programs.need("kamailio")
    with Edge(tmp_path / "edge") as proxy:
        yield proxy


def at(edge: Edge, transport: str, **sip: Any) -> dict[str, Any]:
    """Settings of the stack in Python, which reaches *edge* by one transport."""
    secure = transport in ("tls", "wss")
    proxy = edge.websocket(secure=secure) if transport in ("ws", "wss") else edge.route(transport)
    more: dict[str, Any] = {"tls": str(edge.folder / "authority.pem")} if secure else {}
    return {
        "sip": {
            "stack": "python", "transports": [transport], "proxy": proxy, "outbound": True,
            "websocket_path": WEBSOCKET_PATH, **sip,
        },
        **more,
    }  # fmt: skip


@pytest.mark.parametrize(("calling", "called"), [("ws", "wss"), ("wss", "tls")])
def test_a_call_between_devices_behind_their_connections(
    calling: str, called: str, edge: Edge, kms: Kms
) -> None:
    """The caller's Contact asks for its flow, the callee's is its GRUU; both sides send within the dialog."""
    with (
        Agent(
            "bob", settings("bob", kms, proxy=edge, **at(edge, called, gruu=True, instance=INSTANCE))
        ) as bob,
        Agent("alice", settings("alice", kms, proxy=edge, **at(edge, calling))) as alice,
    ):
        for agent in (bob, alice):
            agent.do("register")
        number = alice.call(uri("bob"))
        alice.do("proven", call=number)
        assert alice.do("security", call=number)["signalling"] == calling
        theirs = bob.incoming()["call"]
        alice.do("hold", call=number)
        bob.event("call.state", state="held")
        edge.wait_for(f"INVITE within a dialog to the GRUU sip:bob@example.test;gr={INSTANCE}")
        bob.do("hangup", call=theirs)
        assert alice.event("call.end")["side"] == "remote"
        bye = edge.log[edge.wait_for("BYE within a dialog to sip:alice@")]
        assert ";ob by sip:" in bye


def test_one_registration_for_each_device(edge: Edge, kms: Kms) -> None:
    """A device that starts again takes the place of what it was; without an instance it is another device."""
    here = settings("bob", kms, proxy=edge, **at(edge, "ws", instance=INSTANCE))
    for _ in range(2):
        with Agent("bob", here) as bob:
            bob.do("register")
    assert len(edge.contacts("bob")) == 1
    with Agent("other", settings("bob", kms, proxy=edge, **at(edge, "ws"))) as other:
        other.do("register")
        assert len(edge.contacts("bob")) == 2
        other.do("unregister")
        assert len(edge.contacts("bob")) == 1


@pytest.mark.parametrize("transport", ["tcp", "ws"])
def test_a_lost_connection_is_followed_by_another_registration(transport: str, edge: Edge, kms: Kms) -> None:
    more = at(edge, transport, registration_retry_s=1)
    with Agent("bob", settings("bob", kms, proxy=edge, **more)) as bob:
        bob.do("register")
        before = bob.now
        edge.stop()
        assert bob.event("reg.fail", start=before)["status"] == 503
        edge.start()
        bob.event("reg.ok", start=before)
        wait_until(lambda: len(edge.contacts("bob")) == 1, "the registration")


def test_a_websocket_to_a_path_that_the_proxy_does_not_know(edge: Edge, kms: Kms) -> None:
    more = at(edge, "ws", websocket_path="/elsewhere")
    with (
        Agent("bob", settings("bob", kms, proxy=edge, **more)) as bob,
        pytest.raises(Failed, match=r"the WebSocket was refused: .* HTTP 404"),
    ):
        bob.do("register")
