"""Calls of the exchanges for both cores: messages of real exchanges, mutated, and what is made of a seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from sipmikey.keys.derivation import ProtectionKeys, initial_message_keys
from sipmikey.keys.prf import Prf
from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.limits import Limits
from sipmikey.mikey.message import Message
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TICKET, TP, TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.base_ticket import open_ticket
from sipmikey.ticket.credentials import PreSharedKey, TicketProtectionKey
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.kms_exchange.kms import KmsInit
from sipmikey.ticket.policy import RequestedKey, TicketPolicy
from sipmikey.ticket.request import TicketGrant, TicketRequest, make_ticket
from sipmikey.ticket.resolve import Modifier, TicketResolve
from sipmikey.ticket.transfer import TransferInitiator
from tests.native.inputs import LIMITS, mutated

ALICE, BOB, KMS = "sip:alice@example.com", "sip:bob@example.com", "sip:kms@example.com"
NOW_NS = 1_790_000_000_123_456_789
FLAGS = ("DEFGHIJLMNO", "DEFGHINO", "DFHNO", "FGHLMNO", "EFGHIJLNO", "HLNO", "DFGLMN")
_NAMES = (ALICE, BOB, KMS, "sip:*@example.com", "tel:+49-12-34", "SIP:Carol@Example.COM", "no uri", "")


def environment(seed: int, limits: Limits = LIMITS[0]) -> Environment:
    """Return an environment whose clock stands still and whose randomness follows from *seed*."""
    rng = Random(seed)
    return Environment(now_ns=lambda: NOW_NS, random=rng.randbytes, limits=limits)


class Seeded(tuple[Any, ...]):
    """Arguments whose first, an environment, each core gets made from the same seed."""

    seed: int

    @classmethod
    def of(cls, seed: int, *arguments: Any) -> Seeded:
        seeded = cls(arguments)
        seeded.seed = seed
        return seeded

    def fresh(self) -> tuple[Any, ...]:
        """Return the arguments with an environment that no core has drawn from."""
        return (environment(self.seed), *self)


def policy(rng: Random, suite: Suite) -> TicketPolicy:
    """Return a Ticket Policy, mostly one that can be granted."""
    kinds = [rng.choice(tuple(KeyDataType)[:6]) for _ in range(rng.randrange(3))]
    flags = TicketFlags.of(rng.choice(FLAGS))
    now_s = NOW_NS // 1_000_000_000
    return TicketPolicy(
        suite=suite,
        flags=flags,
        responders=tuple(rng.choice(_NAMES[:6]) for _ in range(rng.randrange(1, 4))),
        kms=rng.choice((KMS, None)),
        initiator=rng.choice((ALICE, None)),
        valid_from=rng.choice((None, Timestamp.ntp_utc_32(now_s - 60), Timestamp.ntp_utc(NOW_NS + 10**12))),
        valid_until=rng.choice((None, Timestamp.ntp_utc_32(now_s + 60), Timestamp.ntp_utc_32(now_s - 1))),
        rekeying_interval_s=rng.choice((None, None, 600)),
        applications=rng.choice(((), (), ("urn:x-app",))),
        requested_keys=tuple(
            RequestedKey(key_type=kind, length=suite.key_length, salt_length=14 if kind.has_salt else 0)
            for kind in kinds
        ),
    )


@dataclass
class Site:
    """Keys, tickets and messages of one suite, from which calls are drawn."""

    rng: Random
    suite: Suite
    psk: PreSharedKey = field(init=False)
    tpk: TicketProtectionKey = field(init=False)
    grant: TicketGrant = field(init=False)
    inits: tuple[bytes, ...] = field(init=False)
    transfer: bytes = field(init=False)

    def __post_init__(self) -> None:
        rng, suite = self.rng, self.suite
        env = environment(rng.getrandbits(30))
        self.psk = PreSharedKey(
            key=Secret(rng.randbytes(suite.key_length)), key_id=rng.choice((None, b"key"))
        )
        self.tpk = TicketProtectionKey(
            key=Secret(rng.randbytes(suite.key_length)), key_id=rng.choice((None, b"tpk"))
        )
        wanted = policy(rng, suite)
        valid = replace(
            wanted,
            flags=TicketFlags.of(rng.choice(("EFGHIJLMNO", "FGHLMNO", "HLNO"))),
            valid_from=None,
            valid_until=None,
            initiator=ALICE,
            kms=KMS,
        )
        self.grant = make_ticket(env, valid, self.tpk)
        asked = replace(wanted, flags=TicketFlags.of(rng.choice(FLAGS[:3])))
        request = TicketRequest.start(env, policy=asked, credential=self.psk, identity=ALICE, kms=KMS)
        transfer = self._transfer(env)
        self.transfer = transfer.message
        ticket = Message.parse(self.transfer).one(TICKET)
        resolve = TicketResolve.start(env, ticket=ticket, credential=self.psk, identity=BOB, kms=KMS)
        self.inits = (request.message, resolve.message)

    def _transfer(self, env: Environment) -> TransferInitiator:
        keys = self.grant.keys
        data = SrtpSessionData(ssrc=1).encode()
        spi = (keys[0].spi or b"") if keys else b""
        entries = (
            GenericIdEntry(cs_id=1, policies=(0,), session_data=data, spi=spi),
            GenericIdEntry(cs_id=2, policies=(0,)),
        )
        policies = [SrtpPolicy.aes_cm(16).payload(0)]
        return TransferInitiator.start(
            env, self.grant, crypto_sessions=entries, policies=policies, initiator=ALICE, responder=BOB
        )

    def _varied(self, data: bytes) -> bytes:
        return data if self.rng.random() < 0.3 else mutated(self.rng, data, self.transfer)

    def _env(self) -> Environment:
        return environment(0, self.rng.choice(LIMITS))

    def call(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Return a call: name, arguments and keywords."""
        draw = self.rng.choice((self._read, self._read, self._read, self._verify, self._ticket, self._make))
        name, arguments = draw()
        return name, arguments, {}

    def _read(self) -> tuple[str, tuple[Any, ...]]:
        rng = self.rng
        if rng.random() < 0.5:
            return "read_transfer_init", (self._env(), self._varied(self.transfer), rng.choice(_NAMES))
        return "read_init", (self._env(), self._varied(rng.choice(self.inits)))

    def _verify(self) -> tuple[str, tuple[Any, ...]]:
        """MACs of whole messages, with the right keys and others."""
        rng = self.rng
        init = KmsInit(environment(0), rng.choice(self.inits))
        prf = self.psk.prf(self.suite.prf) if rng.random() < 0.7 else Prf(self.suite.prf, Secret(b"x"))
        message = init.message
        protection = init_protection(init, prf)
        names = (ALICE if init.kind.name == "REQUEST" else BOB).encode() + KMS.encode()
        if rng.random() < 0.4:
            tail = rng.randbytes(rng.randrange(3))
            message = replace(message, payloads=message.payloads[: rng.randrange(9)], raw=message.raw + tail)
        if rng.random() < 0.3:
            return "seal", (message.header, message.payloads[:-1], self.suite, protection, names)
        if rng.random() < 0.3:
            return "verify_transfer_init", (Message.parse(self.transfer), self.suite, protection, names)
        return "verify", (message, rng.choice((SUITE_128, SUITE_256, self.suite)), protection, names)

    def _ticket(self) -> tuple[str, tuple[Any, ...]]:
        """Tickets read and opened, as they are and with octets changed."""
        rng = self.rng
        tpk = self.tpk if rng.random() < 0.8 else TicketProtectionKey(key=Secret(bytes(32)))
        ticket = Message.parse(self.transfer).one(TICKET)
        if rng.random() < 0.5:
            ticket = ticket.with_data(ticket_data=mutated(rng, ticket.ticket_data, self.transfer))
        if rng.random() < 0.3:
            ticket = ticket.with_data(initiator_data=mutated(rng, ticket.initiator_data, self.transfer))
        limits, kind = rng.choice(LIMITS), rng.randrange(5)
        if kind == 0:
            return "tpk_id", (ticket, limits)
        if kind == 1 and self.grant.mpk_r is not None:
            return "check_initiator_data", (ticket, self.grant.policy, self.grant.mpk_r, limits)
        if kind == 2:
            tp = Message.parse(self.inits[0]).one(TP)
            fields = rng.choice((tp, ticket))
            payloads = tuple(rng.choice(tp.payloads + ticket.payloads) for _ in range(rng.randrange(8)))
            return "read_policy", (replace(fields, payloads=payloads, policy_octets=b""), limits)
        return "open_ticket", (ticket, self.grant.policy, tpk, limits)

    def _make(self) -> tuple[str, tuple[Any, ...]]:
        """What draws randomness: both cores get the same."""
        rng, seed = self.rng, self.rng.getrandbits(30)
        wanted = policy(rng, rng.choice((self.suite, self.suite, SUITE_128, SUITE_256)))
        kind = rng.randrange(6)
        if kind == 0:
            return "make_session_keys", Seeded.of(seed, wanted.requested_keys)
        if kind == 1:
            granted = wanted.without_requested_keys() if rng.random() < 0.9 else wanted
            return "seal_ticket", Seeded.of(seed, granted, self.tpk, self.grant.keys)
        init = KmsInit(environment(0), rng.choice(self.inits))
        prf = self.psk.prf(self.suite.prf)
        if kind == 2:
            keys = rng.choice((None, None, self.grant.keys))
            return "grant_ticket", Seeded.of(seed, init, prf, wanted, self.tpk, rng.choice(_NAMES), keys)
        if kind == 3:
            return "build_response", Seeded.of(seed, init, prf, (self.grant.ticket,), self.grant.keys, ())
        if kind == 4 and self.grant.mpk_r is not None:
            idr = Message.parse(self.transfer).payloads[3]
            modifier = Modifier(idr=idr, rand_kms=rng.randbytes(rng.choice((16, 32, 40))))  # type: ignore[arg-type]
            return "fork_keys", (self.suite, self.grant.mpk_r, self.grant.keys, modifier)
        opened = open_ticket(self.grant.ticket, self.grant.policy, self.tpk, LIMITS[0])
        entries = tuple(GenericIdEntry(cs_id=rng.randrange(3)) for _ in range(rng.randrange(3)))
        policies = tuple(SrtpPolicy.aes_gcm(32).payload(number) for number in range(rng.randrange(3)))
        names = (rng.choice(_NAMES), rng.choice(_NAMES))
        keys = rng.choice(((), opened.keys))
        rand = rng.choice((None, rng.randbytes(16), rng.randbytes(300)))
        arguments = (self.grant, entries, policies, *names, (), keys, rand)
        return "build_transfer_init", Seeded.of(seed, *arguments)


def init_protection(init: KmsInit, prf: Prf) -> ProtectionKeys:
    """Return the keys of an INIT message."""
    return initial_message_keys(prf, init.message.header.csb_id, **init.kind.rands(init.rand))
