"""A group key for multicast streams (RFC 6043 section 9). No I/O.

Signalling is centralised at the party that has the tickets: a ticket and a Ticket Transfer for each member,
all with the same RANDRi and the same group key (GTGK) in their KEMAC. A removed member is left out of the
next key.
"""

from __future__ import annotations

from collections.abc import Mapping

from sipmikey.keys.suite import Suite
from sipmikey.media.keying import StreamKey
from sipmikey.mikey.errors import InvalidIdentity, LocalError, PeerError
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.ticket.bundle import CryptoSessionBundle, derive_crypto_session, session_rands
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.identity import same_identity
from sipmikey.ticket.policy import TicketPolicy
from sipmikey.ticket.request import TicketGrant
from sipmikey.ticket.transfer import TransferInitiator, TransferResponder
from sipmikey.ticket.update import UpdateInitiator, UpdateResponder

GROUP_FLAGS = TicketFlags.of("DEFHLNO")
"""No key forking and no RANDRr, so that everybody derives the same key; the Initiator supplies it (L)."""

SESSION_FLAGS = TicketFlags.of("DEFHILNO")
"""The same with key forking: MPKr differs for each member, so that the KMS vouches for who answers. A GTGK is
not forked (RFC 6043 section 5.1.1)."""

_CS_ID = 1
_MEMBERS_CS_ID = 2
_POLICY_NO = 0
_SPI_LENGTH = 4


def group_ticket_policy(suite: Suite, *, initiator: str, member: str, kms: str) -> TicketPolicy:
    """Return the policy to ask the KMS for, for one member of a group."""
    return TicketPolicy(suite=suite, flags=GROUP_FLAGS, responders=(member,), initiator=initiator, kms=kms)


def session_ticket_policy(suite: Suite, *, initiator: str, group: str, kms: str) -> TicketPolicy:
    """Return the policy of a ticket for a group: the KMS resolves it for its members only."""
    return TicketPolicy(suite=suite, flags=SESSION_FLAGS, responders=(group,), initiator=initiator, kms=kms)


