"""Exchange vectors: every mode, both suites, forking, reuse, groups, pre-encrypted content and updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from unittest.mock import patch

from vector_source import NOW_S, Seed, pem_pair, pkcs1_encrypt, rsa_key, self_signed

from sipmikey.keys import envelope
from sipmikey.keys.suite import SUITE_128, SUITE_256, Suite
from sipmikey.mikey.header import GenericIdEntry, SrtpSessionData
from sipmikey.mikey.kemac import KeyData
from sipmikey.mikey.registry import KeyDataType
from sipmikey.mikey.secret import Secret
from sipmikey.mikey.security_policy import SrtpPolicy
from sipmikey.mikey.ticket import TicketFlags
from sipmikey.mikey.timestamp import Timestamp
from sipmikey.ticket.bundle import CryptoSessionBundle
from sipmikey.ticket.credentials import (
    CertificateCredential,
    ClientCredential,
    KmsKeyPair,
    PreSharedKey,
    TicketProtectionKey,
)
from sipmikey.ticket.environment import Environment
from sipmikey.ticket.kms_exchange.kms import KmsInit
from sipmikey.ticket.policy import RequestedKey, TicketPolicy
from sipmikey.ticket.request import RequestAtKms, TicketGrant, TicketRequest, make_ticket
from sipmikey.ticket.resolve import ResolveAtKms, ResolvedTicket, TicketResolve, resolve_locally
from sipmikey.ticket.transfer import TransferInitiator, TransferResponder
from sipmikey.ticket.update import UpdateInitiator, UpdateResponder
from sipmikey.vectors.exchange import Rehearsal
from sipmikey.vectors.keys import observed, with_forked

ALICE, BOB, CAROL = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"
SUPPORT, KMS = "sip:it-support@example.com", "sip:kms@example.com"

Vector = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a vector is about. ``keys`` are the session keys asked for, as (type, salt length)."""

    name: str
    mode: str = "full"
    suite: Suite = SUITE_256
    flags: str = "DEFGHJNO"
    keys: tuple[tuple[KeyDataType, int], ...] = ((KeyDataType.TGK, 0),)
    called: str = BOB
    answerers: tuple[str, ...] = (BOB,)
    public_key: bool = False
    kms_certificates: int = 1
    reuses: int = 0
    group: bool = False
    initiator_keys: tuple[KeyDataType, ...] = ()
    responder_keys: tuple[KeyDataType, ...] = ()
    updates: tuple[str, ...] = ()
    update_response: bool = True
    counting: bool = False
    srtp: SrtpPolicy = field(default_factory=lambda: SrtpPolicy.aes_cm(16))
    roc_seq: tuple[int, int] | None = None
    sessions: int = 2


TGK, TGK_SALT, TEK_SALT = KeyDataType.TGK, KeyDataType.TGK_SALT, KeyDataType.TEK_SALT
GTGK, GTGK_SALT = KeyDataType.GTGK, KeyDataType.GTGK_SALT
CM_256, GCM_128, GCM_256 = SrtpPolicy.aes_cm(32), SrtpPolicy.aes_gcm(16), SrtpPolicy.aes_gcm(32)

SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "exchange-full": (
        Scenario(name="full-128", suite=SUITE_128),
        Scenario(name="full-256", srtp=CM_256),
        Scenario(name="full-128-forking", suite=SUITE_128, flags="DEFGHIJNO"),
        Scenario(name="full-256-forking", flags="DEFGHIJNO", srtp=CM_256),
        Scenario(name="full-256-without-randr-r", flags="DEFHJNO"),
        Scenario(name="full-128-without-randr-i-in-keys", suite=SUITE_128, flags="DEFGJNO"),
        Scenario(name="full-256-without-response", flags="DEHNO"),
        Scenario(name="full-128-no-reuse", suite=SUITE_128, flags="DEFGHNO"),
        Scenario(name="full-256-counter", flags="DEFGHIJNO", counting=True),
        Scenario(name="full-128-no-sessions", suite=SUITE_128, sessions=0),
        Scenario(name="full-256-roc-seq", roc_seq=(7, 65535)),
        Scenario(name="full-128-gcm", suite=SUITE_128, srtp=GCM_128),
        Scenario(name="full-256-forking-gcm", flags="DEFGHIJNO", srtp=GCM_256),
    ),
    "exchange-keys": (
        Scenario(name="keys-256-forking-tgk-salt", flags="DEFGHIJNO", keys=((TGK_SALT, 14),)),
        Scenario(name="keys-128-gtgk", suite=SUITE_128, keys=((GTGK, 0),)),
        Scenario(name="keys-256-forking-gtgk-salt", flags="DEFGHIJNO", keys=((GTGK_SALT, 14),)),
        Scenario(name="keys-256-forking-tek-salt", flags="DEFGHIJNO", keys=((TEK_SALT, 14),), srtp=CM_256),
        Scenario(
            name="keys-256-forking-three", flags="DEFGHIJNO", keys=((TGK, 0), (GTGK, 0), (TGK_SALT, 14))
        ),
        Scenario(
            name="keys-256-by-initiator", flags="DEFGHJLNO", keys=(), initiator_keys=(TEK_SALT,), srtp=CM_256
        ),
        Scenario(
            name="keys-256-forking-by-initiator", flags="DEFGHIJLNO", initiator_keys=(TGK,), srtp=CM_256
        ),
        Scenario(
            name="keys-128-by-responder", suite=SUITE_128, flags="DEFGHJMNO", keys=(),
            responder_keys=(TEK_SALT,),
        ),
        Scenario(
            name="keys-256-forking-by-responder", flags="DEFGHIJMNO", keys=(), responder_keys=(TEK_SALT,),
            srtp=CM_256,
        ),
    ),
    "exchange-public-key": (
        Scenario(name="full-128-pk", suite=SUITE_128, public_key=True),
        Scenario(name="full-256-pk-forking", flags="DEFGHIJNO", public_key=True),
        Scenario(name="full-256-pk-chash", public_key=True, kms_certificates=2),
    ),
    "exchange-modes": (
        Scenario(name="kerberos-128", mode="kerberos", suite=SUITE_128, flags="DFGHJNO"),
        Scenario(name="kerberos-256", mode="kerberos", flags="DFGHJNO"),
        Scenario(name="otway-rees-128", mode="otway-rees", suite=SUITE_128, flags="EFGHJLNO"),
        Scenario(name="otway-rees-256-forking", mode="otway-rees", flags="EFGHIJLNO"),
        Scenario(name="preshared-128", mode="preshared", suite=SUITE_128, flags="FGHJLNO"),
        Scenario(name="preshared-256", mode="preshared", flags="FGHJLNO"),
        Scenario(name="preshared-256-without-response", mode="preshared", flags="HLNO"),
    ),
    "exchange-forking": (
        Scenario(
            name="branches-128", suite=SUITE_128, flags="DEFGHIJNO", called=SUPPORT, answerers=(BOB, CAROL)
        ),
        Scenario(
            name="branches-256-three", flags="DEFGHIJNO", called=SUPPORT,
            answerers=(BOB, CAROL, "sip:dave@example.com"),
        ),
        Scenario(name="reuse-256-forking", flags="DEFGHIJNO", reuses=2),
        Scenario(name="reuse-128", suite=SUITE_128, reuses=1),
        Scenario(
            name="group-256", flags="DEFHJNO", keys=((GTGK, 0),), called="sip:team@example.com",
            answerers=(BOB, CAROL), group=True,
        ),
    ),
    "exchange-update": (
        Scenario(name="update-128-by-initiator", suite=SUITE_128, flags="DEFGHJLNO", updates=("initiator",)),
        Scenario(name="update-128-by-responder", suite=SUITE_128, flags="DEFGHJMNO", updates=("responder",)),
        Scenario(
            name="update-256-forking-both", flags="DEFGHIJLMNO", updates=("initiator", "responder"),
            srtp=CM_256,
        ),
        Scenario(
            name="update-256-without-response", flags="DEFGHJLNO", updates=("initiator",),
            update_response=False,
        ),
        Scenario(
            name="update-256-after-no-response", flags="DEHLNO", updates=("initiator",), update_response=False
        ),
    ),
}  # fmt: skip


