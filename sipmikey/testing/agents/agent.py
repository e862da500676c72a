"""An agent under test: it lives in a process and is driven with the verbs of a call tester."""

from __future__ import annotations

import time
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from sipmikey.call.events import event_types
from sipmikey.call.reasons import Reason
from sipmikey.media.similarity import Likeness, compare_files
from sipmikey.settings import nearest
from sipmikey.testing.agent_driver import (
    WAIT_S,
    AgentProcess,
    CallRefused,
    Fields,
    TestFailure,
)
from sipmikey.testing.agents.call_verbs import CallVerbs
from sipmikey.testing.agents.group_verbs import GroupVerbs
from sipmikey.testing.agents.message_verbs import MessageVerbs
from sipmikey.testing.agents.pool import AgentPool
from sipmikey.testing.agents.settings import AgentSettings
from sipmikey.testing.external import PhoneUnderTest
from sipmikey.testing.mailbox import TestMailbox
from sipmikey.testing.switchboard import Switchboard

EVENTS = tuple(kind.type for kind in event_types())
PROFILES = {"256": "AES_256_CM_HMAC_SHA1_80", "128": "AES_CM_128_HMAC_SHA1_80"}
PACE_S = 0.1
"""Between two calls of a process: pjsua2 aborts when they follow one another within about 10 ms."""


