"""A rehearsal of the key exchange, so that the first call does not pay for one-time work of Python.

Regular expressions are compiled and ciphers loaded when they are first used, which takes longer than the
whole set-up of a later call.
"""

from __future__ import annotations

from sipmikey.keys.suite import suite_named
from sipmikey.mikey.secret import Secret
from sipmikey.sdp import Answerer, Offerer
from sipmikey.ticket.base_ticket import make_session_keys, seal_ticket
from sipmikey.ticket.credentials import TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.policy import FULL_MODE, RequestedKey, TicketPolicy
from sipmikey.ticket.request import grant_of

_CALLER, _CALLED = "sip:caller@rehearsal.invalid", "sip:called@rehearsal.invalid"
_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 8\r\na=sendrecv\r\na=rtpmap:8 PCMA/8000\r\na=ssrc:1 cname:x\r\n"
)


def rehearse(env: Environment, suite_word: str) -> None:
    """Make and read an offer under a ticket that is thrown away; nothing leaves this function."""
    suite = suite_named(suite_word)
    policy = TicketPolicy(
        suite=suite,
        flags=FULL_MODE,
        responders=(_CALLED,),
        kms=_CALLED,
        initiator=_CALLER,
        requested_keys=(RequestedKey(length=suite.key_length),),
    )
    keys = make_session_keys(env, policy.requested_keys)
    policy = policy.without_requested_keys()
    tpk = TicketProtectionKey(key=Secret(env.random(suite.key_length)))
    ticket, contents = seal_ticket(env, policy, tpk, keys)
    offer = Offerer(env, grant=grant_of(ticket, policy, contents), called=_CALLED).make_offer(_SDP)
    Answerer(env, identities=(_CALLED,)).receive_offer(offer, sip_caller=_CALLER)