def make(scenario: Scenario) -> Vector:
    """Carry out an exchange under its seed and return its vector, every key recomputed from the messages."""
    seed = Seed(f"sipmikey {scenario.name}")
    with patch.object(envelope, "_encrypt", lambda key, plaintext: pkcs1_encrypt(seed, key, plaintext)):
        vector = _Stage(scenario, seed).vector()
    found = with_forked(observed(Rehearsal(vector)))
    for inner in ("branches", "reuse"):
        for item in found.get(inner, []):  # type: ignore[attr-defined]
            with_forked(item)
            item.pop("same_at_initiator", None)
    if not found.pop("same_at_initiator"):
        raise AssertionError(f"{scenario.name}: the ticket holds other keys than the Initiator got")
    return {**vector, "expect": found}


class _Stage:
    """The parties of one scenario."""

    def __init__(self, scenario: Scenario, seed: Seed) -> None:
        self.scenario = scenario
        self.seed = seed
        self.env: Environment = seed.counting_env if scenario.counting else seed.env
        self.flags = TicketFlags.of(scenario.flags)
        length = scenario.suite.key_length
        self.tpk = TicketProtectionKey(key=Secret(seed.random(length)), key_id=seed.random(8))
        self.credentials: dict[str, object] = {"tpk": self.tpk.key.reveal().hex()}
        self.key_pairs: list[KmsKeyPair] = []
        if scenario.public_key:
            for number in range(scenario.kms_certificates):
                key = rsa_key(f"kms {number}")
                self.key_pairs.append(
                    KmsKeyPair(private_key=key, certificate=self_signed(key, KMS, 1000 + number))
                )
            used = self.key_pairs[-1]
            self.credentials["kms"] = pem_pair(used.private_key, used.certificate)
        self.messages: dict[str, object] = {}

    def credential(self, identity: str) -> tuple[ClientCredential, dict[str, object]]:
        """Return the credential of a party, as used and as the vector holds it."""
        if self.scenario.public_key:
            key = rsa_key(identity)
            certificate = self_signed(key, identity, 1)
            kms = tuple(pair.certificate for pair in reversed(self.key_pairs))
            return (
                CertificateCredential(private_key=key, certificates=(certificate,), kms_certificates=kms),
                pem_pair(key, certificate),
            )
        psk = Secret(self.seed.random(self.scenario.suite.key_length))
        return PreSharedKey(key=psk, key_id=self.seed.random(8)), {"psk": psk.reveal().hex()}

    def vector(self) -> Vector:
        scenario = self.scenario
        grant = self.granted()
        transfer = self.transfer(grant, None)
        self.messages["transfer_init"] = transfer.message.hex()
        if len(scenario.answerers) == 1:
            answered = self.answer(transfer, scenario.answerers[0], self.messages)
            self.reuse(grant, answered[0])
            extra = self.update(answered[1])
        elif scenario.group:
            extra = self.group(grant, transfer)
        else:
            extra = {}
            branches = []
            for answerer in scenario.answerers:
                branch: dict[str, object] = {"answerer": answerer}
                self.answer(transfer, answerer, branch)
                branches.append(branch)
            self.messages["branches"] = branches
        for role in ("initiator", "responder"):
            self.credentials.setdefault(role, {})
        return {
            "kind": "exchange",
            "name": scenario.name,
            "mode": scenario.mode,
            "now": NOW_S,
            "flags": str(grant.policy.flags),
            "credentials": self.credentials,
            "identities": {
                "initiator": ALICE,
                "responder": scenario.called,
                "answerer": scenario.answerers[0],
                "kms": KMS,
            },
            "messages": self.messages,
            "inputs": {"seed": self.seed.name},
            **extra,
        }

    def granted(self) -> TicketGrant:
        """Ask the KMS for the ticket, or make it."""
        scenario, env = self.scenario, self.env
        responders = (scenario.called,) if scenario.called == BOB else (scenario.called, *scenario.answerers)
        policy = TicketPolicy(
            suite=scenario.suite,
            flags=self.flags,
            responders=responders,
            kms=KMS,
            initiator=ALICE,
            valid_from=Timestamp.ntp_utc_32(NOW_S - 3600),
            valid_until=Timestamp.ntp_utc_32(NOW_S + 86_400),
            requested_keys=tuple(
                RequestedKey(key_type=kind, length=self.key_length(kind), salt_length=salt)
                for kind, salt in scenario.keys
            ),
        )
        if not self.flags.kms_generated:
            return make_ticket(env, policy, self.tpk)
        credential, shown = self.credential(ALICE)
        self.credentials["initiator"] = shown
        request = TicketRequest.start(env, policy=policy, credential=credential, identity=ALICE, kms=KMS)
        at_kms = RequestAtKms(env, self.authenticated(request.message, credential, ALICE))
        response, _ = at_kms.grant(at_kms.policy, self.tpk, kms=KMS)
        self.messages["request_init"] = request.message.hex()
        self.messages["request_resp"] = response.hex()
        return request.receive(response)

    def key_length(self, kind: KeyDataType) -> int:
        """TGKs are as long as the suite's keys, TEKs as long as the SRTP master key."""
        return self.scenario.srtp.session_encr_key_length if kind.is_tek else self.scenario.suite.key_length

    def authenticated(self, message: bytes, credential: ClientCredential, owner: str):  # type: ignore[no-untyped-def]
        init = KmsInit(self.env, message)
        if isinstance(credential, PreSharedKey):
            return init.verify_psk(credential, owner=owner, kms=KMS)
        return init.verify_pk(anchors=credential.certificates, key_pairs=self.key_pairs, kms=KMS)

    def carried(self, kinds: Sequence[KeyDataType]) -> tuple[KeyData, ...]:
        """Return keys that Initiator or Responder supply."""
        return tuple(
            KeyData(
                key_type=kind,
                key=Secret(self.seed.random(self.key_length(kind))),
                salt=Secret(self.seed.random(self.scenario.srtp.session_salt_length))
                if kind.has_salt
                else None,
                spi=self.seed.random(4),
            )
            for kind in kinds
        )

    def transfer(self, grant: TicketGrant, rand_i: bytes | None) -> TransferInitiator:
        """Send TRANSFER_INIT, offering the first session completely and the others for the Responder."""
        scenario = self.scenario
        keys = self.carried(scenario.initiator_keys)
        known = (*grant.keys, *keys)
        spi = known[0].spi or b"" if known else b""
        one_sided = not self.flags.response_sent
        entries = tuple(
            GenericIdEntry(
                cs_id=number,
                policies=(0,),
                s=scenario.roc_seq is not None and (number == 1 or one_sided),
                session_data=self.session_data(0x0A000000 + number) if number == 1 or one_sided else b"",
                spi=spi if number == 1 or one_sided else b"",
            )
            for number in range(1, scenario.sessions + 1)
        )
        return TransferInitiator.start(
            self.env,
            grant,
            crypto_sessions=entries,
            policies=[scenario.srtp.payload(0)] if entries else [],
            initiator=ALICE,
            responder=scenario.called,
            keys=keys,
            rand_i=rand_i,
        )

    def session_data(self, ssrc: int) -> bytes:
        if self.scenario.roc_seq is None:
            return SrtpSessionData(ssrc=ssrc).encode()
        roc, seq = self.scenario.roc_seq
        return SrtpSessionData(ssrc=ssrc, roc=roc, seq=seq).encode()

    def answer(
        self,
        transfer: TransferInitiator,
        answerer: str,
        messages: dict[str, object],
        resolved: ResolvedTicket | None = None,
    ) -> tuple[ResolvedTicket, CryptoSessionBundle]:
        """Receive TRANSFER_INIT as *answerer*, resolve the ticket and answer."""
        responder = TransferResponder(self.env, transfer.message, identity=answerer)
        if resolved is None:
            resolved = self.resolve(responder, answerer, messages)
        responder.verify(resolved)
        if not self.flags.response_sent:
            responder.accept()
            return resolved, transfer.established()
        keys = self.carried(self.scenario.responder_keys)
        known = (*responder.session_keys(), *keys)
        entries = tuple(
            replace(
                entry,
                s=self.scenario.roc_seq is not None,
                session_data=entry.session_data or self.session_data(0x0B000000 + entry.cs_id),
                spi=entry.spi or known[(entry.cs_id - 1) % len(known)].spi or b"",
            )
            for entry in responder.crypto_sessions
        )
        response, _ = responder.respond(crypto_sessions=entries, keys=keys)
        messages["transfer_resp"] = response.hex()
        return resolved, transfer.receive(response)

    def resolve(
        self, responder: TransferResponder, answerer: str, messages: dict[str, object]
    ) -> ResolvedTicket:
        """Have the KMS resolve the ticket, or open it where the TPK is shared."""
        if self.scenario.mode in ("kerberos", "preshared"):
            return resolve_locally(self.env, responder.ticket, self.tpk, identity=answerer)
        credential, shown = self.credential(answerer)
        if messages is self.messages:
            self.credentials["responder"] = shown
        else:
            messages["credentials"] = {"responder": shown}
        resolve = TicketResolve.start(
            self.env, ticket=responder.ticket, credential=credential, identity=answerer, kms=KMS
        )
        at_kms = ResolveAtKms(self.env, self.authenticated(resolve.message, credential, answerer))
        response = at_kms.respond(at_kms.open(self.tpk), answerer=answerer, kms=KMS)
        messages["resolve_init"] = resolve.message.hex()
        messages["resolve_resp"] = response.hex()
        return resolve.receive(response)

    def reuse(self, grant: TicketGrant, resolved: ResolvedTicket) -> None:
        """Transfer again with the same ticket, the modifier kept."""
        again = []
        for _ in range(self.scenario.reuses):
            transfer = self.transfer(grant, None)
            part: dict[str, object] = {"transfer_init": transfer.message.hex()}
            self.answer(transfer, self.scenario.answerers[0], part, resolved)
            again.append(part)
        if again:
            self.messages["reuse"] = again

    def group(self, grant: TicketGrant, first: TransferInitiator) -> dict[str, object]:
        """Transfer to every member with the same RANDRi, so that all derive the same keys (section 9)."""
        self.answer(first, self.scenario.answerers[0], self.messages)
        others = []
        for answerer in self.scenario.answerers[1:]:
            transfer = self.transfer(grant, first.rand_i)
            part: dict[str, object] = {"answerer": answerer, "transfer_init": transfer.message.hex()}
            self.answer(transfer, answerer, part)
            others.append(part)
        self.messages["reuse"] = others
        return {"note": "the reuse goes to another member of the group, who resolves the ticket too"}

    def update(self, bundle: CryptoSessionBundle) -> dict[str, object]:
        """Update the bundle, from the sides that the scenario names in turn."""
        extra: dict[str, object] = {}
        for number, side in enumerate(self.scenario.updates, 1):
            name = "update" if number == 1 else f"update_{number}"
            extra[f"{name}_from"] = side
            mine = bundle if bundle.is_initiator == (side == "initiator") else other_side(bundle)
            keys = self.carried((TGK_SALT,))
            entries = tuple(replace(entry, spi=keys[0].spi or b"") for entry in bundle.entries)
            update = UpdateInitiator.start(
                self.env,
                mine,
                crypto_sessions=entries,
                keys=keys,
                expect_response=self.scenario.update_response,
            )
            self.messages[f"{name}_init"] = update.message.hex()
            receiver = UpdateResponder(self.env, other_side(mine), update.message)
            if self.scenario.update_response:
                response, _ = receiver.respond(crypto_sessions=entries)
                self.messages[f"{name}_resp"] = response.hex()
                bundle = update.receive(response)
            else:
                receiver.accept()
                bundle = update.without_response()
        return extra


def other_side(bundle: CryptoSessionBundle) -> CryptoSessionBundle:
    """Return the same bundle as the peer holds it."""
    return replace(bundle, is_initiator=not bundle.is_initiator, sent=bundle.received, received=bundle.sent)


MAKERS: dict[str, Callable[[], list[Vector]]] = {
    name: lambda scenarios=scenarios: [make(item) for item in scenarios]  # type: ignore[misc]
    for name, scenarios in SCENARIOS.items()
}
"""File name -> what makes its vectors."""
