"""Three subscribers, and the suite in front of a KMS or a user agent of this process."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from sipmikey.conformance.agent import AGENT_REQUIREMENTS
from sipmikey.conformance.agent_modes import MODE_REQUIREMENTS
from sipmikey.conformance.agent_resolve import ASKING_REQUIREMENTS
from sipmikey.conformance.agent_subject import AgentSubject, CallOutcome, Door
from sipmikey.conformance.agent_update import UPDATE_REQUIREMENTS
from sipmikey.conformance.authority import CertifiedDomain
from sipmikey.conformance.broken import public_key as broken_public_key
from sipmikey.conformance.broken.agent import BrokenAgent
from sipmikey.conformance.broken.kms import BrokenKms
from sipmikey.conformance.broken.questions import (
    OTHER_MODES,
    QUESTIONS,
    REFUSED_TICKETS,
    SIGNED_QUESTIONS,
    TICKET_LENIENCES,
)
from sipmikey.conformance.broken.updates import OTHER_UPDATES, UPDATE_LENIENCES, UPDATES
from sipmikey.conformance.kms import KMS_REQUIREMENTS
from sipmikey.conformance.kms_public_key import PUBLIC_KEY_REQUIREMENTS
from sipmikey.conformance.kms_resolve import RESOLVE_REQUIREMENTS
from sipmikey.conformance.kms_subject import KmsSubject, Party
from sipmikey.conformance.requirement import Result
from sipmikey.conformance.suite import run
from sipmikey.keys.suite import SUITE_256, Suite
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.shared_keys import SharedTicketKey

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


TO_KMS, TO_BOB, OF_KMS = (
    TicketProtectionKey(key=Secret(hashlib.sha256(word).digest()), key_id=word)
    for word in (b"alice-kms", b"alice-bob", b"bob-kms")
)
"""Keys that seal tickets: alice's for the KMS and for bob, and the KMS's for bob."""


class DirectCall:
    """A call of the user agent of this process."""

    def __init__(self, agent: BrokenAgent, caller: str, offer: str) -> None:
        self._agent, self._caller = agent, caller
        self._call_id = environment().random(8).hex()
        self.called = self.offer(offer)

    def offer(self, sdp: str) -> CallOutcome:
        return self._agent.take(self._caller, sdp, self._call_id)


def resolving_kms(folder: Path) -> BrokenKms:
    """Return the KMS that the user agent of this process asks, which breaks nothing."""
    return BrokenKms(
        env=environment(), folder=folder, identity=KMS, parties=(ALICE, BOB, CAROL), ticket_key=TO_KMS,
        authority=certified_domain().authority,
    )  # fmt: skip


def agent_results(
    kms: BrokenKms, broken: str | None = None, *, by_certificate: bool = False
) -> Iterator[Result]:
    """Yield what the suite finds in the user agent with a break, which is looked for first where it is."""
    env = environment()
    domain = certified_domain() if by_certificate else None
    subject = KmsSubject(
        env=env, post=kms.answer, kms=KMS, initiator=ALICE, responder=BOB,
        certified=None if domain is None else domain.certified,
    )  # fmt: skip
    door = Door(kms.answer)
    agent = BrokenAgent(
        env=env, party=BOB, kms=door, broken=broken,
        ticket_keys=(SharedTicketKey(owner=KMS, tpk=OF_KMS), SharedTicketKey(owner=ALICE.uri, tpk=TO_BOB)),
        credential=None if domain is None else domain.certified.responder,
    )  # fmt: skip
    called = AgentSubject(
        kms=subject, dial=lambda caller, offer: nullcontext(DirectCall(agent, caller, offer)), door=door,
        ticket_key=OF_KMS, initiator_ticket_key=TO_BOB, kms_ticket_key=TO_KMS,
        pair=None if domain is None else domain.authority.kms,
    )  # fmt: skip
    groups = [AGENT_REQUIREMENTS.items, ASKING_REQUIREMENTS.items, MODE_REQUIREMENTS.items]
    if broken in {**QUESTIONS, **SIGNED_QUESTIONS}:
        groups.insert(0, groups.pop(1))
    elif broken in {**REFUSED_TICKETS, **TICKET_LENIENCES, **OTHER_MODES}:
        groups.insert(0, groups.pop(2))
    last = broken not in {**UPDATES, **UPDATE_LENIENCES, **OTHER_UPDATES}
    groups.insert(3 if last else 0, UPDATE_REQUIREMENTS.items)
    return run([item for group in groups for item in group], called)


def found(results: Iterator[Result]) -> Result | None:
    """Return the first requirement that is not met."""
    return next((item for item in results if item.outcome in ("broken", "warning")), None)
