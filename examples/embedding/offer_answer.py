"""A secured call without a SIP stack: what a client of yours has to do, and nothing else.

Run it with ``python examples/embedding/offer_answer.py``. Alice calls Bob, whose phone and laptop both
answer. SIP is played by variables: what a stack would send is handed to the other side as it is. At the end
the program prints the SRTP parameters that each side would give to its SRTP library, as fingerprints.

Exit status: 0 when both sides ended up with the same keys, 1 otherwise.
"""

from __future__ import annotations

import sys

from memory_kms import MemoryKms

from sipmikey.keys.suite import SUITE_256
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.sdp import Answerer, Offerer, SessionKeys
from sipmikey.system import environment
from sipmikey.ticket import PreSharedKey, RequestedKey, TicketGrant, TicketPolicy, TicketRequest

ALICE, BOB, KMS = "sip:alice@example.com", "sip:bob@example.com", "sip:kms@example.com"

ENV = environment()  # the clock and the randomness of this machine


def description(user: str, port: int, direction: str = "sendrecv", *, address: str = "127.0.0.1") -> str:
    """What your SIP stack offers or answers: plain RTP, no word of keys."""
    where = f"IN IP{6 if ':' in address else 4} {address}"
    return (
        "v=0\r\n"
        f"o={user} 1 1 {where}\r\n"
        "s=-\r\n"
        f"c={where}\r\n"
        "t=0 0\r\n"
        f"m=audio {port} RTP/AVP 0 8\r\n"
        "a=mid:speech\r\n"
        f"a={direction}\r\n"
    )


def get_ticket(kms: MemoryKms, credential: PreSharedKey) -> TicketGrant:
    """Ask the KMS for a ticket for Bob. It may be fetched before anybody calls."""
    policy = TicketPolicy(
        suite=SUITE_256,
        flags=TicketFlags.of("DEFGHILMNO"),  # full mode with key forking; L and M: both sides may rekey
        responders=(BOB,),
        kms=KMS,
        initiator=ALICE,
        requested_keys=(RequestedKey(length=SUITE_256.key_length),),
    )
    request = TicketRequest.start(ENV, policy=policy, credential=credential, identity=ALICE, kms=KMS)
    return request.receive(kms.ask(request.message))


def answer_on_a_device(
    kms: MemoryKms, credential: PreSharedKey, invite_sdp: str
) -> tuple[Answerer, str, SessionKeys]:
    """Everything one device of Bob's does with an INVITE."""
    answerer = Answerer(ENV, identities=[BOB])
    # From, or P-Asserted-Identity where a proxy you trust has put it. A refused offer raises a PeerError
    # whose sip_status and reason say what to answer.
    offered = answerer.receive_offer(invite_sdp, sip_caller=ALICE)
    print(f"  call from {offered.caller}, ticket {offered.ticket_id} of {offered.kms}")
    while answerer.unresolved:
        question = answerer.make_resolve_init(credential, kms=KMS)
        answerer.receive_resolve_resp(kms.ask(question))
    answer_sdp, keyed = answerer.make_answer(description("bob", 5000))
    answerer.check_sent(answer_sdp)  # give it what your stack really sent
    return answerer, answer_sdp, keyed


def show(who: str, keyed: SessionKeys) -> None:
    """Print SRTP parameters; keys as fingerprints, which is how a log may have them."""
    print(f"{who}: {keyed.suite}, peer {keyed.peer} (vouched for by {keyed.kms})")
    for media in keyed.media:
        for word, session in (("send", media.send), ("receive", media.receive)):
            print(
                f"  m-line {media.index} {word:8} SSRC {session.ssrc:08x} MKI {session.spi.hex()}"
                f" key {session.master_key.fingerprint()} salt {session.master_salt.fingerprint()}"
            )


def mirrored(one: SessionKeys, other: SessionKeys) -> bool:
    """True where what one side sends with is what the other receives with."""
    return [(m.send, m.receive) for m in one.media] == [(m.receive, m.send) for m in other.media]


def main() -> int:
    kms = MemoryKms(ENV, KMS)
    alices_key, bobs_key = kms.add(ALICE), kms.add(BOB)

    grant = get_ticket(kms, alices_key)
    offerer = Offerer(ENV, grant=grant, called=BOB)
    invite_sdp = offerer.make_offer(description("alice", 4000))
    offerer.check_sent(invite_sdp)
    print(f"INVITE: {len(invite_sdp)} octets of SDP, {len(offerer.transfer_init)} of them TRANSFER_INIT")

    agreed = True
    devices = {}
    for tag in ("phone", "laptop"):
        print(f"{tag}:")
        device, answer_sdp, bobs = answer_on_a_device(kms, bobs_key, invite_sdp)
        alices = offerer.receive_answer(tag, answer_sdp)  # one To-tag, one answer, one set of keys
        agreed &= mirrored(alices, bobs)
        devices[tag] = device
    alice, bob = offerer.choose("laptop"), devices["laptop"].session
    devices["phone"].close()
    show("alice", alice.keys)
    show("bob", bob.keys)

    # Hold: a new offer, the same keys.
    bob.receive_offer(alice.make_offer(description("alice", 4000, "sendonly")))
    answer_sdp, bobs = bob.make_answer(description("bob", 5000, "recvonly"))
    alices = alice.receive_answer(answer_sdp)
    print(f"on hold: alice {alices.media[0].direction.value}, keys changed: {alices.changed}")
    agreed &= mirrored(alices, bobs) and not alices.changed

    # Bob wants new keys: a CSB update in his re-INVITE.
    alice.receive_offer(bob.make_offer(description("bob", 5000), rekey=True))
    answer_sdp, alices = alice.make_answer(description("alice", 4000))
    bobs = bob.receive_answer(answer_sdp)
    print("rekeyed by bob:")
    show("alice", alices)
    agreed &= mirrored(alices, bobs) and alices.changed

    print("both sides have the same keys" if agreed else "THE KEYS DIFFER")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
