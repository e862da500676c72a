"""The caller's side of a call: one offer, and candidates by To-tag until one branch has the call."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sipmikey.agent.legs.asking import AskingLeg
from sipmikey.agent.legs.context import Surroundings
from sipmikey.agent.legs.ending import Ending
from sipmikey.agent.legs.mikey_description import srtp_suites
from sipmikey.agent.legs.redirection import first_course, onward
from sipmikey.agent.legs.sdes_exchange import SdesExchange, crypto_suites
from sipmikey.agent.sip.message import SipMessage
from sipmikey.agent.stack import Headers, Lane, Phase, StackCall
from sipmikey.call.branches import Branch, Branches
from sipmikey.call.consent import Consent
from sipmikey.call.events import (
    CallOut,
    CallRedirected,
    CallRinging,
    ForkAbandoned,
    ForkCandidate,
    ForkCommitted,
    MediaProtection,
    PolicyFallback,
    PolicyRefused,
    Security,
)
from sipmikey.call.policy import SecurityMode
from sipmikey.call.reasons import AgentError, Reason, Side, reason_of_status
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.sdp import DEFAULT_SUITES, KeyMgmtMissing, Offerer, SessionKeys
from sipmikey.ticket.request import TicketGrant

_LACKS_KEYING = frozenset({406, 415, 488, 606})
"""Statuses with which a peer refuses an offer whose key management it does not know."""


class OutgoingLeg(AskingLeg):
    """*uri* is dialled, *called* its canonical form; *grant* None calls in clear.

    *via*: where to send the INVITE instead. A peer without MIKEY-TICKET may be called again, by SDES or in
    clear, as far as policy says so. *redirects*: INVITEs that follow redirections at most, each with an offer
    and, where it calls another identity, a ticket of its own.
    """

    calls = True

    def __init__(
        self,
        number: str,
        around: Surroundings,
        *,
        uri: str,
        called: str,
        grant: TicketGrant | None,
        via: str | None,
        redirects: int,
    ) -> None:
        media = MediaProtection.OFF if grant is None else MediaProtection.HELD
        super().__init__(number, around, Security(signalling="udp", media=media, called=called))
        self._uri = uri
        self.dialled = called
        self.consent = Consent(around.config.policy.retarget, called)
        self._unheard: tuple[str, SessionKeys] | None = None
        self._via = via
        self._redirects = redirects
        self._course = first_course(uri, via, called=called, policy=around.config.policy)
        self._branches = Branches()
        self._offerer: Offerer | None = None
        self._unkeyed: dict[str, BaseException] = {}
        self._answered_unkeyed = False
        self._superseded: tuple[BaseException, ...] = ()
        self._given_up = False
        if grant is not None:
            self._offerer = self._offerer_with(grant, called)

    def _offerer_with(self, grant: TicketGrant, called: str) -> Offerer:
        keys = self.around.config.keys
        return Offerer(
            self.around.env,
            grant=grant,
            called=called,
            suites=srtp_suites(keys.suites) if keys else DEFAULT_SUITES,
            accepts=lambda peer: not self.consent.refuses(peer),
        )

    def start(self, headers: Headers = ()) -> None:
        """Send the INVITE. Raises ``StackError``, and ``AgentError`` where keys are missing."""
        headers = (*self.around.config.sip.headers.items(), *headers)
        self.around.engine.call(self._uri, self._lane, self, headers, via=self._via)

    @property
    def _lane(self) -> Lane:
        if self._offerer is not None:
            return Lane.SECURED
        if self.sdes is not None:
            return Lane.SDES
        if self.security.media is not MediaProtection.OFF:
            raise AgentError(Reason.POLICY, "there are no keys, and clear is not allowed", side="local")
        return Lane.CLEAR

    def attached(self, call: StackCall) -> None:
        self.call = call
        uri = self._course.target.uri if self._course.followed else self._uri
        self.around.emit(CallOut(at=self.now(), call=self.number, uri=uri))
        # Of several INVITEs the first sets the time for all.
        self.around.engine.later(self.around.config.timeouts.setup, self._too_late)

    def _too_late(self) -> None:
        wait_s = self.around.config.timeouts.setup
        if self.asking:
            self.around.engine.later(wait_s, self._too_late)
        elif not self._answered and not self._over:
            self.end(
                Ending(
                    reason=Reason.SETUP_TIMEOUT,
                    side="network",
                    status=408,
                    detail=f"no answer in {wait_s:g} s",
                )
            )

    def first_sdp(self, sdp: str, remote: str) -> str:
        assert self._offerer is not None
        if remote:
            raise AgentError(Reason.OFFER_MISSING, "the peer offers where it must answer")
        return self._offerer.make_offer(sdp)

    def setup_message(self, direction: Literal["sent", "received"], message: SipMessage) -> None:
        if self.sdes is not None:
            self.sdes_message(direction, message)
            return
        assert self._offerer is not None
        if direction == "sent":
            if message.method == "INVITE" and not message.status:
                self._show(signalling=message.transport)
                self._offerer.check_sent(message.body)
                self.sent_mikey(message.body)
            return
        # The stack may have gone back from TCP to UDP: the Via of the response tells how it was sent.
        self._show(signalling=message.transport)
        if 100 < message.status < 300 and message.method == "INVITE":
            self._response(message)

    def _response(self, message: SipMessage) -> None:
        tag, final = message.to_tag, message.status >= 200
        if self._branches.committed not in (None, tag):
            return
        if message.has_sdp:
            self._answer(tag, message, final=final)
        elif final:
            self._answer_before(tag)
        else:
            self._branches.rings(tag)
        if not final:
            self.around.emit(
                CallRinging(
                    at=self.now(), call=self.number, status=message.status, to_tag=tag,
                    early_media=message.has_sdp,
                )
            )  # fmt: skip

    def _answer(self, tag: str, message: SipMessage, *, final: bool) -> None:
        """Take a description of branch *tag*: its keys, or why it has none."""
        assert self._offerer is not None
        self.received_mikey(message.body, tag)
        try:
            if self._branches.state(tag) is Branch.GONE:
                raise AgentError(Reason.UNEXPECTED_MESSAGE, "this branch was refused before")
            keyed = self._offerer.receive_answer(tag, message.body)
        except Exception as error:
            if isinstance(error, KeyMgmtMissing) or tag in self._unkeyed:
                self._unkeyed[tag] = error
                self._answered_unkeyed = final
            self._branch_failed(tag, error)
            if final:
                raise
            return
        if self._branches.answers(tag):
            self.around.emit(ForkCandidate(at=self.now(), call=self.number, to_tag=tag, peer=keyed.peer))
        if self.consent.lacks(keyed.peer):
            self._unheard = tag, keyed
            self.unbind()
            self._show(peer=None, kms=None, suite=None, ticket=None, keying=None)
        else:
            self.bind(keyed, tag)
        if final:
            self._commit(tag, keyed)

    def _answer_before(self, tag: str) -> None:
        """A 2xx without a description: the branch's answer was in a reliable provisional response."""
        heard = None if self._keyed is None else (self.to_tag, self._keyed)
        for known in (heard, self._unheard):
            if known is not None and known[0] == tag and self._branches.state(tag) is Branch.CANDIDATE:
                self._commit(*known)
                return
        raise AgentError(Reason.ANSWER_MISSING, "the 200 has no description and no 18x had one")

    def _branch_failed(self, tag: str, error: Exception) -> None:
        """The stream was made for this branch: without keys it stays silent."""
        assert self._offerer is not None
        self._offerer.discard(tag)
        self._branches.fails(tag)
        self.unbind()
        ending = self.refused(error, tag)
        self.around.emit(
            ForkAbandoned(
                at=self.now(), call=self.number, to_tag=tag, reason=ending.reason, side=ending.side,
                detail=ending.detail,
            )
        )  # fmt: skip

    def _commit(self, tag: str, keyed: SessionKeys) -> None:
        assert self._offerer is not None
        self.session = self._offerer.choose(tag)
        for loser in self._branches.commit(tag):
            self.around.emit(
                ForkAbandoned(
                    at=self.now(), call=self.number, to_tag=loser, reason=Reason.ANSWERED_ELSEWHERE,
                    side="remote", detail=f"branch {tag} has the call",
                )
            )  # fmt: skip
        self.around.emit(ForkCommitted(at=self.now(), call=self.number, to_tag=tag, peer=keyed.peer))
        if self.consent.lacks(keyed.peer):
            self.ask(keyed.peer, keyed.kms, lambda: self._hear(tag, keyed))
        else:
            self.answered()

    def _hear(self, tag: str, keyed: SessionKeys) -> None:
        self.bind(keyed, tag)
        self.answered()

    def failed(self, error: BaseException) -> None:
        if self._over or any(error is past for past in self._superseded):
            return
        known = self._branches.state(self.to_tag) is Branch.GONE
        self.end(Ending.of(error) if known else self.refused(error))

    def confirmed(self) -> None:
        if self._offerer is None and self.sdes is None:
            self.answered()

    def hangup(self) -> None:
        self._given_up = True
        super().hangup()

    def phase(self, phase: Phase, status: int, reason: str) -> None:
        if phase is Phase.DISCONNECTED and (why := self._why_by_sdes(status)) is not None:
            self._start_over(MediaProtection.HELD)
            keys = self.around.config.keys
            self.sdes = SdesExchange(crypto_suites(keys.suites if keys else ()))
            self.tell_of_sdes(*why)
            self.around.engine.post(self._again)
            return
        if phase is Phase.DISCONNECTED and self._falls_back(status):
            self._start_over(MediaProtection.OFF)
            self.around.emit(
                PolicyFallback(
                    at=self.now(), call=self.number, reason=Reason.PEER_REFUSED_KEYING, side="remote",
                    detail=f"refused with {status}: policy calls again without protection",
                )
            )  # fmt: skip
            self.around.engine.post(self._again)
            return
        if phase is Phase.DISCONNECTED and self._goes_elsewhere(status):
            return
        super().phase(phase, status, reason)

    def _goes_elsewhere(self, status: int) -> bool:
        """Follow a redirection, or go on to the next contact of one; False where the call ends here."""
        if self._answered or self._confirmed_at or self._given_up or self._over or self.ending is not None:
            return False
        policy = self.around.config.policy
        try:
            course = onward(self._course, status, self._last, policy=policy, most=self._redirects)
        except AgentError as error:
            self.ending = Ending.of(error)
            return False
        if course is None:
            return False
        self._course, target = course, course.target
        self._via = target.uri
        clear = target.mode is SecurityMode.OFF
        self._start_over(MediaProtection.OFF if clear else MediaProtection.HELD)
        self.around.emit(
            CallRedirected(
                at=self.now(), call=self.number, status=status, target=target.uri, called=target.called
            )
        )

        def follow() -> None:
            if clear:
                self.around.engine.post(self._again)
            else:
                self.around.ask_ticket(self.number, target.identities, self._granted, self._impossible)

        if self.consent.lacks(target.called):
            self.ask(target.called, None, follow)
        else:
            follow()
        return True

    def _granted(self, called: str, grant: TicketGrant) -> None:
        """Make the call again with a ticket for *called*, unless the user hung up or time is up."""
        if self._over:
            return
        try:
            self._offerer = self._offerer_with(grant, called)
        except SipmikeyError as error:
            self._impossible(error)
            return
        self._course = replace(self._course, target=replace(self._course.target, called=called))
        self._again()

    def _why_by_sdes(self, status: int) -> tuple[Reason, Side, str] | None:
        """Return why the call is made again with SDES; None when it is not."""
        policy = self.around.config.policy
        if self._offerer is None or self._answered or self._over or self._given_up:
            return None
        unkeyed = self._answered_unkeyed
        target = self._course.target
        allowed = policy.allows_sdes(target.called, least=target.mode)
        if not allowed or not (unkeyed or self._lacks_keying(status)):
            return None
        if not policy.sdes_over(self.security.signalling):
            self.around.emit(
                PolicyRefused(
                    at=self.now(), call=self.number, reason=Reason.POLICY, side="local",
                    detail="SDES is used over TLS only, and this call is signalled over "
                    + self.security.signalling.upper(),
                )
            )  # fmt: skip
            return None
        if unkeyed:
            detail = "answered without key management: policy calls again with SDES"
            return Reason.KEY_MGMT_MISSING, "remote", detail
        detail = f"refused with {status}: policy calls again with SDES"
        return Reason.PEER_REFUSED_KEYING, "remote", detail

    def _lacks_keying(self, status: int) -> bool:
        """True for a refusal without a reason of ours: a peer that gives one has MIKEY-TICKET."""
        warning = None if self._last is None else self._last.warning
        named = reason_of_status(status, warning=warning) is not reason_of_status(status)
        return status in _LACKS_KEYING and not named and self._confirmed_at is None and self.ending is None

    def _start_over(self, media: MediaProtection) -> None:
        """Forget the attempt that failed. There is no call of the stack until the next."""
        self.forget_keys()
        self.streams = self.no_streams()
        self.stop_rekeying()
        self.call = self._last = None
        self._superseded += tuple(self._unkeyed.values())
        self._unkeyed.clear()
        self._answered_unkeyed = False
        self._offerer = self.sdes = self.ending = self._confirmed_at = None
        self._branches = Branches()
        self._unheard = None
        self.to_tag = ""
        known = self.security.peer is not None
        self._show(
            state="held" if known else None,
            media=media, peer=None, kms=None, suite=None, ticket=None, keying=None,
        )  # fmt: skip

    def _falls_back(self, status: int) -> bool:
        target = self._course.target
        return (
            status in (488, 606)
            and self.security.media is not MediaProtection.OFF
            and self._confirmed_at is None
            and self.ending is None
            and not self._over
            and self.around.config.policy.retries_in_clear(target.called, least=target.mode)
        )

    def _again(self) -> None:
        if self.ending is not None:
            self._finish()
            return
        wait_s = self.around.engine.ready_in(self.around.config.audio.streams)
        if wait_s:
            self.around.engine.later(wait_s, self._again)
            return
        if wait_s is None:
            detail = "the calls of this process were taken by others in between"
            self._impossible(AgentError(Reason.TOO_MANY_CALLS, detail, side="local"))
            return
        course = self._course
        try:
            self.start()
        except Exception as error:  # noqa: BLE001 - it becomes the call's ending
            # The stack may have told of the end first, and the call go on to its next contact.
            if self._course is course:
                self.call = None
                self._impossible(error)

    def _impossible(self, error: BaseException) -> None:
        """End the call, which cannot be made again."""
        self.end(Ending.of(error))

    def forget_keys(self) -> None:
        if self._offerer is not None:
            self._offerer.close()
        super().forget_keys()
