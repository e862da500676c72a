"""Every KMS and user agent that can misbehave, made when it is asked for by the name of its break."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sipmikey.conformance.authority import CertifiedDomain
from sipmikey.conformance.broken import agent as broken_agent
from sipmikey.conformance.broken import kms as broken_kms
from sipmikey.conformance.broken.agent import BrokenAgent
from sipmikey.conformance.broken.kms import BrokenKms
from sipmikey.conformance.broken.questions import SIGNED_QUESTIONS
from sipmikey.conformance.kms_subject import Party, Post
from sipmikey.conformance.sip_udp import Take
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.shared_keys import SharedTicketKey


@dataclass(slots=True, kw_only=True)
class Catalogue:
    """The KMSs and user agents of one domain. *folder* holds their stores; ``broken`` is meant by no name.

    The user agent is that of the second of *parties*; it asks the KMS of its own break's name, or else the
    one that keeps all requirements. With a *domain* the KMSs take the public-key variants. The user agent
    opens tickets with *ticket_keys*.
    """

    env: Environment
    folder: Path
    identity: str
    parties: tuple[Party, ...]
    broken: str = ""
    domain: CertifiedDomain | None = None
    ticket_keys: tuple[SharedTicketKey, ...] = ()
    _kmss: dict[str, BrokenKms] = field(default_factory=dict)
    _agents: dict[str, BrokenAgent] = field(default_factory=dict)

    def kms(self, name: str) -> Post | None:
        """Return the KMS of a break, or None where there is no such break."""
        broken = name or self.broken
        chosen = broken if broken in broken_kms.BREAKS else ""
        if name and not chosen:
            return None
        if chosen not in self._kmss:
            folder = self.folder / (chosen or "none")
            folder.mkdir()
            revoked = None if self.domain is None else self.domain.certified.revoked
            self._kmss[chosen] = BrokenKms(
                env=self.env,
                folder=folder,
                identity=self.identity,
                parties=self.parties,
                broken=chosen or None,
                authority=None if self.domain is None else self.domain.authority,
                revoked=() if revoked is None else (revoked,),
            )
        return self._kmss[chosen].answer

    def agent(self, name: str) -> Take | None:
        """Return the user agent of a break, or None where there is no such break."""
        broken = name or self.broken
        chosen = broken if broken in broken_agent.BREAKS else ""
        if name and not chosen:
            return None
        if chosen not in self._agents:
            kms = self.kms("")
            assert kms is not None
            domain = self.domain if chosen in SIGNED_QUESTIONS else None
            self._agents[chosen] = BrokenAgent(
                env=self.env,
                party=self.parties[1],
                kms=kms,
                broken=chosen or None,
                ticket_keys=self.ticket_keys,
                credential=None if domain is None else domain.certified.responder,
            )
        return self._agents[chosen].take
