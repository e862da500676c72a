"""What must be refused, where, and with which reason."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipmikey.mikey.errors import InvalidIdentity, LocalError, NotAuthorized, PeerError, TicketNotValid
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import PayloadType
from sipmikey.mikey.verification import sdp_ids_extension
from sipmikey.sdp import (
    AnswerMissing,
    BiddingDown,
    IdentityMismatch,
    KeyMgmtDuplicate,
    KeyMgmtMalformed,
    KeyMgmtMissing,
    MediaMismatch,
    MediaNotSecured,
    OfferMissing,
)
from sipmikey.sdp.attribute import format_value
from sipmikey.ticket.transfer import TransferInitiator
from tests.sdp.descriptions import AUDIO, AUDIO_VIDEO
from tests.sdp.parties import ALICE, BOB, CAROL, KMS, MALLORY, Parties, credential, grant

Edit = Callable[[str, str], str]
"""From a description and its key-mgmt line to what arrives."""


def attribute(sdp: str) -> str:
    """The key-mgmt line of a description, with its line end."""
    (line,) = [line for line in sdp.splitlines(keepends=True) if line.startswith("a=key-mgmt")]
    return line


ANYWHERE: dict[str, tuple[Edit, type[PeerError]]] = {
    "stripped": (lambda sdp, line: sdp.replace(line, ""), KeyMgmtMissing),
    "duplicated": (lambda sdp, line: sdp.replace(line, line + line), KeyMgmtDuplicate),
    "case of prtcl-id": (lambda sdp, line: sdp.replace("mgmt:mikey", "mgmt:Mikey"), KeyMgmtMissing),
    "other protocol": (lambda sdp, line: sdp.replace("mgmt:mikey", "mgmt:keyp1"), KeyMgmtMissing),
    "case of attribute": (lambda sdp, line: sdp.replace("a=key-mgmt", "a=KEY-MGMT"), KeyMgmtMissing),
    "no data": (lambda sdp, line: sdp.replace(line, "a=key-mgmt:mikey\r\n"), KeyMgmtMalformed),
    "empty": (lambda sdp, line: sdp.replace(line, "a=key-mgmt\r\n"), KeyMgmtMalformed),
    "two spaces": (lambda sdp, line: sdp.replace("mikey ", "mikey  "), KeyMgmtMalformed),
    "folded": (lambda sdp, line: sdp.replace(line, line[:80] + "\r\n" + line[80:]), PeerError),
    "plain profile": (lambda sdp, line: sdp.replace("RTP/SAVP", "RTP/AVP"), MediaNotSecured),
    "keyed with SDES": (
        lambda sdp, line: sdp.replace(line, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n"),
        KeyMgmtMissing,
    ),
    "no active stream": (lambda sdp, line: sdp.replace("audio 4000", "audio 0"), MediaNotSecured),
    "second stream in clear": (lambda sdp, line: sdp + "m=video 6 RTP/AVP 31\r\n", PeerError),
    "other attribute only at the other stream": (
        lambda sdp, line: sdp.replace(line, "") + "m=video 0 RTP/SAVP 31\r\n" + line,
        PeerError,
    ),
    "truncated message": (
        lambda sdp, line: sdp.replace(line, f"a={format_value(message_of(line)[:-40])}\r\n"),
        PeerError,
    ),
    "longer message": (
        lambda sdp, line: sdp.replace(line, f"a={format_value(message_of(line) + bytes(1))}\r\n"),
        PeerError,
    ),
    "not SDP": (lambda sdp, line: "hello", PeerError),
    "empty body": (lambda sdp, line: "", PeerError),
}


def message_of(line: str) -> bytes:
    """The MIKEY message of a key-mgmt line."""
    return base64.b64decode(line.split()[1])


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_tampered_offer_is_refused_before_the_kms_is_asked(name: str) -> None:
    edit, error = ANYWHERE[name]
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    tampered = edit(offer, attribute(offer))
    assert tampered != offer
    with pytest.raises(error):
        parties.answerer().receive_offer(tampered, sip_caller=ALICE)
    assert len(parties.kms.asked) == 1


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_tampered_answer_is_refused(name: str) -> None:
    edit, error = ANYWHERE[name]
    parties = Parties()
    offerer = parties.offerer()
    _, answer, _ = parties.respond(offerer.make_offer(AUDIO))
    with pytest.raises(error):
        offerer.receive_answer("tag", edit(answer, attribute(answer)))
    assert offerer.candidates == ()


def changed_characters(line: str) -> Iterator[tuple[int, str]]:
    """Every place of the base64 text with one character of each class in it."""
    start = line.index(" ") + 1
    for at in range(start, len(line) - 2):
        for character in "Az9+/=-_ \t\x80\N{KELVIN SIGN}":
            if line[at] != character:
                yield at, line[:at] + character + line[at + 1 :]


def test_no_changed_character_of_an_answer_is_accepted() -> None:
    parties = Parties()
    offerer = parties.offerer()
    _, answer, theirs = parties.respond(offerer.make_offer(AUDIO))
    line = attribute(answer)
    for at, changed in changed_characters(line):
        with pytest.raises(PeerError):
            offerer.receive_answer(f"tag {at}", answer.replace(line, changed))
    assert offerer.receive_answer("tag", answer).media[0].send == theirs.media[0].receive


def test_no_changed_character_of_an_offer_is_accepted() -> None:
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    line = attribute(offer)
    asked = 0
    for _, changed in changed_characters(line):
        before = len(parties.kms.asked)
        with pytest.raises(PeerError):
            parties.take(parties.answerer(), offer.replace(line, changed))
        asked += len(parties.kms.asked) - before
    assert asked > 0


@settings(max_examples=200)
@given(st.data())
def test_mutated_descriptions_raise_nothing_but_peer_errors(data: st.DataObject) -> None:
    parties = Parties()
    offerer = parties.offerer()
    offer = offerer.make_offer(AUDIO)
    _, answer, _ = parties.respond(offer)
    for text, take in (
        (offer, lambda sdp: parties.answerer().receive_offer(sdp, sip_caller=ALICE)),
        (answer, lambda sdp: offerer.receive_answer("tag", sdp)),
    ):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 40))
        with contextlib.suppress(PeerError):
            take(text[:at] + data.draw(st.text(max_size=8)) + text[at + cut :])


def test_an_invite_without_an_offer_is_refused_with_a_reason() -> None:
    with pytest.raises(OfferMissing) as caught:
        Parties().answerer().receive_offer(None, sip_caller=ALICE)
    assert (caught.value.reason, caught.value.sip_status) == ("offer-missing", 488)


def test_a_response_without_an_answer_is_refused() -> None:
    offerer = Parties().offerer()
    offerer.make_offer(AUDIO)
    with pytest.raises(AnswerMissing):
        offerer.receive_answer("tag", None)


@pytest.mark.parametrize(
    "caller",
    [MALLORY, "sips:alice@example.com", "sip:alice@example.org", "sip:anonymous@anonymous.invalid", "?"],
)
def test_another_caller_is_refused_before_the_kms_is_asked(caller: str) -> None:
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    with pytest.raises(IdentityMismatch) as caught:
        parties.answerer().receive_offer(offer, sip_caller=caller)
    assert caught.value.sip_status == 403
    assert len(parties.kms.asked) == 1


@pytest.mark.parametrize(
    "caller",
    [
        "SIP:alice@EXAMPLE.com",
        '"Alice" <sip:alice@example.com;transport=tcp>;tag=1',
        "sip:alice@example.com:5060",
    ],
)
def test_the_caller_is_compared_in_canonical_form(caller: str) -> None:
    parties = Parties()
    offered = parties.answerer().receive_offer(parties.offerer().make_offer(AUDIO), sip_caller=caller)
    assert offered.caller == ALICE


def test_a_ticket_of_somebody_else_does_not_carry_mallorys_name() -> None:
    """Mallory uses a ticket of Alice's and calls under her own name."""
    parties = Parties()
    stolen = parties.offerer(identity=MALLORY)
    with pytest.raises(InvalidIdentity):
        parties.take(parties.answerer(), stolen.make_offer(AUDIO), caller=MALLORY)


