"""A call to a user with several devices, in every mode: whose keys each device has, and who gets the call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sipmikey.call.keying.means import Incoming, Means, TicketMeans
from sipmikey.call.keying.ticket_keying import TicketKeying
from sipmikey.call.policy import CallPolicy
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.replay import ReplayCache
from sipmikey.ticket.shared_keys import SharedTicketKey
from tests.interop.lab.agents import Agent, Failed
from tests.interop.lab.kms import IDENTITY, uri
from tests.interop.lab.peer import SipPeer, ask_kms, credential, plain_sdp
from tests.interop.lab.sip import SipMessage
from tests.interop.modes.grounds import FULL, KERBEROS, MODES, OTWAY_REES, PK, PRESHARED, Grounds, asked

PORT = 4000


class Device:
    """One device of bob's, which answers an INVITE in any mode."""

    def __init__(self, grounds: Grounds, mode: str, tag: str) -> None:
        self.tag = tag
        self._grounds = grounds
        self._settings = grounds.called(mode)
        self._caller = uri(grounds.caller(mode))
        self._credential = None if mode == PRESHARED else credential(grounds.kms, "bob")

    def answer(self, invite: SipMessage) -> str:
        """Return the SDP that answers *invite*."""
        keys = tuple(map(_shared, self._settings["keys"].get("ticket_keys", ())))
        replay = ReplayCache(clock_skew_s=300)
        tickets = TicketMeans(credential=self._credential, kms=IDENTITY, ticket_keys=keys, replay=replay)
        means = Means(env=environment(), policy=CallPolicy(), identity=uri("bob"), tickets=tickets)
        keying = TicketKeying.called(means, Incoming(caller=self._caller, offer=invite.sdp))
        keying.receive_offer(invite.sdp)
        if (question := keying.question()) is not None:
            keying.receive_kms(ask_kms(self._grounds.kms, question.message, "ticketresolve"))
        return keying.make_answer(plain_sdp(PORT))[0]


def _shared(section: dict[str, str]) -> SharedTicketKey:
    key_id = bytes.fromhex(section.get("key_id", "")) or None
    key = Secret(bytes.fromhex(section["key"]))
    return SharedTicketKey(owner=section["owner"], tpk=TicketProtectionKey(key=key, key_id=key_id))


@pytest.fixture
def bob(grounds: Grounds) -> Iterator[SipPeer]:
    """A hand-written bob behind the proxy, who answers as several devices."""
    with SipPeer("bob") as peer:
        grounds.kamailio.bind("bob", peer.contact)
        yield peer


@pytest.mark.parametrize("mode", [PK, KERBEROS, OTWAY_REES, PRESHARED])
def test_two_devices_ring_and_one_answers(mode: str, grounds: Grounds, speech: Path) -> None:
    """Both open the ticket, or each has the KMS resolve it; the second answers, and only it uses keys."""
    with ExitStack() as running:
        of_bob = grounds.called(mode, incoming="ring")
        first, second = (running.enter_context(Agent(name, of_bob)) for name in ("bob-1", "bob-2"))
        alice = running.enter_context(Agent("alice", grounds.calling(mode, play=speech)))
        for agent in (first, second):
            agent.do("register")
        number = alice.do("call", uri=uri("bob"))
        ringing = {agent: agent.incoming()["call"] for agent in (first, second)}
        resolved = ["ticket-resolve"] if mode in (PK, OTWAY_REES) else []
        assert [asked(agent) for agent in (first, second)] == [resolved, resolved]
        second.do("answer", call=ringing[second])
        alice.do("established", call=number)
        assert first.event("call.end")["reason"] == "cancelled"
        assert not first.keys()
        assert alice.keys()[-1]["send"] == second.keys()[-1]["receive"]
        security = alice.events("call.answered")[0]["security"]
        assert (security["peer"], security["media"]) == (uri("bob"), "keyed")
        alice.do("hangup", call=number)


@pytest.mark.parametrize("mode", [FULL, PK, OTWAY_REES])
def test_each_device_has_keys_of_its_own(mode: str, grounds: Grounds, bob: SipPeer) -> None:
    """Two answers to one offer: other keys for each, and the caller's follow the branch."""
    with Agent("alice", grounds.calling(mode)) as alice:
        number = alice.do("call", uri=uri("bob"))
        invite = bob.request("INVITE")
        for tag in ("first", "second"):
            answer = Device(grounds, mode, tag).answer(invite)
            bob.respond(invite, 183, "Session Progress", tag=tag, body=answer)
            alice.event("media.keyed", to_tag=tag)
        assert len({given["send"] for given in alice.events("kit.srtp_keys")}) == 2
        bob.respond(invite, 486, "Busy Here", tag="first")
        assert refused(alice, number).reason == "busy"


def refused(alice: Agent, number: str) -> Failed:
    with pytest.raises(Failed) as failed:
        alice.do("established", call=number)
    return failed.value


@pytest.mark.parametrize("mode", MODES)
def test_without_keys_of_its_own_the_first_device_has_the_call(
    mode: str, grounds: Grounds, bob: SipPeer
) -> None:
    """A second device that answers would have the first one's keys."""
    with Agent("alice", grounds.calling(mode, keys={"key_forking": False})) as alice:
        number = alice.do("call", uri=uri("bob"))
        invite = bob.request("INVITE")
        answers = {tag: Device(grounds, mode, tag).answer(invite) for tag in ("first", "second")}
        bob.respond(invite, 183, "Session Progress", tag="first", body=answers["first"])
        alice.event("media.keyed", to_tag="first")
        bob.respond(invite, 183, "Session Progress", tag="second", body=answers["second"])
        told = alice.event("mikey.refused")
        assert (told["to_tag"], told["reason"]) == ("second", "fork-not-keyed")
        bob.respond(invite, 200, "OK", tag="first", body=answers["first"])
        alice.do("established", call=number)
        assert alice.event("fork.committed")["to_tag"] == "first"
        bob.request("ACK", tag="first")
        alice.start("hangup", call=number)
        bob.respond(bob.request("BYE"), 200, "OK")
        alice.event("call.end")


@pytest.mark.parametrize("mode", MODES)
def test_without_keys_of_its_own_a_second_device_ends_the_call_by_policy(
    mode: str, grounds: Grounds, bob: SipPeer
) -> None:
    strict: dict[str, Any] = {"policy": {"forked": "refuse"}, "keys": {"key_forking": False}}
    with Agent("alice", grounds.calling(mode, **strict)) as alice:
        number = alice.do("call", uri=uri("bob"))
        invite = bob.request("INVITE")
        for tag in ("first", "second"):
            bob.respond(invite, 180, "Ringing", tag=tag)
        cancel = bob.request("CANCEL")
        bob.respond(cancel, 200, "OK")
        bob.respond(invite, 487, "Request Terminated", tag="first")
        assert refused(alice, number).reason == "fork-not-keyed"
