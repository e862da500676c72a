"""Presence by a real server, Kamailio: the stack in Python watches, publishes, and is told of everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.lab import programs
from tests.interop.lab.agents import Agent, Failed, settings
from tests.interop.lab.kms import uri
from tests.interop.lab.namespace import Namespace
from tests.interop.lab.packets import referee
from tests.interop.lab.packets.capture import Capture
from tests.interop.lab.presence import PresenceServer


@pytest.fixture
def server(network: Namespace, tmp_path: Path) -> Iterator[PresenceServer]:
    programs.need("kamailio")
    PresenceServer.need()
    with PresenceServer(tmp_path / "presence") as running:
        yield running


def at(server: PresenceServer, user: str, **sip: Any) -> dict[str, Any]:
    """Settings of an agent on the stack in Python, which sends all it has to *server*."""
    more = {"stack": "python", "registration_retry_s": 1, **sip}
    return settings(user, None, proxy=server, sip=more, policy={"security": "off"})


def seen(agent: Agent, state: str, start: int = 0) -> dict[str, Any]:
    """Wait for what a server says of alice."""
    return agent.event("presence.changed", start=start, identity=uri("alice"), state=state)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_bob_watches_alice(transport: str, capture: Capture, server: PresenceServer) -> None:
    """From the configuration; she comes, changes, and goes; he is told, and watches no longer."""
    way = {"proxy": server.route(transport), "transports": [transport]}
    with (
        Agent("bob", at(server, "bob", presence=[uri("alice")], **way)) as bob,
        Agent("alice", at(server, "alice", **way)) as alice,
    ):
        assert seen(bob, "unknown")["watch"] == "active"
        alice.do("publish_presence", reachable=True, note="at my desk")
        there = seen(bob, "open")
        assert (there["note"], there["watch"], there["detail"]) == ("at my desk", "active", "")
        assert there["source"].startswith(f"{server.address}:")
        alice.do("publish_presence", reachable=False)
        assert seen(bob, "closed")["note"] == ""
        start = bob.now
        alice.do("publish_presence", reachable=True)
        seen(bob, "open", start)
        start = bob.now
        bob.do("unwatch", uri=uri("alice"))
        bob.do("watch", uri=uri("alice"))
        seen(bob, "open", start)
    assert referee.sip_faults(capture) == []
    assert capture.count("sip.Method == SUBSCRIBE && sip.Proxy-Authorization") >= 3
    assert capture.count("sip.Method == PUBLISH && sip.Proxy-Authorization") >= 3
    assert capture.count("sip.Method == NOTIFY") >= 5
    assert capture.count("sip.Status-Code == 200 && sip.CSeq.method == NOTIFY") >= 5
    assert capture.count("sip.Status-Code >= 408") == 0


def test_what_was_published_is_taken_back(server: PresenceServer) -> None:
    with (
        Agent("bob", at(server, "bob")) as bob,
        Agent("alice", at(server, "alice")) as alice,
    ):
        alice.do("publish_presence", reachable=True)
        bob.do("watch", uri=uri("alice"))
        seen(bob, "open")
        start = bob.now
        alice.do("publish_presence", reachable=None)
        gone = bob.event("presence.changed", start=start)
        assert gone["state"] != "open"


def test_a_server_that_comes_back(server: PresenceServer) -> None:
    """What it said is not believed while it is away, and is asked again."""
    with (
        Agent("bob", at(server, "bob", transports=["tcp"], proxy=server.route("tcp"))) as bob,
        Agent("alice", at(server, "alice")) as alice,
    ):
        alice.do("publish_presence", reachable=True)
        bob.do("watch", uri=uri("alice"))
        seen(bob, "open")
        start = bob.now
        server.stop()
        assert seen(bob, "unknown", start)["watch"] == "pending"
        server.start()
        again = bob.now
        assert seen(bob, "unknown", again)["watch"] == "active", "it has forgotten alice"


def test_a_wrong_password_watches_nobody(server: PresenceServer) -> None:
    digest = {"username": "bob", "password": "guess"}
    with Agent("bob", {**at(server, "bob", presence=[uri("alice")]), "digest": digest}) as bob:
        refused = seen(bob, "unknown")
        assert refused["watch"] == "pending"
        assert refused["detail"].startswith("407")


def test_what_is_not_watched(server: PresenceServer) -> None:
    with Agent("bob", at(server, "bob")) as bob, pytest.raises(Failed, match="not a SIP URI"):
        bob.do("watch", uri="tel:+358401234567")