def test_an_expired_ticket_is_refused_before_the_kms_is_asked() -> None:
    parties = Parties()
    ticket = grant(parties.world, parties.kms, valid_s=60)
    offer = parties.offerer(ticket).make_offer(AUDIO)
    parties.world.now += 61_000_000_000
    with pytest.raises(TicketNotValid):
        parties.answerer().receive_offer(offer, sip_caller=ALICE)
    assert len(parties.kms.asked) == 1


def test_an_untrusted_kms_is_refused_before_it_is_asked() -> None:
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    with pytest.raises(InvalidIdentity, match="a KMS that is not trusted here"):
        parties.answerer(kmss=["sip:other.example.com"]).receive_offer(offer, sip_caller=ALICE)
    parties.take(parties.answerer(kmss=[KMS]), offer)


def test_unacceptable_suites_are_refused_before_the_kms_is_asked() -> None:
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    with pytest.raises(PeerError) as caught:
        parties.answerer(suites=["AEAD_AES_256_GCM"]).receive_offer(offer, sip_caller=ALICE)
    assert caught.value.reason == "unsupported-security-policy"
    assert "AES_256_CM_HMAC_SHA1_80" in caught.value.detail
    assert len(parties.kms.asked) == 1


def test_a_suite_that_was_not_offered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callee answers with its own 32-bit tag, which the caller did not offer."""
    parties = Parties()
    both = ["AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32"]
    offerer = parties.offerer(suites=both)
    answerer = parties.answerer(suites=both[1:])
    parties.take(answerer, offerer.make_offer(AUDIO))
    answer, _ = answerer.make_answer(AUDIO)
    monkeypatch.setattr(offerer, "_suites", offerer._suites[:1])
    with pytest.raises(PeerError, match="not among those offered"):
        offerer.receive_answer("tag", answer)


def test_an_answer_to_another_offer_is_refused() -> None:
    parties = Parties()
    one, other = parties.offerer(), parties.offerer()
    one.make_offer(AUDIO)
    _, answer, _ = parties.respond(other.make_offer(AUDIO))
    with pytest.raises(PeerError):
        one.receive_answer("tag", answer)


def test_an_offer_reflected_as_its_answer_is_refused() -> None:
    offerer = Parties().offerer()
    offer = offerer.make_offer(AUDIO)
    with pytest.raises(PeerError, match="expected TRANSFER_RESP"):
        offerer.receive_answer("tag", offer)


def test_a_response_of_the_kms_to_another_question_is_refused() -> None:
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    answerer = parties.answerer()
    answerer.receive_offer(offer, sip_caller=ALICE)
    response = parties.kms.request(answerer.make_resolve_init(credential(BOB)))
    answerer.make_resolve_init(credential(BOB))
    with pytest.raises(PeerError):
        answerer.receive_resolve_resp(response)
    assert answerer.unresolved == 1


class TestProtocolList:
    """SDP IDs (RFC 4567 sections 4.1.4 and 7)."""

    def test_it_is_sent_and_covers_other_protocols_in_order(self) -> None:
        parties = Parties()
        offerer = parties.offerer()
        offer = offerer.make_offer(AUDIO.replace("a=tool", "a=key-mgmt:keyp1 AAAA\r\na=tool"))
        (listed,) = [
            payload
            for payload in Message.parse(offerer.transfer_init).payloads
            if payload.payload_type == PayloadType.EXT
        ]
        assert listed == sdp_ids_extension(("keyp1", "mikey"))
        parties.take(parties.answerer(), offer)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda sdp: sdp.replace("a=key-mgmt:keyp1 AAAA\r\n", ""),
            lambda sdp: sdp.replace("keyp1", "keyp2"),
            lambda sdp: sdp.replace("a=key-mgmt:keyp1 AAAA\r\n", "") + "a=key-mgmt:keyp1 AAAA\r\n",
            lambda sdp: sdp.replace("a=key-mgmt:keyp1", "a=key-mgmt:keyp2 x\r\na=key-mgmt:keyp1"),
        ],
    )
    def test_another_list_is_refused_before_the_kms_is_asked(self, edit: Callable[[str], str]) -> None:
        parties = Parties()
        offer = parties.offerer().make_offer(AUDIO.replace("a=tool", "a=key-mgmt:keyp1 AAAA\r\na=tool"))
        tampered = edit(offer)
        assert tampered != offer
        with pytest.raises(BiddingDown):
            parties.answerer().receive_offer(tampered, sip_caller=ALICE)
        assert len(parties.kms.asked) == 1

    def test_no_list_is_tolerated_two_are_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        start = TransferInitiator.start
        for lists in ((), (sdp_ids_extension(("mikey",)),) * 2):
            with monkeypatch.context() as patch:
                patch.setattr(
                    TransferInitiator,
                    "start",
                    lambda *args, lists=lists, **options: start(*args, **options | {"extensions": lists}),
                )
                parties = Parties()
                offer = parties.offerer().make_offer(AUDIO)
            if lists:
                with pytest.raises(PeerError, match="given twice"):
                    parties.take(parties.answerer(), offer)
            else:
                parties.take(parties.answerer(), offer)


class TestMediaOfTheAnswer:
    """The m-lines of an answer against the offer's."""

    @pytest.mark.parametrize(
        ("edit", "error"),
        [
            (lambda sdp: sdp.split("m=video")[0], MediaMismatch),
            (lambda sdp: sdp + "m=audio 5 RTP/SAVP 0\r\n", MediaMismatch),
            (lambda sdp: sdp.replace("m=video", "m=audio"), MediaMismatch),
            (lambda sdp: sdp.replace("RTP/SAVPF", "RTP/SAVP"), MediaNotSecured),
            (lambda sdp: sdp.replace("RTP/SAVPF", "RTP/AVPF"), MediaNotSecured),
            (lambda sdp: sdp.replace("RTP/SAVPF", "UDP/TLS/RTP/SAVPF"), MediaNotSecured),
        ],
    )
    def test_a_misfit_is_refused(self, edit: Callable[[str], str], error: type[PeerError]) -> None:
        parties = Parties()
        offerer = parties.offerer()
        _, answer, _ = parties.respond(offerer.make_offer(AUDIO_VIDEO), sdp=AUDIO_VIDEO)
        with pytest.raises(error):
            offerer.receive_answer("tag", edit(answer))

    def test_this_sides_own_misfit_is_a_local_error(self) -> None:
        parties = Parties()
        answerer = parties.answerer()
        parties.take(answerer, parties.offerer().make_offer(AUDIO_VIDEO))
        with pytest.raises(LocalError, match="this side's answer"):
            answerer.make_answer(AUDIO)

    def test_addresses_and_ports_may_change_on_the_way(self) -> None:
        parties = Parties()
        offerer = parties.offerer()
        offer = offerer.make_offer(AUDIO).replace("192.0.2.1", "198.51.100.9").replace("4000", "40000")
        _, answer, theirs = parties.respond(offer)
        keyed = offerer.receive_answer("tag", answer.replace("192.0.2.1", "198.51.100.9"))
        assert keyed.media[0].send == theirs.media[0].receive


def test_a_resolver_the_ticket_does_not_name_gets_nothing() -> None:
    parties = Parties()
    offer = parties.offerer().make_offer(AUDIO)
    answerer = parties.answerer(CAROL)
    answerer.receive_offer(offer, sip_caller=ALICE)
    with pytest.raises(NotAuthorized):
        parties.kms.request(answerer.make_resolve_init(credential(CAROL)))
    with pytest.raises(LocalError):
        answerer.make_answer(AUDIO)