class Group:
    """The sender's half: who is in the group, and the key all of them have.

    ``invite`` and ``joined`` add a member; ``remove`` takes one out and makes the next key, which ``updates``
    carries to the others. The sender switches to ``key`` when ``complete``, or when it will not wait longer
    for a member that does not answer; packets carry the SPI as their MKI, so that receivers follow.
    *number* is the SPI of the first key.
    """

    def __init__(
        self, env: Environment, *, initiator: str, suite: Suite, srtp: SrtpPolicy, ssrc: int, number: int = 1
    ) -> None:
        self._env = env
        self._initiator = initiator
        self._suite = suite
        self._srtp = srtp
        self._ssrc = ssrc
        self._rand_i: bytes | None = None
        self._invited: dict[str, TransferInitiator] = {}
        self._members: dict[str, CryptoSessionBundle] = {}
        self._updates: dict[str, UpdateInitiator] = {}
        self._number = number - 1
        self._gtgk = self._next_gtgk()

    def _next_gtgk(self) -> KeyData:
        self._number += 1
        return KeyData(
            key_type=KeyDataType.GTGK,
            key=Secret(self._env.random(self._suite.key_length)),
            spi=self._number.to_bytes(_SPI_LENGTH, "big"),
        )

    @property
    def members(self) -> tuple[str, ...]:
        """Identities of those who have joined."""
        return tuple(self._members)

    @property
    def complete(self) -> bool:
        """True where every member has acknowledged the present key."""
        return not self._updates

    def _entry(self, position: tuple[int, int] | None) -> GenericIdEntry:
        roc, seq = (None, None) if position is None else position
        return self._described(_CS_ID, SrtpSessionData(ssrc=self._ssrc, roc=roc, seq=seq))

    def _described(self, cs_id: int, data: SrtpSessionData) -> GenericIdEntry:
        return GenericIdEntry(
            cs_id=cs_id,
            policies=(_POLICY_NO,),
            session_data=data.encode(),
            s=data.s,
            spi=self._gtgk.spi or b"",
        )

    def invite(
        self,
        grant: TicketGrant,
        member: str,
        *,
        position: tuple[int, int] | None = None,
        called: str | None = None,
        ssrc: int | None = None,
    ) -> bytes:
        """Return the TRANSFER_INIT for *member*, whose ticket *grant* is.

        *position* is (ROC, SEQ) of the next packet of a stream that runs. *called* is the group's identity
        where the ticket is for the group. *ssrc* is what the member itself may send with. Raises `LocalError`
        for a ticket under which the members would derive different keys.
        """
        flags = grant.policy.flags
        if flags.randr_r or not flags.initiator_keys:
            raise LocalError("a group's tickets have G 0 and L 1: its members would derive different keys")
        entries = [self._entry(position)]
        if ssrc is not None:
            entries.append(self._described(_MEMBERS_CS_ID, SrtpSessionData(ssrc=ssrc)))
        transfer = TransferInitiator.start(
            self._env,
            grant,
            crypto_sessions=tuple(entries),
            policies=(self._srtp.payload(_POLICY_NO),),
            initiator=self._initiator,
            responder=called or member,
            keys=(self._gtgk,),
            rand_i=self._rand_i,
        )
        self._rand_i = transfer.rand_i
        self._invited[member] = transfer
        return transfer.message

    def joined(self, member: str, answer: bytes) -> None:
        """Take the TRANSFER_RESP of an invited member; raise a `PeerError`, for another's as well."""
        transfer = self._invited.get(member)
        if transfer is None:
            raise LocalError(f"{member} has not been invited")
        bundle = transfer.receive(answer)
        if not same_identity(bundle.peer, member):
            raise InvalidIdentity(f"{bundle.peer} answered in the place of {member}", field="IDRr")
        del self._invited[member]
        self._members[member] = bundle

    def remove(self, member: str) -> None:
        """Take *member* out and make a new key; the key the removed member has is used until the switch."""
        if self._members.pop(member, None) is None and self._invited.pop(member, None) is None:
            raise LocalError(f"{member} is not in the group")
        self.rekey()

    def rekey(self) -> None:
        """Make a new key, to be carried to the members by ``updates``."""
        if self._invited:
            raise LocalError(
                f"{', '.join(self._invited)} has been invited under the present key: wait or remove"
            )
        self._gtgk = self._next_gtgk()
        self._updates = {
            member: UpdateInitiator.start(
                self._env, bundle, crypto_sessions=(self._entry(None),), keys=(self._gtgk,)
            )
            for member, bundle in self._members.items()
        }

    @property
    def updates(self) -> Mapping[str, bytes]:
        """The CSB updates still to be answered, by member."""
        return {member: update.message for member, update in self._updates.items()}

    def updated(self, member: str, answer: bytes) -> None:
        """Take a member's answer to its update; raise a `PeerError`."""
        update = self._updates.get(member)
        if update is None:
            raise LocalError(f"no update is under way with {member}")
        self._members[member] = update.receive(answer)
        del self._updates[member]

    def key(self) -> StreamKey:
        """Return the present key for sending; known once a member has been invited."""
        return self._key(self._entry(None))

    def member_key(self) -> StreamKey:
        """Return the present key that members send with. Its SSRC is 0: each has one of its own."""
        return self._key(self._described(_MEMBERS_CS_ID, SrtpSessionData(ssrc=0)))

    def _key(self, entry: GenericIdEntry) -> StreamKey:
        if self._rand_i is None:
            raise LocalError("no member has been invited: the group has no RANDRi yet")
        policy = TicketPolicy(suite=self._suite, flags=GROUP_FLAGS, responders=(self._initiator,))
        session = derive_crypto_session(
            entry,
            {_POLICY_NO: self._srtp.payload(_POLICY_NO)},
            (self._gtgk,),
            self._suite,
            session_rands(policy, self._rand_i, b""),
        )
        return StreamKey.of(session, mki_in_packets=True)


class Membership:
    """A receiver's half: the verified transfer it was invited with, and the updates after it."""

    def __init__(self, env: Environment, transfer: TransferResponder) -> None:
        """*transfer* has been verified with the resolved ticket."""
        self._env = env
        self._check(transfer.session_keys())
        self.answer, self._bundle = transfer.respond(crypto_sessions=transfer.crypto_sessions)

    def _check(self, keys: tuple[KeyData, ...]) -> None:
        if not any(key.key_type in (KeyDataType.GTGK, KeyDataType.GTGK_SALT) for key in keys):
            raise PeerError("the invitation carries no group key", field="KEMAC")

    def update(self, message: bytes) -> bytes:
        """Take a CSB update of the sender and return the answer; raise a `PeerError`."""
        received = UpdateResponder(self._env, self._bundle, message)
        answer, self._bundle = received.respond(crypto_sessions=received.crypto_sessions)
        return answer

    def key(self) -> StreamKey:
        """Return the present key for receiving."""
        return self._key(_CS_ID)

    def own_key(self) -> StreamKey:
        """Return the present key for sending, with the SSRC given to this member; raise a `PeerError`."""
        return self._key(_MEMBERS_CS_ID)

    def _key(self, cs_id: int) -> StreamKey:
        session = self._bundle.crypto_session(cs_id)
        if session is None:
            raise PeerError(f"the group has no crypto session {cs_id}", field="CS ID map")
        return StreamKey.of(session, mki_in_packets=True)
