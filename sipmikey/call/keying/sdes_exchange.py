"""SDES (RFC 4568) as the alternative keying: judging what the stack says, and what the peer does.

The stack makes the keys and the a=crypto lines and runs SRTP on them. This module looks at both descriptions
before anything is said or heard. Key material is held as ``Secret``; errors never quote a line.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from sipmikey.media.profile import profile_by_name
from sipmikey.mikey.errors import PeerError
from sipmikey.mikey.secret import Secret
from sipmikey.sdp import BiddingDown, KeyMgmtMissing, MediaMismatch, MediaNotSecured, SentSdpAltered
from sipmikey.sdp.attribute import ATTRIBUTE
from sipmikey.sdp.document import Document

_FIELD = "a=crypto"
_VALUE = re.compile(r"([0-9]{1,9}) +([A-Za-z0-9_]+) +inline:([A-Za-z0-9+/=]+)(\|[^ ]*)?((?: +[^ ]+)*) *")
_LIFETIME = re.compile(r"\|(?:2\^[0-9]{1,2}|[0-9]+)")


def keyed_by_crypto(sdp: str) -> bool:
    """True when *sdp* has an a=crypto line."""
    return re.search(r"^a=crypto:", sdp, re.MULTILINE | re.IGNORECASE) is not None


class CryptoUnusable(PeerError):
    """No a=crypto line of a stream can be used here."""

    reason = "suite-unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class SdesStream:
    """One stream keyed by SDES. ``send_key``, ``receive_key``: fingerprints, 8 hexadecimal digits."""

    index: int
    suite: str
    send_key: str
    receive_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedCrypto:
    """What offer and answer agree on for the m-line ``index``. ``send``, ``receive``: key || salt."""

    index: int
    suite: str
    send: Secret
    receive: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptoLine:
    """An a=crypto line that can be used. ``key``: master key || master salt."""

    tag: int
    suite: str
    key: Secret


def why_unfit(sdp: str, suites: tuple[str, ...]) -> PeerError | None:
    """Return why the offer *sdp* cannot be answered by SDES with one of *suites*; None when it can."""
    try:
        usable_lines(sdp, suites)
    except PeerError as error:
        return error
    return None


class SdesExchange:
    """The offers and answers of one call; *suites*: names of crypto suites that are acceptable.

    Methods raise a ``PeerError`` for a description on which no media may run.
    """

    def __init__(self, suites: tuple[str, ...]) -> None:
        self._suites = suites
        self._offer = ""
        self._made = ""
        self._streams: tuple[SdesStream, ...] = ()

    def made(self, sdp: str, *, answering: bool) -> str:
        """Take the description the stack made, an offer or the answer to the peer's; return it."""
        self._made = sdp
        if answering:
            self._streams = _agreed(self._offer, sdp, self._suites, ours_offered=False)
        else:
            usable_lines(sdp, self._suites)
            self._offer = sdp
        return sdp

    def receive_offer(self, sdp: str) -> None:
        """Take an offer of the peer."""
        usable_lines(sdp, self._suites)
        self._offer = sdp

    def receive_answer(self, sdp: str) -> None:
        """Take the peer's answer to our last offer."""
        self._streams = _agreed(self._offer, sdp, self._suites, ours_offered=True)

    def check_sent(self, sdp: str) -> None:
        """Raise ``SentSdpAltered`` unless *sdp*, which went out, carries the keys of what the stack made."""
        if _crypto_lines(sdp) != _crypto_lines(self._made):
            raise SentSdpAltered("the SDP sent carries different keys than the SDP made", field=_FIELD)

    @property
    def streams(self) -> tuple[SdesStream, ...]:
        """What is agreed; empty before an answer was taken or made."""
        return self._streams

    def close(self) -> None:
        """Forget the descriptions, which hold the keys."""
        self._offer = self._made = ""
        self._streams = ()


def usable_lines(sdp: str, suites: tuple[str, ...]) -> dict[int, dict[int, CryptoLine]]:
    """Return the usable a=crypto lines of every live m-line, by tag; each has one at least.

    Raises ``PeerError`` for a description that SDES cannot key.
    """
    document = Document.parse(sdp)
    for level in document.levels():
        if any(name.lower() == ATTRIBUTE for _, name, _ in document.attributes(level)):
            raise BiddingDown("the description has both key-mgmt and keys of SDES", field=_FIELD)
    live = [index for index in range(len(document.media)) if document.media_line(index).port]
    if not live:
        raise MediaNotSecured("no stream is left", field="m=")
    return {index: _usable(document, index, suites) for index in live}


