"""What is fuzzed: every parser of octets that others send or files hold. Each raises only what it says.

A target takes octets and returns; an exception that leaves it is a finding.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from sipmikey.agent.asyncio_sip.media.description import agreed, answer, offer
from sipmikey.agent.asyncio_sip.media.description import read as read_description
from sipmikey.agent.isolation import messages
from sipmikey.agent.isolation.channel import Channel, ChannelClosed
from sipmikey.agent.screening.screen import examine
from sipmikey.cli.config import load as agent_settings
from sipmikey.cli.decode.printing import document, tree
from sipmikey.cli.kms import configuration as kms_settings
from sipmikey.decode import capture, sources
from sipmikey.decode.explain.message import explain
from sipmikey.deferred.claims import facts_of
from sipmikey.deferred.deposit import parse_deposit
from sipmikey.deferred.opened_before import parse_opened
from sipmikey.kms.policy.file import parse_policy
from sipmikey.kms.server.body import decode_body
from sipmikey.media.rtcp.packets import parse_compound
from sipmikey.media.rtp import RtpPacket
from sipmikey.media.rtpdump import parse_rtpdump
from sipmikey.mikey.errors import SipmikeyError
from sipmikey.mikey.message import Message
from sipmikey.mikey.ticket import TICKET
from sipmikey.sdp import Answerer
from sipmikey.sdp.document import Document
from sipmikey.sip import SipMessage, parse_addresses, parse_replaces, parse_via, parse_warning, parts
from sipmikey.sip.message_summary import parse_summary
from sipmikey.sip.pidf import parse_presence
from sipmikey.system import environment
from sipmikey.ticket.identity import canonical, matches, same_identity
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.vectors import check, file
from tests.fuzz import signalling as signalling_stack

Target = Callable[[bytes], None]

_ENV = environment()
_FOLDER = Path(tempfile.mkdtemp(prefix="sipmikey-fuzz-"))
_refused = contextlib.suppress(SipmikeyError)


def mikey(data: bytes) -> None:
    """Parsing, and building from what was parsed."""
    with _refused:
        message = Message.parse(data)
        assert message.raw == data
        with _refused:
            Message.parse(Message.build(message.header, message.payloads).raw)


def explained(data: bytes) -> None:
    """Explaining octets that claim to be MIKEY, which never fails."""
    found = explain(data)
    json.dumps(document(found, "x", list(found.findings), [], show_keys=True))
    list(tree(found.nodes, show_keys=True, verbose=True))


def ticket(data: bytes) -> None:
    """The policy of tickets."""
    with _refused:
        for payload in Message.parse(data).payloads:
            if isinstance(payload, TICKET):
                TicketPolicy.of(payload)


def sdp(data: bytes) -> None:
    """A description, and an offer to be answered."""
    text = data.decode("utf-8", "surrogateescape")
    with _refused:
        Document.parse(text)
    with _refused:
        Answerer(_ENV, identities=("sip:bob@example.com",)).receive_offer(
            text, sip_caller="sip:alice@example.com"
        )


def sip(data: bytes) -> None:
    """A SIP message, and all that is read in it."""
    try:
        message = SipMessage.parse(data)
    except SipmikeyError:
        return
    SipMessage.parse(message.encode())
    readers: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("from", parse_addresses), ("contact", parse_addresses), ("via", parse_via),
        ("warning", parse_warning), ("replaces", parse_replaces),
    )  # fmt: skip
    for name, read in readers:
        for value in message.all(name):
            with _refused:
                read(value)
    with _refused:
        if message.media_type is not None:
            list(parts(message.media_type, message.content))


def screen(data: bytes) -> None:
    """The screen before pjsip."""
    examine(data)


def signalling(data: bytes) -> None:
    """Messages to the stack in Python, between them two zero octets."""
    signalling_stack.take(data.split(b"\0\0")[:12])


def described(data: bytes) -> None:
    """A description to the stack in Python: read, answered, and taken for an answer."""
    text = data.decode("utf-8", "surrogateescape")
    with _refused:
        theirs = read_description(text)
        ours = answer(theirs, "192.0.2.1", 1, ("PCMA", "PCMU"), held=False, shared=True)
        agreed(ours, text, ours_offered=False)
        agreed(offer("192.0.2.1", 1, ["RTP/AVP"] * len(theirs), ("PCMA",), held=False), text)


def channel(data: bytes) -> None:
    """What a stack process says."""
    one, other = socket.socketpair()
    with contextlib.closing(Channel(one, messages.FROM_STACK, lambda message: None, defer=False)) as end:
        other.sendall(struct.pack("!I", len(data)) + data)
        other.close()
        with contextlib.suppress(ChannelClosed):
            end.receive()


def decoded(data: bytes) -> None:
    """What `sipmikey decode` finds in octets."""
    for found in sources.find(data)[:20]:
        explain(found.data)


def captured(data: bytes) -> None:
    """A capture file."""
    path = _FOLDER / "capture.pcap"
    path.write_bytes(data)
    with _refused:
        capture.messages(path)


def rtpdump(data: bytes) -> None:
    """A file of RTP packets."""
    with _refused:
        parse_rtpdump(data).encode()


def rtp(data: bytes) -> None:
    """RTP and RTCP packets."""
    with _refused:
        RtpPacket.parse(data)
    with _refused:
        parse_compound(data)


def policy(data: bytes) -> None:
    """A policy of the KMS."""
    with contextlib.suppress(SipmikeyError, UnicodeDecodeError):
        parse_policy(data.decode())


def agent_toml(data: bytes) -> None:
    """The configuration of the agent."""
    path = _FOLDER / "config.toml"
    path.write_bytes(data)
    with _refused:
        agent_settings.load(path=path, environment={})


def kms_toml(data: bytes) -> None:
    """The configuration of the KMS."""
    (_FOLDER / "kms.toml").write_bytes(data)
    with _refused:
        kms_settings.load(_FOLDER)


def vectors(data: bytes) -> None:
    """A file of test vectors."""
    path = _FOLDER / "vectors.json"
    path.write_bytes(data)
    with _refused:
        loaded = file.load(path)
        bases = {str(vector.get("name")): vector for vector in loaded}
        for vector in loaded[:4]:
            check.check(vector, bases)


def body(data: bytes) -> None:
    """The body of a request to the KMS."""
    with _refused:
        decode_body(data)


def identity(data: bytes) -> None:
    """Identities: the canonical form is its own canonical form."""
    one, _, other = data.decode("utf-8", "surrogateescape").partition("\n")
    with _refused:
        form = canonical(one)
        assert canonical(form) == form
    with _refused:
        same_identity(one, other)
    with _refused:
        matches(one, other)


def deposit(data: bytes) -> None:
    """A message as the mailbox gets it and the addressee fetches it; what was opened before."""
    with _refused:
        assert parse_deposit(data).encode() == data
    with _refused:
        facts_of(parse_deposit(data).transfer_init)
    with _refused:
        parse_opened(data.decode("latin-1"))


def summary(data: bytes) -> None:
    """A message summary as anybody may send it."""
    with _refused:
        found = parse_summary(data)
        assert parse_summary(found.encode()) == found


def presence(data: bytes) -> None:
    """A presence document as anybody may send it."""
    with _refused:
        found = parse_presence(data)
        assert parse_presence(found.encode()) == found


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        mikey, explained, ticket, sdp, sip, screen, signalling, described, channel, decoded, captured,
        rtpdump, rtp, policy, agent_toml, kms_toml, vectors, body, identity, deposit, summary,
        presence,
    )
}  # fmt: skip


def run(target: Target, data: bytes) -> None:
    """Run *target* on *data* with what it prints kept away."""
    with contextlib.redirect_stdout(io.StringIO()):
        target(data)
