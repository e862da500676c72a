"""`sipmikey decode`: what it finds, what it says, and that nothing makes it fail."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import dpkt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sipmikey.cli.decode_sources import find
from sipmikey.cli.explain.message import explain
from sipmikey.cli.main import main
from sipmikey.keys.suite import SUITE_256
from sipmikey.mikey.errors import LimitExceeded, PeerError
from sipmikey.mikey.message import Message
from sipmikey.mikey.payload import PAYLOAD_CLASSES
from sipmikey.mikey.rand import RANDR
from sipmikey.mikey.registry import ErrorNo, RandRole
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.ticket import FULL_MODE, Environment, KmsInit, PreSharedKey, TicketPolicy, TicketRequest

VECTORS = Path(__file__).parents[1] / "vectors"


def exchange(name: str) -> dict:
    for path in sorted(VECTORS.glob("*.json")):
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]:
            if vector["name"] == name and vector["kind"] == "exchange":
                return vector
    raise LookupError(name)


FULL = exchange("full-256-forking")
MESSAGES = {name: bytes.fromhex(octets) for name, octets in FULL["messages"].items()}
TRANSFER_INIT = MESSAGES["transfer_init"]
B64 = base64.b64encode(TRANSFER_INIT).decode()


def decode(capsys, *words: str, expect: int = 0) -> str:
    assert main(["decode", *words]) == expect
    return capsys.readouterr().out


def as_json(capsys, *words: str, expect: int = 0) -> list[dict]:
    return [json.loads(line) for line in decode(capsys, "--json", *words, expect=expect).splitlines()]


def sip(body: str, kind: str = "application/sdp") -> bytes:
    octets = body.encode()
    return (
        b"INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n"
        b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind.encode(), len(octets), octets)
    )


SDP = "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n{session}m=audio 4000 RTP/SAVP 0\r\n{media}"
SESSION_LEVEL = SDP.format(session=f"a=key-mgmt:mikey {B64}\r\n", media="")
MEDIA_LEVEL = SDP.format(session="", media=f"a=key-mgmt:mikey {B64}\r\n")

INPUTS = {
    "base64": B64,
    "base64 in lines": "\n".join(B64[at : at + 76] for at in range(0, len(B64), 76)),
    "base64 without padding": B64.rstrip("="),
    "base64 for URLs": B64.replace("+", "-").replace("/", "_"),
    "hex": TRANSFER_INIT.hex(),
    "hex in capitals with colons": TRANSFER_INIT.hex(":").upper(),
    "hex with 0x": "0x" + TRANSFER_INIT.hex(),
    "attribute value": f"mikey {B64}",
    "attribute": f"a=key-mgmt:mikey {B64}",
    "SDP, session level": SESSION_LEVEL,
    "SDP, media level": MEDIA_LEVEL,
    "SIP message": sip(SESSION_LEVEL).decode(),
    "SIP message with a MIKEY body in base64": sip(B64, "application/mikey").decode(),
}


@pytest.mark.parametrize("name", INPUTS)
def test_each_form_of_input_is_read(capsys, tmp_path, name):
    path = tmp_path / "input"
    path.write_text(INPUTS[name], encoding="utf-8", newline="")
    # What stands in no a=key-mgmt attribute may be spelled loosely, and that is told.
    loose = name in ("base64 without padding", "base64 for URLs") and INPUTS[name] != B64
    (document,) = as_json(capsys, str(path), expect=5 if loose else 0)
    assert (document["name"], document["octets"]) == ("TRANSFER_INIT", len(TRANSFER_INIT))
    assert document["complete"]


def test_octets_of_a_file_and_standard_input(capsys, tmp_path, monkeypatch):
    path = tmp_path / "message.bin"
    path.write_bytes(TRANSFER_INIT)
    assert as_json(capsys, str(path))[0]["name"] == "TRANSFER_INIT"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(B64.encode())))
    assert as_json(capsys, "-")[0]["name"] == "TRANSFER_INIT"


def test_level_of_an_attribute_is_named(capsys):
    assert "session level" in find(SESSION_LEVEL.encode())[0].where
    assert "media level, m-line 1" in find(MEDIA_LEVEL.encode())[0].where


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a=key-mgmt:mikey", "protocol identifier"),
        ("a=key-mgmt:mikey !!!", "base64"),
        (f"a=key-mgmt:mikey {B64}x", "base64"),
        (f"a=key-mgmt:MIKEY {B64}", "MIKEY, not mikey"),
        (f"a=key-mgmt:keyp1 {B64}", "keyp1, not mikey"),
        (f"a=key-mgmt:mikey  {B64}", "base64"),
    ],
)
def test_faults_of_the_attribute_are_told(capsys, line, problem):
    out = decode(capsys, f"v=0\r\n{line}\r\n", expect=5)
    assert "WRONG" in out
    assert problem in out


def test_says_every_field_with_offset_meaning_and_section():
    explanation = explain(TRANSFER_INIT)
    covered = bytearray(len(TRANSFER_INIT))
    seen = []

    def walk(nodes, section):
        for node in nodes:
            assert node.section, node.name
            seen.append(node.name)
            if node.children:
                walk(node.children, node.section)
            else:
                for at in range(node.offset, node.offset + node.length):
                    covered[at] = 1

    walk(explanation.nodes, "")
    assert all(covered), [at for at, octet in enumerate(covered) if not octet]
    assert {"HDR", "T", "RANDR", "IDR", "SP", "TICKET", "V", "Ticket Data", "Initiator Data", "THDR"} <= set(
        seen
    )


@pytest.mark.parametrize("name", MESSAGES)
def test_well_formed_messages_are_said_to_be(capsys, name):
    out = decode(capsys, MESSAGES[name].hex())
    assert "well formed" in out
    assert "WRONG" not in out


def test_every_truncation_is_described_up_to_the_fault():
    for cut in range(1, len(TRANSFER_INIT)):
        explanation = explain(TRANSFER_INIT[:cut])
        errors = [item for item in explanation.findings if item.kind == "error"]
        assert errors, cut
        assert errors[0].offset <= cut
        assert explanation.message is None


@pytest.mark.parametrize(
    ("name", "change", "offset", "text"),
    [
        ("transfer_init", lambda raw: raw + b"\0", len(TRANSFER_INIT), "1 octets after the last payload"),
        ("transfer_init", lambda raw: b"\2" + raw[1:], 0, "not MIKEY version 1"),
        ("transfer_init", lambda raw: raw[:1] + b"\x63" + raw[2:], 1, "unknown value 99"),
        ("request_init", lambda raw: raw[:2] + b"\x63" + raw[3:], 10, "unknown payload 99"),
        ("request_init", lambda raw: raw[:3] + b"\x7f" + raw[4:], 3, "unknown value 127"),
        ("request_init", lambda raw: raw[:8] + b"\1" + raw[9:], 8, "must be 0"),
        ("request_init", lambda raw: raw[:9] + b"\7" + raw[10:], 9, "unknown map 7"),
        ("request_init", lambda raw: raw[:11] + b"\x09" + raw[12:], 11, "unknown type 9"),
    ],
)
def test_says_what_is_wrong_and_where(name, change, offset, text):
    findings = explain(change(MESSAGES[name])).findings
    assert any(text in item.detail and item.offset == offset for item in findings), findings
    assert any(item.kind == "error" for item in findings)


def test_agrees_with_the_codec_about_what_parses():
    for vector in [FULL]:
        for octets in vector["messages"].values():
            assert explain(bytes.fromhex(octets)).message is not None


@given(st.binary(max_size=400))
@example(b"")
@example(b"\1")
@settings(max_examples=150)
def test_explanation_never_fails_and_agrees_with_the_codec(octets):
    explanation = explain(octets)
    try:
        Message.parse(octets)
    except LimitExceeded:
        assert explanation.findings
    except PeerError:
        assert any(item.kind == "error" for item in explanation.findings)
    else:
        assert explanation.message is not None


@given(st.data())
@settings(max_examples=150)
def test_damaged_messages_are_explained(data):
    octets = bytearray(data.draw(st.sampled_from(sorted(MESSAGES.values()))))
    for _ in range(data.draw(st.integers(1, 5))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    explanation = explain(bytes(octets))
    try:
        Message.parse(bytes(octets))
    except LimitExceeded:
        assert explanation.findings
    except PeerError:
        assert any(item.kind == "error" for item in explanation.findings)


def packet(payload: bytes, *, tcp: int | None = None, fragment: tuple[int, bool] | None = None) -> bytes:
    """Return an Ethernet frame with a datagram, a segment of a TCP stream, or a fragment."""
    if tcp is None:
        inner: object = dpkt.udp.UDP(sport=5060, dport=5060, ulen=8 + len(payload), data=payload)
        protocol = dpkt.ip.IP_PROTO_UDP
    else:
        inner = dpkt.tcp.TCP(sport=5060, dport=5061, seq=tcp, flags=dpkt.tcp.TH_ACK, data=payload)
        protocol = dpkt.ip.IP_PROTO_TCP
    if fragment is not None:
        inner, protocol = payload, dpkt.ip.IP_PROTO_UDP
    ip = dpkt.ip.IP(src=b"\xc0\0\2\1", dst=b"\xc0\0\2\2", p=protocol, id=77, data=inner)
    if fragment is not None:
        offset, more = fragment
        ip._flags_offset = (0x2000 if more else 0) | offset >> 3
    ip.len = len(ip)
    return bytes(dpkt.ethernet.Ethernet(src=b"\2" * 6, dst=b"\4" * 6, type=0x0800, data=ip))


def capture(path: Path, frames: list[bytes], *, next_generation: bool = False) -> str:
    with path.open("wb") as file:
        writer = (dpkt.pcapng if next_generation else dpkt.pcap).Writer(file)
        for second, frame in enumerate(frames):
            writer.writepkt(frame, ts=1000.0 + second)
    return str(path)


@pytest.mark.parametrize("next_generation", [False, True])
class TestCapture:
    def test_sip_over_udp(self, capsys, tmp_path, next_generation):
        path = capture(tmp_path / "c", [packet(sip(SESSION_LEVEL))], next_generation=next_generation)
        (document,) = as_json(capsys, path)
        assert document["name"] == "TRANSFER_INIT"
        assert "192.0.2.1:5060 > 192.0.2.2:5060" in document["where"]

    def test_sip_over_tcp_in_pieces_out_of_order_and_twice(self, capsys, tmp_path, next_generation):
        octets = sip(MEDIA_LEVEL) + sip(SESSION_LEVEL)
        pieces = [(at, octets[at : at + 300]) for at in range(0, len(octets), 300)]
        frames = [
            packet(piece, tcp=0xFFFFFF00 + at & 0xFFFFFFFF) for at, piece in [*pieces[:1], *pieces[:0:-1]]
        ]
        path = capture(tmp_path / "c", [*frames, frames[1]], next_generation=next_generation)
        documents = as_json(capsys, path)
        assert [item["name"] for item in documents] == ["TRANSFER_INIT"] * 2
        assert "media level" in documents[0]["where"]

    def test_datagram_in_fragments(self, capsys, tmp_path, next_generation):
        payload = sip(SESSION_LEVEL)
        whole = bytes(dpkt.udp.UDP(sport=5060, dport=5060, ulen=8 + len(payload), data=payload))
        cut = len(whole) // 2 & ~7
        frames = [
            packet(whole[cut:], fragment=(cut, False)),
            packet(whole[:cut], fragment=(0, True)),
        ]
        path = capture(tmp_path / "c", frames, next_generation=next_generation)
        assert as_json(capsys, path)[0]["name"] == "TRANSFER_INIT"

    def test_bare_mikey_and_http(self, capsys, tmp_path, next_generation):
        http = (
            b"POST /keymanagement?requesttype=ticketrequest HTTP/1.1\r\nHost: kms\r\n"
            b"Content-Type: application/mikey\r\nContent-Length: %d\r\n\r\n" % len(MESSAGES["request_init"])
        ) + MESSAGES["request_init"]
        frames = [packet(TRANSFER_INIT), packet(http, tcp=1)]
        path = capture(tmp_path / "c", frames, next_generation=next_generation)
        assert {item["name"] for item in as_json(capsys, path)} == {"TRANSFER_INIT", "REQUEST_INIT_PSK"}

    def test_ladder(self, capsys, tmp_path, next_generation):
        frames = [packet(sip(SESSION_LEVEL)), packet(b"SIP/2.0 180 Ringing\r\n\r\n")]
        path = capture(tmp_path / "c", frames, next_generation=next_generation)
        out = decode(capsys, path, "--ladder")
        assert "INVITE [TRANSFER_INIT]" in out
        assert "180 Ringing" in out
        assert "192.0.2.1:5060" in out

    @given(data=st.data())
    @settings(
        max_examples=40,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    def test_damaged_captures_never_end_in_an_internal_error(self, capsys, tmp_path, next_generation, data):
        frames = [packet(sip(SESSION_LEVEL)), packet(sip(MEDIA_LEVEL), tcp=9), packet(TRANSFER_INIT)]
        path = Path(capture(tmp_path / "c", frames, next_generation=next_generation))
        octets = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            octets[data.draw(st.integers(4, len(octets) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(octets[: data.draw(st.integers(4, len(octets)))])
        assert main(["decode", str(path), "--ladder"]) in (0, 2, 5)
        assert main(["decode", str(path), "--json"]) in (0, 2, 5)
        capsys.readouterr()


WORDS = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=200).map(lambda octets: octets.hex()),
    st.binary(max_size=200).map(lambda octets: base64.b64encode(octets).decode()),
    st.text(max_size=100).map(
        lambda text: f"v=0\na=key-mgmt:{text}\nm=audio 1 RTP/SAVP 0\na=key-mgmt:mikey {text}"
    ),
    st.binary(max_size=200).map(
        lambda octets: f"a=key-mgmt:mikey {base64.b64encode(b'1' + octets).decode()}"
    ),
    st.sampled_from(sorted(MESSAGES.values())).flatmap(
        lambda octets: st.integers(0, len(octets)).map(lambda cut: octets[:cut].hex())
    ),
)


@given(
    words=st.lists(WORDS, min_size=1, max_size=3),
    options=st.sets(st.sampled_from(["--json", "-v", "--ladder"])),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_command_never_fails_whatever_it_is_fed(capsys, words, options):
    inputs = [word for word in words if not word.startswith("-")]
    code = main(["decode", *options, *inputs, *(["--tpk", FULL["credentials"]["tpk"]] if options else [])])
    assert code in (0, 2, 5), (code, inputs)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert "internal error" not in captured.err


@given(octets=st.binary(max_size=300))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_of_any_octets(capsys, tmp_path, octets):
    path = tmp_path / "anything"
    path.write_bytes(octets)
    assert main(["decode", str(path)]) in (0, 2, 5)
    capsys.readouterr()


class TestKeys:
    def options(self) -> list[str]:
        credentials = FULL["credentials"]
        return [
            "--psk", credentials["initiator"]["psk"], "--psk", credentials["responder"]["psk"],
            "--tpk", credentials["tpk"],
        ]  # fmt: skip

    def inputs(self) -> list[str]:
        return [octets.hex() for octets in MESSAGES.values()]

    def test_everything_verifies_and_no_key_is_shown(self, capsys):
        out = decode(capsys, *self.inputs(), *self.options())
        assert out.count("proven") >= len(MESSAGES)
        for session in FULL["expect"]["crypto_sessions"]:
            assert session["master_key"] not in out
        assert FULL["expect"]["mpk_i"] not in out
        document = "".join(json.dumps(item) for item in as_json(capsys, *self.inputs(), *self.options()))
        assert FULL["expect"]["mpk_i"] not in document

    def test_keys_are_shown_on_request_and_are_those_of_the_vector(self, capsys):
        out = decode(capsys, *self.inputs(), *self.options(), "--show-keys")
        assert FULL["expect"]["mpk_i"] in out
        assert FULL["expect"]["mpk_r_forked"] in out
        for session in FULL["expect"]["crypto_sessions"]:
            assert session["master_key"] in out
            assert session["master_salt"] in out

    def test_tpk_alone_opens_ticket_transfer(self, capsys):
        inputs = [MESSAGES[name].hex() for name in ("transfer_init", "transfer_resp")]
        out = decode(capsys, *inputs, "--tpk", FULL["credentials"]["tpk"], "--show-keys")
        assert FULL["expect"]["crypto_sessions"][0]["master_key"] in out
        assert "Initiator Data verifies" in out

    def test_wrong_key_is_told(self, capsys):
        out = decode(capsys, *self.inputs()[:1], "--psk", "00" * 32, expect=5)
        assert "verifies with none of the PSKs" in out

    def test_changed_octet_is_told(self, capsys):
        octets = bytearray(TRANSFER_INIT)
        message = Message.parse(TRANSFER_INIT)
        at = message.offsets[message.payloads.index(message.one(RANDR, RandRole.INITIATOR))]
        octets[at + 4] ^= 1
        out = decode(capsys, bytes(octets).hex(), "--tpk", FULL["credentials"]["tpk"], expect=5)
        assert "the MAC does not verify" in out

    def test_public_key_variants(self, capsys, tmp_path):
        vector = exchange("full-128-pk")
        path = tmp_path / "kms.pem"
        path.write_text(vector["credentials"]["kms"]["private_key"], encoding="utf-8")
        inputs = [vector["messages"][name] for name in ("request_init", "request_resp")]
        out = decode(capsys, *inputs, "--kms-key", str(path), "--show-keys")
        assert "the signature is of the certificate sent" in out
        assert vector["expect"]["mpk_i"] in out

    @pytest.mark.parametrize("key", ["zz", "00" * 15, "@/nonexistent", "AAAA"])
    def test_bad_key_is_a_usage_error_that_does_not_repeat_it(self, capsys, key):
        assert main(["decode", B64, "--psk", key]) == 2
        assert (key if not key.startswith("@") else "\0") not in capsys.readouterr().err

    def test_key_from_a_file(self, capsys, tmp_path):
        path = tmp_path / "tpk"
        path.write_text(FULL["credentials"]["tpk"] + "\n", encoding="utf-8")
        assert "the ticket opens" in decode(capsys, B64, "--tpk", f"@{path}")


def every_exchange() -> dict[str, dict]:
    return {
        vector["name"]: vector
        for path in sorted(VECTORS.glob("exchange-*.json"))
        for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
    }


EXCHANGES = every_exchange()


def srtp_keys(expect: dict) -> set[str]:
    """Return every SRTP master key a vector expects, of branches, reuses and updates too."""
    found = {session["master_key"] for session in expect.get("crypto_sessions", ())}
    for inner in (*expect.get("branches", ()), *expect.get("reuse", ())):
        found |= srtp_keys(inner)
    for name in ("update", "update_2"):
        found |= {session["master_key"] for session in expect.get(name, {}).get("crypto_sessions", ())}
    return found


@pytest.mark.parametrize("name", EXCHANGES)
class TestEveryExchange:
    def decoded(self, capsys, tmp_path, name: str, *, tpk: bool) -> list[dict]:
        vector = EXCHANGES[name]
        messages, credentials = vector["messages"], vector["credentials"]
        parts = [messages, *messages.get("branches", ()), *messages.get("reuse", ())]
        inputs = [
            text for part in parts for text in part.values() if isinstance(text, str) and "sip" not in text
        ]
        owners = [credentials, *(part["credentials"] for part in parts if "credentials" in part)]
        psks = [party["psk"] for owner in owners for party in owner.values() if "psk" in party]
        options = [word for psk in psks for word in ("--psk", psk)]
        if "kms" in credentials:
            path = tmp_path / "kms.pem"
            path.write_text(credentials["kms"]["private_key"], encoding="utf-8")
            options += ["--kms-key", str(path)]
        if tpk or not options:
            options += ["--tpk", credentials["tpk"]]
        return as_json(capsys, *inputs, *options, "--show-keys")

    @pytest.mark.parametrize("tpk", [False, True], ids=["without TPK", "with TPK"])
    def test_every_message_is_proven_and_every_srtp_key_found(self, capsys, tmp_path, name, tpk):
        documents = self.decoded(capsys, tmp_path, name, tpk=tpk)
        assert [item["findings"] for item in documents if not proven(item)] == []
        found = json.dumps([item["keys"] for item in documents])
        # A Responder that opens the ticket itself is not seen asking for its keys.
        assert {key for key in srtp_keys(EXCHANGES[name]["expect"]) if key not in found} == set()


def proven(document: dict) -> bool:
    kinds = [finding["kind"] for finding in document["findings"]]
    return "proof" in kinds and "error" not in kinds


def test_error_messages_are_verified(capsys):
    env = Environment(now_ns=lambda: FULL["now"] * 10**9, random=bytes, clock_skew_s=3600)
    psk = PreSharedKey(key=Secret(bytes.fromhex(FULL["credentials"]["initiator"]["psk"])))
    init = KmsInit(env, MESSAGES["request_init"])
    identities = FULL["identities"]
    authenticated = init.verify_psk(psk, owner=identities["initiator"], kms=identities["kms"])
    error = authenticated.error([ErrorNo.INVALID_TPPAR])
    options = ["--psk", psk.key.reveal().hex()]
    out = decode(capsys, MESSAGES["request_init"].hex(), error.hex(), *options)
    assert "TP parameters not supported" in out
    assert "keys of the message it is about" in out
    wrong = error[:-1] + bytes((error[-1] ^ 1,))
    assert "does not verify" in decode(
        capsys, MESSAGES["request_init"].hex(), wrong.hex(), *options, expect=5
    )
    assert "not verified" in decode(capsys, error.hex(), *options)


PUBLISHED = (
    "AQAFAP1td9ABAADCD1UcAAAAAAoAAdOOGc75XD0BAAAAGAABAQEBEAIBAQMBFAcBAQgBAQoBAQsBCgAAACcAIQAe"
    "30C59UrClE0e27UP5h/Wty9UL8+dfzg+2ttmmo3kBAAAAC8A"
)
"""An example of a camera standard (onvif/specs, pull request 555): keys in the clear, and a T of 2037."""


def test_messages_of_rfc_3830_are_explained_too(capsys):
    out = decode(capsys, PUBLISHED)
    assert "PSK I_MESSAGE of RFC 3830" in out
    assert "who reads this message can decrypt the media" in out
    assert "years ahead of this clock" in out
    assert "df40b9f54ac2944d" not in out
    assert "df40b9f54ac2944d" in decode(capsys, PUBLISHED, "--show-keys")


class TestStore:
    """Keys from the store of a KMS."""

    def kms(self, capsys, directory: Path, *words: str) -> list[dict]:
        capsys.readouterr()
        assert main(["kms", *words, "--dir", str(directory), "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def test_messages_of_a_subscriber_are_verified(self, capsys, tmp_path):
        directory = tmp_path / "kms"
        self.kms(capsys, directory, "init", "--identity", "sip:kms@example.com")
        (added,) = self.kms(capsys, directory, "user", "add", "sip:alice@example.com")
        key = PreSharedKey(key=Secret(base64.b64decode(added["psk"])))
        policy = TicketPolicy(suite=SUITE_256, flags=FULL_MODE, responders=("sip:bob@example.com",))
        request = TicketRequest.start(
            environment(), policy=policy, credential=key,
            identity="sip:alice@example.com", kms="sip:kms@example.com",
        )  # fmt: skip
        out = decode(capsys, request.message.hex(), "--dir", str(directory))
        assert f"the MAC verifies with the PSK {key.key.fingerprint()}" in out

    def test_a_directory_without_a_kms(self, capsys, tmp_path):
        assert main(["decode", B64, "--dir", str(tmp_path)]) == 2
        assert "sipmikey kms init" in capsys.readouterr().err


def test_nothing_found_is_a_usage_error(capsys):
    assert main(["decode", "hello world"]) == 2
    assert "no MIKEY message in the input" in capsys.readouterr().err


def test_every_payload_is_described():
    from sipmikey.cli.explain.payloads import PAYLOADS

    assert set(PAYLOADS) == set(PAYLOAD_CLASSES)


def test_private_key_file_that_is_none(capsys, tmp_path):
    path = tmp_path / "key"
    path.write_text("no key", encoding="utf-8")
    assert main(["decode", B64, "--kms-key", str(path)]) == 2
