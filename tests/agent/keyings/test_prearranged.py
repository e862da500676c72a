"""A third keying, of one file that is not in the package: real calls with it, sound proven at both ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.agent import Agent, AgentConfig, Audio, Call, CallFailed, CallPolicy, Sip
from sipmikey.agent.config import Transport
from sipmikey.call import KeyingKind, Lane, Words
from sipmikey.call.conference import exposed
from sipmikey.call.events import MediaProtection, Security
from sipmikey.call.keying.known import add_keying, known
from sipmikey.call.policy import SecurityMode
from sipmikey.call.reasons import Reason
from sipmikey.mikey.errors import LocalError
from sipmikey.phone.facts import Mood, media_fact
from tests.agent.hearing import write_voice
from tests.agent.keyings.prearranged import PREARRANGED, SUITE

ALICE, BOB = "sip:alice@example.com", "sip:bob@example.com"


@pytest.fixture
def prearranged() -> Iterator[None]:
    """The keying is known, which is all that it takes."""
    with known(PREARRANGED):
        yield


def config(identity: str, stack: str, folder: Path, *, alternative: str = "prearranged") -> AgentConfig:
    name = identity.partition(":")[2].partition("@")[0]
    return AgentConfig(
        identity=identity,
        policy=CallPolicy(security=SecurityMode.PREFERRED, alternative=alternative),
        sip=Sip(bind="127.0.0.1", stack=stack, transports=(Transport.UDP,)),
        audio=Audio(device="null", play=Path(write_voice(folder, name)), record=folder / f"{name} heard.wav"),
    )


@contextlib.asynccontextmanager
async def call(caller: Agent, callee: Agent) -> AsyncIterator[tuple[Call, Call]]:
    """Call, answer, and wait until each side has verified a packet of the other."""
    ours = await caller.call(callee.identity, via=callee.contact)
    ringing = await callee.incoming()
    theirs = await ringing.answer()
    await ours.established()
    await asyncio.gather(ours.proven(), theirs.proven())
    yield ours, theirs
    await ours.hangup()
    await theirs.ended()


@pytest.mark.usefixtures("prearranged")
@pytest.mark.parametrize(("first", "second"), [("pjsua2", "python"), ("python", "pjsua2")])
def test_calls_in_both_directions_are_keyed_by_it(first: str, second: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            Agent(config(ALICE, first, tmp_path)) as alice,
            Agent(config(BOB, second, tmp_path)) as bob,
        ):
            async with call(alice, bob) as (ours, theirs):
                for one, peer in ((ours, BOB), (theirs, ALICE)):
                    security = one.security
                    assert (security.keying, security.suite, security.peer) == ("prearranged", SUITE, peer)
                    assert security.kms is None
                await ours.hold()
                await ours.resume()
            async with call(bob, alice) as (ours, _):
                assert ours.security.keying == "prearranged"

    asyncio.run(scenario())


@pytest.mark.usefixtures("prearranged")
def test_a_peer_whose_policy_does_not_name_it_refuses_the_call(tmp_path: Path) -> None:
    async def scenario() -> CallFailed:
        async with (
            Agent(config(ALICE, "python", tmp_path)) as alice,
            Agent(config(BOB, "python", tmp_path, alternative="none")) as bob,
        ):
            ours = await alice.call(BOB, via=bob.contact)
            with pytest.raises(CallFailed) as failed:
                await ours.established()
        return failed.value

    assert asyncio.run(scenario()).reason is Reason.KEY_MGMT_MISSING


def test_without_the_file_its_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"^security\.alternative: 'prearranged' is not one of none, sdes,"):
        config(ALICE, "python", tmp_path)


@pytest.mark.usefixtures("prearranged")
def test_a_name_is_taken_once() -> None:
    with pytest.raises(LocalError, match="a keying named 'prearranged' is known already"):
        add_keying(PREARRANGED)


def test_what_does_not_say_who_can_know_its_keys_is_never_shown_as_good() -> None:
    careless = KeyingKind(
        name="careless", lane=Lane.SECURED, place=5, words=Words(short="careless", label="careless"),
        recognises=PREARRANGED.recognises, calling=PREARRANGED.calling, called=PREARRANGED.called,
        alternatives={"careless": ()},
    )  # fmt: skip
    facts = {"media": "proven", "suite": SUITE}
    with known(careless), known(PREARRANGED):
        shown = {name: media_fact({**facts, "keying": name}) for name in ("careless", "prearranged", "other")}
        leg = Security(signalling="tls", media=MediaProtection.PROVEN, keying="careless")
        assert exposed({"1": leg, "2": replace(leg, keying="prearranged")}) == ["1"]
    assert {name: fact.mood for name, fact in shown.items()} == {
        "careless": Mood.BAD, "prearranged": Mood.GOOD, "other": Mood.OPEN,
    }  # fmt: skip
    assert shown["careless"].sentence.message == "Others may know the keys of this call."
