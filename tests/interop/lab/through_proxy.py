"""What a hand-written peer does at a proxy that asks for credentials: register, and call."""

from __future__ import annotations

import hashlib
import itertools
import re
import secrets

from tests.interop.lab.kamailio import DOMAIN, password
from tests.interop.lab.kms import uri
from tests.interop.lab.peer import SipPeer
from tests.interop.lab.sip import SipMessage

CHALLENGES = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}
PARAMETER = re.compile(r'(\w+)="?([^",]*)')
_numbers = itertools.count(1)


def register(peer: SipPeer, registrar: tuple[str, int]) -> None:
    """Bind the peer's contact to its user, with a digest."""
    number = f"register-{next(_numbers)}"
    request = SipMessage(
        start_line=f"REGISTER sip:{DOMAIN} SIP/2.0",
        headers=(
            ("Via", f"SIP/2.0/UDP {peer.hostport};rport;branch=z9hG4bK{number}"),
            ("Max-Forwards", "70"),
            ("From", f"<{uri(peer.user)}>;tag={number}"),
            ("To", f"<{uri(peer.user)}>"),
            ("Call-ID", f"{number}@{peer.host}"),
            ("CSeq", "1 REGISTER"),
            ("Contact", f"<{peer.contact}>"),
        ),
    )
    challenge = _answer(peer, request, registrar)
    name, value = credentials(peer.user, challenge, "REGISTER", f"sip:{DOMAIN}")
    again = request.with_header("Via", f"SIP/2.0/UDP {peer.hostport};rport;branch=z9hG4bK{number}b")
    again = again.with_header("CSeq", "2 REGISTER").with_header(name, value)
    assert _answer(peer, again, registrar).status == 200


def call(peer: SipPeer, target: str, proxy: tuple[str, int], *, body: str) -> SipMessage:
    """The INVITE that was sent with credentials; the one without is acknowledged and over."""
    challenge = peer.final(peer.invite(target, proxy, body=body, sender=uri(peer.user)), proxy)
    name, value = credentials(peer.user, challenge, "INVITE", target)
    return peer.invite(target, proxy, body=body, sender=uri(peer.user), headers={name: value})


def credentials(user: str, challenge: SipMessage, method: str, target: str) -> tuple[str, str]:
    """Name and value of the header that answers a 401 or 407 (RFC 2617 section 3.2.2, MD5, qop auth)."""
    asked, name = CHALLENGES[challenge.status]
    given = dict(PARAMETER.findall(challenge[asked]))
    realm, nonce, own = given["realm"], given["nonce"], secrets.token_hex(8)
    who, what = _md5(f"{user}:{realm}:{password(user)}"), _md5(f"{method}:{target}")
    response = _md5(f"{who}:{nonce}:00000001:{own}:auth:{what}")
    return name, (
        f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{target}", '
        f'response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{own}"'
    )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _answer(peer: SipPeer, request: SipMessage, to: tuple[str, int]) -> SipMessage:
    peer.send(request, to)
    return peer.wait_for(
        lambda message: message.status >= 200 and message["CSeq"] == request["CSeq"],
        f"answer to {request.start_line}",
    )