def _usable(document: Document, index: int, suites: tuple[str, ...]) -> dict[int, CryptoLine]:
    name = f"m-line {index + 1}"
    protocol = document.media_line(index).protocol
    if protocol != "RTP/SAVP":
        raise MediaNotSecured(f"{name} is {protocol}, not RTP/SAVP", field="m=")
    values = [value or "" for _, kind, value in document.attributes(index) if kind.lower() == "crypto"]
    if not values:
        raise KeyMgmtMissing(f"{name} has neither key-mgmt nor a=crypto", field=_FIELD)
    read = [_read(value, suites) for value in values]
    found = {line.tag: line for line in read if isinstance(line, CryptoLine)}
    if not found:
        why = next(line for line in read if isinstance(line, str))
        raise CryptoUnusable(f"{name}: {why}", field=_FIELD)
    if len(found) < sum(isinstance(line, CryptoLine) for line in read):
        raise MediaMismatch(f"{name}: two a=crypto lines with one tag", field=_FIELD)
    return found


def _read(value: str, suites: tuple[str, ...]) -> CryptoLine | str:
    """Return the line, or the reason why it cannot be used, without any of its key material."""
    match = _VALUE.fullmatch(value)
    if match is None:
        return "an a=crypto line that cannot be read (RFC 4568 section 9.1)"
    tag, suite, text, extra, parameters = match.groups()
    if suite not in suites:
        return f"crypto suite {suite} is not among {', '.join(suites)}"
    if parameters.strip():
        # UNENCRYPTED_SRTP and its like among them (RFC 4568 section 6.3).
        return "an a=crypto line with session parameters, which are not used here"
    if extra is not None and _LIFETIME.fullmatch(extra) is None:
        return "an a=crypto line with an MKI, which pjmedia does not send"
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return "an a=crypto line whose key is not base64"
    if len(key) != profile_by_name(suite).keying_length:
        return f"an a=crypto line with {len(key)} octets of key and salt for {suite}"
    return CryptoLine(tag=int(tag), suite=suite, key=Secret(key))


def agreed_crypto(
    offer: str, answer: str, suites: tuple[str, ...], *, ours_offered: bool
) -> tuple[AgreedCrypto, ...]:
    """Return what *answer* chose of *offer* (RFC 4568 section 5.1.2). Raises ``PeerError``."""
    offered, answered = usable_lines(offer, suites), usable_lines(answer, suites)
    agreed = []
    for index, lines in answered.items():
        name = f"m-line {index + 1}"
        if len(lines) != 1 or _count(answer, index) != 1:
            raise MediaMismatch(f"{name}: an answer must have exactly one a=crypto line", field=_FIELD)
        (chosen,) = lines.values()
        source = offered.get(index, {}).get(chosen.tag)
        if source is None or source.suite != chosen.suite:
            raise MediaMismatch(f"{name}: the answer's a=crypto line was not offered", field=_FIELD)
        send, receive = (source, chosen) if ours_offered else (chosen, source)
        if send.key == receive.key:
            raise MediaMismatch(f"{name}: both directions have the same key", field=_FIELD)
        agreed.append(AgreedCrypto(index=index, suite=chosen.suite, send=send.key, receive=receive.key))
    return tuple(agreed)


def _agreed(
    offer: str, answer: str, suites: tuple[str, ...], *, ours_offered: bool
) -> tuple[SdesStream, ...]:
    return tuple(
        SdesStream(
            index=one.index,
            suite=one.suite,
            send_key=one.send.fingerprint(),
            receive_key=one.receive.fingerprint(),
        )
        for one in agreed_crypto(offer, answer, suites, ours_offered=ours_offered)
    )


def _count(sdp: str, index: int) -> int:
    attributes = Document.parse(sdp).attributes(index)
    return sum(name.lower() == "crypto" for _, name, _ in attributes)


def _crypto_lines(sdp: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return protocol, media and keying of every m-line, for comparison."""
    document = Document.parse(sdp)
    found = []
    for index in range(len(document.media)):
        line = document.media_line(index)
        keying = [
            f"{name}:{value}"
            for level in (None, index)
            for _, name, value in document.attributes(level)
            if name.lower() in ("crypto", ATTRIBUTE, "fingerprint")
        ]
        found.append((line.media, line.protocol, tuple(keying)))
    return found
