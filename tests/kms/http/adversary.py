"""Messages no KMS may grant: mutated, truncated, replayed, reordered, spliced, of the wrong user or KMS."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sipmikey.system import environment
from sipmikey.ticket import PreSharedKey, TicketGrant, TicketRequest
from tests.kms.http.serving import KMS, TICKET_REQUEST, TICKET_RESOLVE, Subscriber

PATHS = (TICKET_REQUEST, TICKET_RESOLVE)
BASES = 64
"""Valid messages of each kind, never sent as they are until the end: only their mutants are."""

SKEW_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A message to send, the path to send it to, and the family it belongs to."""

    family: str
    path: str
    message: bytes


class Adversary:
    """Draws attacks from seeded randomness.

    *grant* is a ticket of *alice* for *bob*; *mallory* is a subscriber it is not for. *foreign* is a ticket
    of alice for bob from another KMS that bears the same name. *seen* are messages the KMS has granted.
    """

    def __init__(
        self,
        seed: int,
        *,
        alice: Subscriber,
        bob: Subscriber,
        mallory: Subscriber,
        grant: TicketGrant,
        foreign: TicketGrant,
        seen: list[tuple[str, bytes]],
    ) -> None:
        self._random = random.Random(seed)
        self._alice, self._bob, self._mallory = alice, bob, mallory
        self._grant, self._foreign, self._seen = grant, foreign, seen
        self.bases = [(TICKET_REQUEST, alice.request(bob.identity).message) for _ in range(BASES)]
        self.bases += [(TICKET_RESOLVE, bob.resolve(grant, alice).message) for _ in range(BASES)]
        cheap: list[Callable[[], Attack]] = [
            self._bit_flipped,
            self._octets_changed,
            self._truncated,
            self._extended,
            self._cut_out,
            self._put_in,
            self._reordered,
            self._spliced,
            self._replayed,
            self._wrong_path,
            self._noise,
        ]
        made: list[Callable[[], Attack]] = [
            self._other_users_key,
            self._other_users_identity,
            self._other_users_ticket,
            self._other_kms,
            self._foreign_ticket,
            self._altered_ticket,
            self._outside_the_clock,
        ]
        # What has to be protected with a key costs as much to make as to refuse.
        self._families = cheap * 6 + made

    def attacks(self, count: int) -> Iterator[Attack]:
        """Yield *count* attacks."""
        for _ in range(count):
            yield self._random.choice(self._families)()

    def _base(self) -> tuple[str, bytearray]:
        path, message = self._random.choice(self.bases)
        return path, bytearray(message)

    def _bit_flipped(self) -> Attack:
        path, message = self._base()
        place = self._random.randrange(len(message) * 8)
        message[place // 8] ^= 1 << place % 8
        return Attack(family="bit flipped", path=path, message=bytes(message))

    def _octets_changed(self) -> Attack:
        path, message = self._base()
        before = bytes(message)
        while bytes(message) == before:
            for _ in range(self._random.randint(1, 8)):
                message[self._random.randrange(len(message))] = self._random.randrange(256)
        return Attack(family="octets changed", path=path, message=bytes(message))

    def _truncated(self) -> Attack:
        path, message = self._base()
        return Attack(
            family="truncated", path=path, message=bytes(message[: self._random.randrange(len(message))])
        )

    def _extended(self) -> Attack:
        path, message = self._base()
        more = self._random.randbytes(self._random.randint(1, 64))
        return Attack(family="extended", path=path, message=bytes(message + more))

    def _cut_out(self) -> Attack:
        path, message = self._base()
        start = self._random.randrange(len(message))
        del message[start : start + self._random.randint(1, 40)]
        return Attack(family="cut out", path=path, message=bytes(message))

    def _put_in(self) -> Attack:
        path, message = self._base()
        place = self._random.randrange(len(message))
        message[place:place] = self._random.randbytes(self._random.randint(1, 40))
        return Attack(family="put in", path=path, message=bytes(message))

    def _reordered(self) -> Attack:
        path, message = self._base()
        before = bytes(message)
        while bytes(message) == before:
            a, b, c, d = sorted(self._random.sample(range(len(before) + 1), 4))
            message = bytearray(before[:a] + before[c:d] + before[b:c] + before[a:b] + before[d:])
        return Attack(family="reordered", path=path, message=bytes(message))

    def _spliced(self) -> Attack:
        path, first = self._base()
        second = first
        while second == first:
            _, second = self._base()
        place = self._random.randrange(1, min(len(first), len(second)))
        message = bytes(first[:place] + second[place:])
        if any(message == base for _, base in self.bases):
            return self._bit_flipped()  # two messages that differ only on one side of the cut
        return Attack(family="spliced", path=path, message=message)

    def _replayed(self) -> Attack:
        path, message = self._random.choice(self._seen)
        return Attack(family="replayed", path=path, message=message)

    def _wrong_path(self) -> Attack:
        path, message = self._base()
        other = PATHS[1 - PATHS.index(path)]
        return Attack(family="wrong request type", path=other, message=bytes(message))

    def _noise(self) -> Attack:
        head = self._random.choice((b"", b"\x01", b"\x01\x0b", b"\x01\x10\x05", b"A", b"AQsF", b"AQ0F"))
        octets = head + self._random.randbytes(self._random.randint(0, 600))
        return Attack(family="noise", path=self._random.choice(PATHS), message=octets)

    def _other_users_key(self) -> Attack:
        """mallory signs as alice, naming alice's key and having only her own."""
        key = PreSharedKey(key=self._mallory.psk.key, key_id=self._alice.psk.key_id)
        return self._request(Subscriber(identity=self._alice.identity, psk=key), "other user's key")

    def _other_users_identity(self) -> Attack:
        """mallory claims to be alice, honestly naming her own key."""
        liar = Subscriber(identity=self._alice.identity, psk=self._mallory.psk)
        return self._request(liar, "other user's identity")

    def _request(self, asker: Subscriber, family: str, kms: str = KMS) -> Attack:
        message = asker.request(self._bob.identity, kms=kms).message
        return Attack(family=family, path=TICKET_REQUEST, message=message)

    def _other_users_ticket(self) -> Attack:
        """mallory resolves a ticket for bob, as herself or as bob."""
        identity = self._random.choice((self._mallory.identity, self._bob.identity))
        thief = Subscriber(identity=identity, psk=self._mallory.psk)
        message = thief.resolve(self._grant, self._alice).message
        return Attack(family="other user's ticket", path=TICKET_RESOLVE, message=message)

    def _other_kms(self) -> Attack:
        return self._request(self._alice, "other KMS", kms="sip:kms@example.net")

    def _foreign_ticket(self) -> Attack:
        """A ticket sealed by a KMS that merely calls itself like this one."""
        message = self._bob.resolve(self._foreign, self._alice).message
        return Attack(family="foreign ticket", path=TICKET_RESOLVE, message=message)

    def _altered_ticket(self) -> Attack:
        """bob, who may resolve the ticket, alters a bit of what the KMS sealed."""
        data = bytearray(self._grant.ticket.ticket_data)
        place = self._random.randrange(len(data) * 8)
        data[place // 8] ^= 1 << place % 8
        ticket = dataclasses.replace(self._grant.ticket, ticket_data=bytes(data))
        return self._resolve_of(ticket, "altered ticket")

    def _resolve_of(self, ticket: object, family: str) -> Attack:
        grant = dataclasses.replace(self._grant, ticket=ticket)  # type: ignore[arg-type]
        message = self._bob.resolve(grant, self._alice).message
        return Attack(family=family, path=TICKET_RESOLVE, message=message)

    def _outside_the_clock(self) -> Attack:
        """alice's clock is wrong, or an old message comes late."""
        away = self._random.choice((-1, 1)) * self._random.randint(SKEW_S + 30, 10 * 365 * 86_400)
        env = environment()
        wrong = dataclasses.replace(env, now_ns=lambda: env.now_ns() + away * 10**9)
        policy = self._alice.policy(self._bob.identity)
        request = TicketRequest.start(
            wrong, policy=policy, credential=self._alice.psk, identity=self._alice.identity, kms=KMS
        )
        return Attack(family="wrong clock", path=TICKET_REQUEST, message=request.message)
