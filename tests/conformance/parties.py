"""Three subscribers, and the suite in front of a KMS or a user agent of this process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sipmikey.conformance.agent import AGENT_REQUIREMENTS
from sipmikey.conformance.agent_subject import AgentSubject, Door
from sipmikey.conformance.broken_agent import BrokenAgent
from sipmikey.conformance.broken_kms import BrokenKms
from sipmikey.conformance.kms import KMS_REQUIREMENTS
from sipmikey.conformance.kms_resolve import RESOLVE_REQUIREMENTS
from sipmikey.conformance.kms_subject import KmsSubject, Party
from sipmikey.conformance.requirement import Result
from sipmikey.conformance.suite import run
from sipmikey.keys.suite import SUITE_256, Suite
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment

DOMAIN = "example.com"
KMS = f"sip:kms@{DOMAIN}"
NAMES = ("alice", "bob", "carol")
KEYS = {name: hashlib.sha256(name.encode()).digest() for name in NAMES}
ALICE, BOB, CAROL = (
    Party(uri=f"sip:{name}@{DOMAIN}", key=Secret(KEYS[name]), key_id=name.encode()) for name in NAMES
)


def kms_results(folder: Path, broken: str | None = None, *, suite: Suite = SUITE_256) -> Iterator[Result]:
    env = environment()
    kms = BrokenKms(env=env, folder=folder, identity=KMS, parties=(ALICE, BOB, CAROL), broken=broken)
    subject = KmsSubject(
        env=env, post=kms.answer, kms=KMS, initiator=ALICE, responder=BOB, stranger=CAROL, suite=suite
    )
    return run([*KMS_REQUIREMENTS.items, *RESOLVE_REQUIREMENTS.items], subject)


def agent_results(folder: Path, broken: str | None = None) -> Iterator[Result]:
    env = environment()
    kms = BrokenKms(env=env, folder=folder, identity=KMS, parties=(ALICE, BOB, CAROL))
    subject = KmsSubject(env=env, post=kms.answer, kms=KMS, initiator=ALICE, responder=BOB)
    door = Door(kms.answer)
    agent = BrokenAgent(env=env, party=BOB, kms=door, broken=broken)
    return run(AGENT_REQUIREMENTS.items, AgentSubject(kms=subject, call=agent.take, door=door))


def found(results: Iterator[Result]) -> Result | None:
    """Return the first requirement that is not met."""
    return next((item for item in results if item.outcome in ("broken", "warning")), None)
