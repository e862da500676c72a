"""Keyings and a clock of text and numbers, for machines that are copied and compared by value."""

from __future__ import annotations

from typing import cast

from sipmikey.call.inviting.consent import Consent
from sipmikey.call.keying.agreement import Agreement, KmsQuestion, StreamKeys
from sipmikey.call.keying.clear_keying import ClearKeying
from sipmikey.call.keying.keying import Keying, KeyingKind
from sipmikey.call.keying.lanes import SrtpKeys
from sipmikey.call.keying.sdes import SDES
from sipmikey.call.keying.ticket import TICKET
from sipmikey.call.reasons import AgentError, Reason
from sipmikey.mikey.errors import AuthenticationFailure, ReplayedMessage
from sipmikey.sdp import AnswerMissing, Glare, KeyMgmtMissing, SentSdpAltered
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.request import TicketGrant

BOB, CAROL = "sip:bob@example.com", "sip:carol@example.com"

INTERVAL_S = 100


def _no_time() -> int:
    return 0


def _no_chance(length: int) -> bytes:
    return bytes(length)


ENV = Environment(now_ns=_no_time, random=_no_chance)

GRANT = cast(TicketGrant, "grant")


def agreed(key: str, peer: str | None, rekey_s: int | None = None) -> Agreement:
    """Return an agreement on one stream whose key is named *key*."""
    keys = None if peer is None else cast(SrtpKeys, key)
    stream = StreamKeys(index=0, suite="suite", send_key=key, receive_key=key, keys=keys)
    return Agreement(
        streams=(stream,), peer=peer, kms="kms", suite="suite", ticket="ticket", rekey_interval_s=rekey_s
    )


class FakeTicket:
    """A ticket's keying whose descriptions are words: ``offer``, ``good a`` of branch a, ``bad``, ``none``.

    ``held``: the names of all keys that it holds; the first letter is the branch, ``0`` within the call.
    ``early``: the branch whose offer waits for our answer before one is chosen.
    """

    kind: KeyingKind = TICKET
    shares_keys = False

    def __init__(self, *, calls: bool, rekey_s: int | None = None, tickets: int = 1) -> None:
        self.calls = calls
        self.rekey_s = rekey_s
        self.held: dict[str, str] = {}
        self.chosen: str | None = None
        self.closed = False
        self.may_rekey = False
        self.made = ""
        self.offering = ""
        self.asked = ""
        self.early = ""
        self.generation = 0
        self.questions = 0 if calls else tickets

    def judge(self, sdp: str | None) -> None:
        return None

    def make_offer(self, sdp: str, *, rekey: bool = False) -> str:
        assert not self.closed
        if self.chosen is not None:
            assert not self.offering, "two offers at once"
        self.asked = ""
        self.offering = self.made = "rekey" if rekey else "offer"
        return self.made

    def check_sent(self, sdp: str, transport: str) -> None:
        if sdp != self.made:
            raise SentSdpAltered("not what was made")

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        assert not self.closed
        if self.chosen is not None:
            offered, self.offering = self.offering, ""
            assert offered, "an answer without an offer"
        if sdp is None:
            raise AnswerMissing("no description")
        if sdp == "none":
            raise KeyMgmtMissing("no attribute")
        if sdp == "bad":
            raise AuthenticationFailure("V: the MAC does not verify")
        if sdp == "copied":
            raise ReplayedMessage("answered on another branch")
        if self.chosen is not None:
            return self._within(offered == "rekey")
        self.held[to_tag] = sdp
        return agreed(sdp, CAROL if to_tag == "b" else BOB, self.rekey_s)

    def _within(self, rekeyed: bool) -> Agreement:
        assert self.chosen is not None
        # Two keys in turn: a new one differs from the last, and there are few states.
        self.generation = (self.generation + rekeyed) % 2
        self.held = {self.chosen: f"{self.chosen} {self.generation}"}
        return agreed(self.held[self.chosen], CAROL if self.chosen == "b" else BOB, self.rekey_s)

    def discard(self, to_tag: str) -> None:
        self.held.pop(to_tag, None)

    def choose(self, to_tag: str) -> None:
        assert self.chosen is None, "chosen twice"
        assert to_tag in self.held, "chosen without keys"
        self.chosen = to_tag
        self.held = {to_tag: self.held[to_tag]}
        self.may_rekey = True
        self.offering = self.early = ""

    def receive_offer(self, sdp: str | None, to_tag: str = "") -> Agreement:
        if self.chosen is not None and self.offering:
            raise Glare("an offer of this side is under way")
        if self.calls and self.chosen is None:
            assert to_tag in self.held, "an offer of a branch without keys is taken"
        self.asked = self.early = ""
        if sdp is None:
            raise AnswerMissing("no description")
        if sdp == "none":
            raise KeyMgmtMissing("no attribute")
        if sdp == "bad":
            raise AuthenticationFailure("V: the MAC does not verify")
        self.asked = sdp
        if self.chosen is None:
            self.early = to_tag
        return Agreement(called=BOB, kms="kms", ticket="ticket")

    def question(self) -> KmsQuestion | None:
        return KmsQuestion(message=b"?", kms="kms", asked="kms") if self.questions else None

    def receive_kms(self, response: bytes) -> str | None:
        if response == b"bad":
            raise AuthenticationFailure("V: the MAC does not verify")
        if response == b"refused":
            raise AgentError(Reason.KMS_REFUSED, "not authorized", side="kms")
        self.questions -= 1
        return BOB

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        assert not self.closed
        assert self.asked, "an answer without an offer"
        rekey, self.asked = self.asked == "rekey", ""
        self.made = "answer"
        if self.chosen is None and self.calls:
            return "answer", self._of_branch(rekey)
        if self.chosen is None:
            self.chosen, self.may_rekey = "", True
        return "answer", self._within(rekey)

    def _of_branch(self, rekeyed: bool) -> Agreement:
        """Return what branch ``early`` agreed on by its offer; of two keys in turn, as within the call."""
        tag, self.early = self.early, ""
        if rekeyed:
            self.held[tag] = f"again {tag}" if self.held[tag].startswith("good") else f"good {tag}"
        return agreed(self.held[tag], CAROL if tag == "b" else BOB, self.rekey_s)

    def abandon(self) -> None:
        self.offering = self.asked = self.early = ""

    def close(self) -> None:
        self.closed = True
        self.held.clear()


class FakeSdes(FakeTicket):
    """The same with keys that the stack makes."""

    kind = SDES

    def receive_answer(self, sdp: str | None, to_tag: str) -> Agreement:
        return agreed(super().receive_answer(sdp, to_tag).streams[0].send_key, None)

    def make_answer(self, sdp: str) -> tuple[str, Agreement]:
        text, agreement = super().make_answer(sdp)
        return text, agreed(agreement.streams[0].send_key, None)

    def question(self) -> KmsQuestion | None:
        return None

    def choose(self, to_tag: str) -> None:
        super().choose(to_tag)
        self.may_rekey = False


class FakeKeyings:
    """Makes fakes. *rekey_s*: how often their tickets demand new keys."""

    def __init__(self, rekey_s: int | None = None) -> None:
        self.rekey_s = rekey_s

    def calling(
        self, kind: KeyingKind, *, called: str, consent: Consent, grant: TicketGrant | None = None
    ) -> Keying:
        if kind.in_clear:
            return ClearKeying()
        if kind is SDES:
            return FakeSdes(calls=True)
        keying = FakeTicket(calls=True, rekey_s=self.rekey_s)
        keying.kind = kind
        return keying
