"""Devices that answer an INVITE with the real MIKEY Responder, played by a scripted SIP peer."""

from __future__ import annotations

from pylibsrtp import Error, Policy, Session

from sipmikey.kms.client import HttpKmsClient
from sipmikey.media.keying import StreamKey
from sipmikey.mikey.secret import Secret
from sipmikey.sdp import Answerer, SessionKeys
from sipmikey.sip import SipMessage
from sipmikey.system import environment
from sipmikey.testing.kms import TestKms
from sipmikey.ticket.credentials import PreSharedKey
from tests.agent.calls.scripted import RtpPorts, description

CALLER = "sip:alice@example.com"
CALLED = "sip:bob@example.com"


class Device:
    """One of bob's devices: *tag* is its To-tag. ``answer`` makes its SDP, once it has asked the KMS."""

    def __init__(self, tag: str, ports: RtpPorts, answerer: Answerer) -> None:
        self.tag = tag
        self.ports = ports
        self._answerer = answerer
        self.keyed: SessionKeys | None = None
        self.sdp = ""

    @classmethod
    async def ringing(cls, tag: str, invite: SipMessage, kms: TestKms, *, identity: str = CALLED) -> Device:
        """A device that has received *invite* and had its ticket resolved."""
        answerer = Answerer(environment(), identities=(identity,))
        answerer.receive_offer(invite.sdp, sip_caller=invite.uri("from") or "")
        user = kms.user(identity)
        credential = PreSharedKey(key=Secret(bytes.fromhex(user.psk)), key_id=user.psk_id.encode())
        async with HttpKmsClient(kms.url) as client:
            answerer.receive_resolve_resp(await client.request(answerer.make_resolve_init(credential)))
        device = cls(tag, await RtpPorts.open(), answerer)
        device.sdp, device.keyed = answerer.make_answer(description(device.ports))
        return device

    def answers_again(self, sdp: str) -> str:
        """Return the answer to an offer within the call; the keys it agrees on are in force from now on."""
        self._answerer.session.receive_offer(sdp)
        self.sdp, self.keyed = self._answerer.session.make_answer(description(self.ports))
        return self.sdp

    def offers(self, *, rekey: bool = False) -> str:
        """Return an offer of this device's own, at `ports`."""
        return self._answerer.session.make_offer(description(self.ports), rekey=rekey)

    def hears_answer(self, sdp: str) -> None:
        """Take the answer to `offers`; what it agrees on is in force from now on."""
        self.keyed = self._answerer.session.receive_answer(sdp)

    def is_refused(self) -> None:
        """The offer was refused: what was agreed before stays."""
        self._answerer.session.abandon()

    @property
    def key(self) -> bytes:
        """Master key and salt that the caller sends to this device with."""
        assert self.keyed is not None
        return StreamKey.of(self.keyed.media[0].receive).keying().reveal()

    def speaks(self, invite: SipMessage, packets: int = 5) -> None:
        """Send SRTP packets of silence to where *invite* says."""
        assert self.keyed is not None
        stream = StreamKey.of(self.keyed.media[0].send)
        session = Session(policy=Policy(key=stream.keying().reveal(), ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        line = next(line for line in invite.sdp.split("\r\n") if line.startswith("m="))
        for number in range(packets):
            header = bytes((0x80, 8)) + number.to_bytes(2, "big") + (number * 160).to_bytes(4, "big")
            packet = header + stream.ssrc.to_bytes(4, "big") + b"\xd5" * 160
            self.ports.send_rtp(session.protect(packet), int(line.split()[1]))

    def opens(self, packet: bytes) -> bool:
        """True when an SRTP packet verifies under the key the caller sends to this device with."""
        session = Session(policy=Policy(key=self.key, ssrc_type=Policy.SSRC_ANY_INBOUND))
        try:
            session.unprotect(packet)
        except Error:
            return False
        return True


def altered(sdp: str) -> str:
    """Return *sdp* with one bit of the last octets of its MIKEY message changed: its MAC is wrong."""
    lines = sdp.split("\r\n")
    at = next(n for n, line in enumerate(lines) if line.startswith("a=key-mgmt"))
    text = lines[at].rstrip("=")
    place = len(text) - 6
    lines[at] = text[:place] + ("A" if text[place] != "A" else "B") + lines[at][place + 1 :]
    return "\r\n".join(lines)