class TestAgent(CallVerbs, MessageVerbs, GroupVerbs):
    """An agent. It is started by the first verb that needs it; until then its settings can be changed.

    Verbs without ``call`` are about the latest call. All of them raise TestFailure when what they are
    for does not happen in time.
    """

    __test__ = False

    def __init__(
        self,
        settings: AgentSettings,
        folder: Path,
        switchboard: Switchboard | None,
        watch: Callable[[str], None] = lambda contact: None,
        *,
        pool: AgentPool | None = None,
        mailbox: TestMailbox | None = None,
        others: Callable[[], str] = lambda: "",
    ) -> None:
        self.settings = settings
        self.mailbox = mailbox
        self.name = settings.identity.partition(":")[2].partition("@")[0]
        self.folder = folder
        self.events: list[Fields] = []
        self.contact = ""
        self._switchboard = switchboard
        self._watch = watch
        self._pool = pool
        self._others = others
        self._process: AgentProcess | None = None
        self._call = ""
        self._refused: CallRefused | None = None
        if pool is None:
            settings.log = settings.log or str(folder / f"{self.name}.log")

    @property
    def identity(self) -> str:
        """The agent's SIP URI."""
        return self.settings.identity

    def start(self) -> Self:
        """Start the process and connect the agent to the switchboard; a second call does nothing."""
        if self._process is not None:
            return self
        chosen = self.settings
        if chosen.play or chosen.record:
            self._pool = None
        if self._pool is not None:
            self._process = self._pool.take(self.name, chosen.document(), self.events)
        else:
            chosen.record = chosen.record or str(self.folder / f"{self.name}-heard.wav")
            chosen.log = chosen.log or str(self.folder / f"{self.name}.log")
            self._process = AgentProcess(self.name, chosen.document(), self.events)
        self._process.situation = self._others
        self.contact = self._process.contact
        self._watch(self.contact)
        if self._switchboard is not None:
            host, port = self.contact.partition("@")[2].partition(";")[0].rsplit(":", 1)
            self._switchboard.connect(self.identity, host, int(port))
        return self

    @property
    def process(self) -> AgentProcess:
        """The agent's process, started if it was not."""
        self.start()
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        """End the process, or leave it to the next test where agents are shared. A crash stays a failure."""
        if self._process is None:
            return
        if self._pool is not None:
            self._pool.give_back(self.settings.document(), self._process)
        else:
            self._process.stop()

    def crash_report(self) -> str | None:
        """Return how the process died, or None when it did not."""
        return None if self._process is None else self._process.crash_report()

    def do(self, verb: str, *, timeout_s: float = WAIT_S, **given: Any) -> Any:
        """Carry out a command of the agent's process and return its result; raises CallRefused."""
        if self._refused is not None and verb != "call":
            raise self._refused
        return self.process.do(verb, timeout_s=timeout_s, **given)

    def wait_for(
        self, kind: str, *, timeout_s: float = WAIT_S, call: str | None = None, **values: Any
    ) -> Fields:
        """Wait for an event of type *kind* (of one call, with these values) and return it."""
        if not kind.startswith("kit.") and kind not in EVENTS:
            raise TestFailure(f"there is no event {kind!r}; {nearest(kind, EVENTS)}")
        if call is not None:
            values["call"] = call
        return self.process.event(kind, timeout_s=timeout_s, **values)

    def all(self, kind: str) -> list[Fields]:
        """Return the events of type *kind* so far."""
        return [event for event in self.events if event["type"] == kind]

    def set_mode(self, mode: str, *ticket_keys: Mapping[str, str]) -> Self:
        """Choose the mode of our calls, and the ticket keys that we share. Before we are used."""
        if self._process is not None:
            raise TestFailure(f"{self.name}: choose the mode before the agent is used")
        self.settings.change(mode=mode, ticket_keys=(*self.settings.ticket_keys, *ticket_keys))
        return self

    def play(self, wav: Path | str) -> Self:
        """Choose the WAV file that this agent says in its calls. Before its first call."""
        if self._process is not None:
            raise TestFailure(f"{self.name}: choose what to play before the agent is used")
        self.settings.play = str(wav)
        return self

    def record(self) -> Self:
        """Write what this agent hears, for `heard` and `expect_audio`. Before its first call.

        Every agent does so unless agents are shared; one that records or plays has a process of its own.
        """
        if self._process is not None:
            raise TestFailure(f"{self.name}: say that it records before the agent is used")
        self.settings.record = str(self.folder / f"{self.name}-heard.wav")
        return self

    def call(
        self, callee: TestAgent | PhoneUnderTest | str, *, via: str | None = None, timeout_s: float = WAIT_S
    ) -> str:
        """Call an agent or a URI and return the number of the call, once its INVITE is on the way.

        *via*: a SIP URI to which the INVITE goes, where the callee's identity does not lead there.
        When there is no INVITE, as the KMS gave no ticket, the next verb raises (`expect_failure` takes it).
        """
        if isinstance(callee, PhoneUnderTest):
            uri, via = callee.uri, via or callee.via
        else:
            uri = callee if isinstance(callee, str) else callee.start().identity
        process = self.process
        time.sleep(max(0.0, process.last_call_at + PACE_S - time.monotonic()))
        process.last_call_at = time.monotonic()
        try:
            self._call, self._refused = "", None
            self._call = str(self.do("call", uri=uri, via=via, timeout_s=timeout_s))
        except CallRefused as refused:
            self._refused = refused
        return self._call

    def expect_ringing(self, *, caller: TestAgent | None = None, timeout_s: float = WAIT_S) -> str:
        """Wait until this agent rings, for *caller* if given, and return the number of the call."""
        known = {event["call"] for event in self.all("kit.answered")}

        def found() -> Fields | None:
            return next((event for event in self.all("kit.ringing") if event["call"] not in known), None)

        event = self.process.wait("incoming call", found, timeout_s=timeout_s)
        if caller is not None and _user(event["caller"]) != _user(caller.identity):
            raise TestFailure(f"{self.name}: {event['caller']} is calling, not {caller.identity}")
        self._call, self._refused = str(event["call"]), None
        return self._call

    def expect_ringback(self, *, timeout_s: float = WAIT_S) -> Fields:
        """Wait until the other side of our call rings."""
        return self.wait_for("call.ringing", call=self._call, timeout_s=timeout_s)

    def answer(self, *, timeout_s: float = WAIT_S) -> None:
        """Answer the call that rings."""
        self.do("answer", call=self._call, timeout_s=timeout_s)
        self.events.append({"type": "kit.answered", "call": self._call, "at": time.time()})

    def reject(self, status: int = 603) -> None:
        """Refuse the call that rings."""
        self.do("reject", call=self._call, status=status)
        self.events.append({"type": "kit.answered", "call": self._call, "at": time.time()})

    def expect_established(self, *, timeout_s: float = WAIT_S) -> None:
        """Wait until the call is answered and its media keyed; raises CallRefused."""
        self.do("established", call=self._call, timeout_s=timeout_s)

    def expect_secure(
        self,
        *,
        identity: TestAgent | PhoneUnderTest | str | None = None,
        suite: str | None = None,
        timeout_s: float = WAIT_S,
    ) -> Fields:
        """Wait until a packet of the other side has verified, and check whom the KMS vouches for.

        *identity*: who it must be. *suite*: `256` or `128`. Returns the three facts of the call.
        """
        self.do("established", call=self._call, timeout_s=timeout_s)
        self.do("proven", call=self._call, timeout_s=timeout_s)
        facts: Fields = self.do("security", call=self._call)
        if facts["media"] != "proven":
            raise TestFailure(f"{self.name}: media is {facts['media']}, not proven")
        if facts["peer"] is None:
            raise TestFailure(f"{self.name}: no KMS vouches for the other side")
        wanted = _identity(identity)
        if wanted is not None and facts["peer"] != wanted:
            raise TestFailure(f"{self.name}: the KMS vouches for {facts['peer']}, not for {wanted}")
        if suite is not None and facts["suite"] != PROFILES[suite]:
            raise TestFailure(f"{self.name}: SRTP is {facts['suite']}, not {PROFILES[suite]}")
        return facts

    def expect_failure(
        self, *, reason: str, status: int | None = None, detail: str = "", timeout_s: float = WAIT_S
    ) -> CallRefused:
        """Wait for the call to fail for that *reason*, with that SIP *status*, *detail* in its text."""
        if reason not in set(Reason):
            raise TestFailure(f"there is no reason {reason!r}; {nearest(reason, tuple(Reason))}")
        try:
            self.do("established", call=self._call, timeout_s=timeout_s)
        except CallRefused as refused:
            self._refused = None
            if (
                refused.reason != reason
                or status not in (None, refused.status)
                or detail not in refused.detail
            ):
                expected = " ".join(str(word) for word in (reason, status, detail) if word)
                raise TestFailure(f"expected {expected}, but {refused}") from None
            return refused
        raise TestFailure(f"{self.name}: the call was established; expected {reason}")

    def hangup(self, *, timeout_s: float = WAIT_S) -> None:
        """End the call and wait until it is over."""
        self.do("hangup", call=self._call, timeout_s=timeout_s)

    def expect_end(self, *, reason: str = "hangup", timeout_s: float = WAIT_S) -> Fields:
        """Wait for the end of the call and return its event."""
        end = self.wait_for("call.end", call=self._call, timeout_s=timeout_s)
        if end["reason"] != reason:
            raise TestFailure(
                f"{self.name}: the call ended with {end['reason']} ({end['detail']}), not {reason}"
            )
        return end

    def expect_played(self, *, timeout_s: float = WAIT_S) -> None:
        """Wait until the file chosen with `play` was played to its end."""
        self.wait_for("audio.played", timeout_s=timeout_s)

    def expect_audio(self, wav: Path | str, *, timeout_s: float = WAIT_S) -> Likeness:
        """Wait for the end of the call and check that *wav* was heard. Returns how well."""
        likeness = self.heard(wav, timeout_s=timeout_s)
        if not likeness.same:
            raise TestFailure(
                f"{self.name} did not hear {Path(wav).name}: correlation {likeness.score},"
                f" {likeness.matched} of {likeness.sections} sections found"
            )
        return likeness

    def heard(self, wav: Path | str, *, timeout_s: float = WAIT_S) -> Likeness:
        """Wait for the end of the call and compare what was heard with *wav*."""
        if not self.settings.record:
            raise TestFailure(f"{self.name} is shared and does not record: record() before it is used")
        self.wait_for("call.end", call=self._call, timeout_s=timeout_s)
        return compare_files(Path(wav), self._recording())

    def _recording(self) -> Path:
        """Return the recording of the latest call once it is complete, which is just after the call's end."""
        first = Path(self.settings.record)
        calls = len(self.all("call.answered"))
        path = first if calls < 2 else first.with_stem(f"{first.stem}-{calls}")
        deadline = time.monotonic() + WAIT_S
        while not _complete(path):
            if time.monotonic() > deadline:
                raise TestFailure(f"{self.name}: nothing was heard, or {path} was not completed")
            time.sleep(0.02)
        return path


def _complete(path: Path) -> bool:
    """Return whether a recording has its length in its head: that is written last."""
    try:
        with wave.open(str(path), "rb") as file:
            return file.getnframes() > 0
    except (OSError, EOFError, wave.Error):
        return False


def _identity(party: TestAgent | PhoneUnderTest | str | None) -> str | None:
    if isinstance(party, PhoneUnderTest):
        return party.uri
    return party.identity if isinstance(party, TestAgent) else party


def _user(uri: str) -> str:
    """Return user and host of a URI that may have a display name and parameters."""
    return uri.rpartition("<")[2].partition(">")[0].partition(":")[2].partition(";")[0]
