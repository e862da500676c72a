"""Three subscribers, and the suite in front of a KMS or a user agent of this process."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

from sipmikey.conformance import broken_public_key
from sipmikey.conformance.agent import AGENT_REQUIREMENTS
from sipmikey.conformance.agent_subject import AgentSubject, Door
from sipmikey.conformance.authority import CertifiedDomain
from sipmikey.conformance.broken_agent import BrokenAgent
from sipmikey.conformance.broken_kms import BrokenKms
from sipmikey.conformance.kms import KMS_REQUIREMENTS
from sipmikey.conformance.kms_public_key import PUBLIC_KEY_REQUIREMENTS
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


@functools.cache
def certified_domain() -> CertifiedDomain:
    """Return the certificates of the domain, whose keys are drawn once in a run."""
    return CertifiedDomain.make(KMS, ALICE.uri, BOB.uri, environment().now_ns())


def kms_results(folder: Path, broken: str | None = None, *, suite: Suite = SUITE_256) -> Iterator[Result]:
    env = environment()
    domain = certified_domain()
    revoked = domain.certified.revoked
    assert revoked is not None
    kms = BrokenKms(
        env=env, folder=folder, identity=KMS, parties=(ALICE, BOB, CAROL), broken=broken,
        authority=domain.authority, revoked=(revoked,),
    )  # fmt: skip
    subject = KmsSubject(
        env=env, post=kms.answer, kms=KMS, initiator=ALICE, responder=BOB, stranger=CAROL,
        certified=domain.certified, suite=suite,
    )  # fmt: skip
    # A break of the public-key variants is found by their requirements; the others first.
    first, last = PUBLIC_KEY_REQUIREMENTS.items, [*KMS_REQUIREMENTS.items, *RESOLVE_REQUIREMENTS.items]
    return run([*first, *last] if broken in broken_public_key.BREAKS else [*last, *first], subject)


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
