"""What must be accepted: messages changed where the RFC gives freedom, their MAC right again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sipmikey.conformance.forge import replacing
from sipmikey.keys.transport import open_keys, seal_keys
from sipmikey.mikey.errors import MalformedMessage, UnsupportedEncryption
from sipmikey.mikey.identity import ID, IDR
from sipmikey.mikey.kemac import KEMAC, encode_key_data
from sipmikey.mikey.limits import DEFAULT_LIMITS
from sipmikey.mikey.message import Message
from sipmikey.mikey.rand import RAND, RANDR
from sipmikey.mikey.registry import EncrAlg, ExtensionType, IdRole, IdType, RandRole, TsRole
from sipmikey.mikey.ticket import TP
from sipmikey.mikey.timestamp import TR, T, Timestamp
from sipmikey.mikey.verification import ERR, EXT
from sipmikey.vectors.exchange import Rehearsal

DIRECTORY = Path(__file__).parent
sys.path.insert(0, str(DIRECTORY.parents[1] / "tools"))

from vector_forger import Forger  # noqa: E402

VECTORS = {
    vector["name"]: vector
    for path in sorted(DIRECTORY.glob("exchange-*.json"))
    for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
}
FULL = VECTORS["full-256"]
NOW_S = FULL["now"]
NAMES = ("request_init", "request_resp", "transfer_init", "resolve_init", "resolve_resp", "transfer_resp")


def accepted(name: str, octets: bytes, vector: dict = FULL) -> object:
    """Return what the receiving side makes of *octets* in the place of a message."""
    return Rehearsal(vector, replaced={name: octets}).run(name)


UNEXPECTED = {
    "RAND": RAND(rand=b"r" * 20),
    "ID": ID(id_type=IdType.NAI, data=b"x@example.com"),
    "vendor extension": EXT(ext_type=ExtensionType.VENDOR_ID, data=b"vendor"),
    "unregistered extension": EXT(ext_type=200, data=b"?"),
    "ERR": ERR(error_no=12),
    "IDR of an unregistered role": IDR(role=0xF1, id_type=IdType.BYTE_STRING, data=b"\0"),
    "RANDR of an unregistered role": RANDR(role=0xF1, rand=b"?"),
    "IDRapp": IDR(role=IdRole.APPLICATION, id_type=IdType.URI, data=b"urn:app"),
}


@pytest.mark.parametrize("payload", UNEXPECTED)
@pytest.mark.parametrize("name", NAMES)
def test_unexpected_payloads_are_ignored(name, payload):
    octets = Forger(FULL).edited(name, lambda chain: [chain[0], UNEXPECTED[payload], *chain[1:]])
    assert octets != bytes.fromhex(FULL["messages"][name])
    accepted(name, octets)


@pytest.mark.parametrize("name", NAMES)
def test_v_flag_is_ignored(name):
    forger = Forger(FULL)
    header = forger.message(name).header
    accepted(name, forger.sealed(name, forger.message(name).payloads, header=replace(header, v=not header.v)))


@pytest.mark.parametrize("name", NAMES)
def test_payloads_may_stand_in_any_order_before_the_last(name):
    accepted(name, Forger(FULL).edited(name, lambda chain: [*chain[-2::-1], chain[-1]]))


OMISSIONS = [
    ("request_init", IdRole.INITIATOR),
    ("request_init", IdRole.KMS),
    ("request_init", IdRole.PSK),
    ("request_resp", IdRole.KMS),
    ("transfer_init", IdRole.INITIATOR),
    ("transfer_init", IdRole.RESPONDER),
    ("resolve_init", IdRole.RESPONDER),
    ("resolve_init", IdRole.KMS),
    ("resolve_init", IdRole.PSK),
    ("resolve_resp", IdRole.KMS),
    ("resolve_resp", IdRole.RESPONDER),
    ("transfer_resp", IdRole.RESPONDER),
]


@pytest.mark.parametrize(("name", "role"), OMISSIONS)
def test_an_omitted_identity_is_the_one_known_here(name, role):
    octets = Forger(FULL).edited(name, replacing(IDR, lambda _: None, role))
    assert len(octets) < len(bytes.fromhex(FULL["messages"][name]))
    accepted(name, octets)


def policy(change: Callable[[TP], TP]) -> bytes:
    return Forger(FULL).edited("request_init", replacing(TP, lambda tp: change(tp)))


def changed(tp: TP, **changes: object) -> TP:
    """Return TP with other fields; its octets follow."""
    return replace(tp, policy_octets=b"", **changes)  # type: ignore[arg-type]


class TestTicketPolicy:
    def test_flag_k_of_tp_is_ignored(self):
        octets = policy(lambda tp: changed(tp, flags=type(tp.flags).of(f"{tp.flags}K")))
        assert str(Message.parse(octets).one(TP).flags).count("K")
        accepted("request_init", octets)

    def test_reserved_bits_are_ignored(self):
        accepted("request_init", policy(lambda tp: changed(tp, res=0x1F)))

    @pytest.mark.parametrize("payload", ["RAND", "ID", "vendor extension", "IDR of an unregistered role"])
    def test_unexpected_payloads_in_tp_data_are_ignored(self, payload):
        accepted(
            "request_init",
            policy(lambda tp: changed(tp, payloads=(*tp.payloads, UNEXPECTED[payload]))),
        )

    def test_unexpected_payloads_in_the_ticket_policy_are_ignored(self):
        preshared = VECTORS["preshared-256"]
        octets = Forger(preshared).reticketed(lambda chain: [*chain, UNEXPECTED["RAND"]])
        accepted("transfer_init", octets, preshared)

    @pytest.mark.parametrize("role", [TsRole.START, TsRole.END])
    def test_an_omitted_limit_of_validity_is_none(self, role):
        preshared = VECTORS["preshared-256"]
        octets = Forger(preshared).reticketed(replacing(TR, lambda _: None, role))
        accepted("transfer_init", octets, preshared)

    def test_time_of_issue_is_ignored(self):
        issue = TR(role=TsRole.ISSUE, timestamp=Timestamp.ntp_utc((NOW_S + 9_000_000) * 10**9))
        preshared = VECTORS["preshared-256"]
        accepted("transfer_init", Forger(preshared).reticketed(lambda chain: [*chain, issue]), preshared)

    def test_validity_may_end_after_2036(self):
        end = TR(role=TsRole.END, timestamp=Timestamp.ntp_utc_32(2_500_000_000))
        assert end.timestamp.value < 1 << 31
        preshared = VECTORS["preshared-256"]
        octets = Forger(preshared).reticketed(replacing(TR, lambda _: end, TsRole.END))
        accepted("transfer_init", octets, preshared)


def test_randr_r_although_g_is_0_is_ignored():
    vector = VECTORS["full-256-without-randr-r"]
    forger = Forger(vector)
    message = forger.message("transfer_resp")
    protection = forger.protection("transfer_resp", message)
    extra = RANDR(role=RandRole.RESPONDER, rand=b"r" * 32)
    forger.protection = lambda *_: protection  # the length of RANDRr stays 0 in the label
    octets = forger.edited("transfer_resp", lambda chain: [chain[0], extra, *chain[1:]])
    before, after = Rehearsal(vector).bundle, accepted("transfer_resp", octets, vector)
    assert after.crypto_sessions == before.crypto_sessions  # type: ignore[attr-defined]


# T of a message with a KEMAC is in its IV, so that it cannot be changed alone.
@pytest.mark.parametrize("name", ["request_init", "transfer_init", "resolve_init", "transfer_resp"])
@pytest.mark.parametrize("seconds", [-3000, 3000])
def test_clock_inside_the_skew(name, seconds):
    timestamp = Timestamp.ntp_utc((NOW_S + seconds) * 10**9)
    accepted(name, Forger(FULL).edited(name, replacing(T, lambda _: T(timestamp=timestamp))))


class TestUpdate:
    VECTOR = VECTORS["update-128-by-initiator"]

    def test_what_the_initial_exchange_gave_may_be_repeated(self):
        forger = Forger(self.VECTOR)
        initial = forger.message("transfer_init")
        repeated = [item for item in initial.payloads if isinstance(item, RANDR)]
        accepted(
            "update_init",
            forger.edited("update_init", lambda chain: [chain[0], *repeated, *chain[1:]]),
            self.VECTOR,
        )

    @pytest.mark.parametrize("role", [IdRole.INITIATOR, IdRole.RESPONDER])
    def test_identities_may_be_left_out(self, role):
        octets = Forger(self.VECTOR).edited("update_init", replacing(IDR, lambda _: None, role))
        accepted("update_init", octets, self.VECTOR)


class TestKeyWrap:
    """AES-KW-128 is optional (RFC 3830 section 4.2.3): taken in the 128-bit suite, and only there."""

    def wrapped(self, name: str, vector: dict) -> bytes:
        forger = Forger(vector)
        message = forger.message(name)
        protection = forger.protection(name, message)
        csb_id, timestamp = message.header.csb_id, message.one(T).timestamp
        keys = open_keys(
            message.one(KEMAC), protection, csb_id=csb_id, timestamp=timestamp,
            limits=DEFAULT_LIMITS, what=name,
        )  # fmt: skip
        # 24 octets each, since key wrap takes whole blocks of 8.
        blocks = [replace(key, spi=bytes((number, 0, 0))) for number, key in enumerate(keys)]
        kemac = seal_keys(blocks, EncrAlg.AES_KW_128, protection, csb_id=csb_id, timestamp=timestamp)
        assert len(kemac.encr_data) == 8 + sum(len(encode_key_data([key])) for key in blocks)
        return forger.edited(name, replacing(KEMAC, lambda _: kemac))

    @pytest.mark.parametrize("name", ["request_resp", "resolve_resp"])
    def test_is_accepted_with_128_bits(self, name):
        vector = VECTORS["full-128"]
        found = accepted(name, self.wrapped(name, vector), vector)
        assert [key.key for key in found.keys] == [key.key for key in Rehearsal(vector).grant.keys]  # type: ignore[attr-defined]
        assert found.mpk_i == Rehearsal(vector).grant.mpk_i  # type: ignore[attr-defined]

    def test_is_refused_with_256_bits(self):
        forger = Forger(FULL)
        kemac = KEMAC(encr_alg=EncrAlg.AES_KW_128, encr_data=bytes(48))
        with pytest.raises(UnsupportedEncryption, match="does not go with"):
            accepted("request_resp", forger.edited("request_resp", replacing(KEMAC, lambda _: kemac)))

    def test_a_wrap_that_does_not_verify_is_refused(self):
        vector = VECTORS["full-128"]
        forger = Forger(vector)
        kemac = KEMAC(encr_alg=EncrAlg.AES_KW_128, encr_data=bytes(48))
        with pytest.raises(MalformedMessage, match="wrap"):
            accepted("request_resp", forger.edited("request_resp", replacing(KEMAC, lambda _: kemac)), vector)
