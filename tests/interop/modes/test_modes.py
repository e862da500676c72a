"""Every mode of MIKEY-TICKET (RFC 6043 section 4.1.1) between two people who edited configuration files."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sipmikey.testing.process import Process
from sipmikey.testing.program import COMMAND, Program
from tests.interop.lab.kamailio import DOMAIN, Kamailio, password
from tests.interop.lab.kms import IDENTITY, RESPONDERS_OPEN, Kms, uri
from tests.interop.modes.certificates import issue, make_root, revoke
from tests.networks import has_ipv6

FINISH_S = 40.0

KMS_RESOLVES = """
[limits.default]
flags = { resolve_mandatory = "forced-on" }

[[rule]]
name = "all"
from = ["*"]
to = ["*"]
decision = "allow"
"""


@dataclass
class Person:
    """A user with a configuration file. ``kms``, ``tickets``: more of these sections, as TOML values."""

    name: str
    folder: Path
    kamailio: Kamailio
    speech: Path
    server: Kms | None
    kms: dict[str, str] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)

    def write(self) -> Path:
        lines = {
            "identity": {"uri": _text(uri(self.name))},
            "credentials": {"password": _text(password(self.name))},
            "sip": {
                "listen": '"127.0.0.1:0"',
                "registrar": _text(f"sip:{DOMAIN}"),
                "proxy": _text(self.kamailio.uri),
            },
            "kms": self._kms(),
            "tickets": self.tickets,
            "media": {"device": '"null"', "play": _text(str(self.speech)), "repeat": "true"},
        }
        text = ""
        for section, settings in lines.items():
            text += f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
        path = self.folder / f"{self.name}.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _kms(self) -> dict[str, str]:
        settings: dict[str, str] = {}
        if self.server is not None:
            settings = {"url": _text(self.server.url), "identity": _text(IDENTITY)}
            if "certificate" not in self.kms:
                known = self.server.subscribers[self.name]
                psk = self.folder / f"{self.name}.psk"
                psk.write_text(known.psk)
                psk.chmod(0o600)
                settings |= {"psk_file": _text(str(psk)), "psk_id": _text(known.psk_id)}
        return settings | self.kms

    def share(self, owner: str, key: str, key_id: str = "") -> None:
        """Name a ticket key shared with *owner*."""
        path = self.folder / f"{self.name}-with-{owner.partition(':')[2]}.tpk"
        path.write_text(key)
        path.chmod(0o600)
        self.kms["ticket_keys"] = f"{{ {_text(owner)} = {_text(str(path))} }}"
        if key_id:
            self.kms["ticket_key_ids"] = f"{{ {_text(owner)} = {_text(key_id)} }}"

    def run(self, *words: str) -> Process:
        """Start a command as this user."""
        program = Program(COMMAND, *words, "--config", self.write(), "--json", stderr=subprocess.STDOUT)
        return Process(program, name=self.name)


def _text(value: str) -> str:
    return json.dumps(value)


def _documents(process: Process) -> Iterator[Mapping[str, Any]]:
    for line in process.lines:
        if line.startswith("{"):
            yield json.loads(line)


def _last(process: Process, kind: str) -> Mapping[str, Any]:
    found = [document for document in _documents(process) if document["type"] == kind]
    assert found, f"{process.name} told no {kind}:\n" + "\n".join(process.lines)
    return found[-1]


def _exchanges(process: Process) -> list[str]:
    return [document["exchange"] for document in _documents(process) if document["type"] == "kms.response"]


def call(alice: Person, bob: Person) -> tuple[Process, Process]:
    """Let alice call bob for a second; return both commands when they have ended."""
    with ExitStack() as stack:
        answer = stack.enter_context(bob.run("answer", "--auto", "--once"))
        answer.wait_for("agent.ready", timeout=FINISH_S)
        caller = stack.enter_context(alice.run("call", uri("bob"), "--duration", "1"))
        caller.wait_for('"result"', timeout=FINISH_S)
        answer.wait_for('"result"', timeout=FINISH_S)
        return caller, answer


def check_proven(caller: Process, answer: Process) -> None:
    for process, peer in ((caller, "bob"), (answer, "alice")):
        end = _last(process, "call.end")
        assert (end["reason"], end["security"]["media"], end["security"]["peer"]) == (
            "hangup",
            "proven",
            uri(peer),
        ), end
        assert _last(process, "result")["exit_code"] == 0


@pytest.fixture
def server(kamailio: Kamailio, tmp_path: Path) -> Iterator[Kms]:
    made = Kms(tmp_path / "kms")
    for user in ("alice", "bob"):
        made.add_user(user)
    with made:
        yield made


@pytest.fixture
def people(kamailio: Kamailio, tmp_path: Path, speech: Path, server: Kms) -> tuple[Person, Person]:
    alice, bob = (Person(name, tmp_path, kamailio, speech, server) for name in ("alice", "bob"))
    return alice, bob


def test_full(people: tuple[Person, Person]) -> None:
    """Mode 1: the KMS makes the ticket and resolves it."""
    caller, answer = call(*people)
    check_proven(caller, answer)
    assert (_exchanges(caller), _exchanges(answer)) == (["ticket-request"], ["ticket-resolve"])
    assert _last(caller, "kms.response")["ticket"]["mode"] == "full"


def test_kerberos_like(people: tuple[Person, Person], server: Kms) -> None:
    """Mode 2: the KMS makes the ticket, and bob opens it with the key he shares with the KMS."""
    alice, bob = people
    server.stop()
    server.set_policy(RESPONDERS_OPEN)
    server.start()
    shared = server.run("tpk", "share", uri("bob"))
    bob.share(IDENTITY, str(shared["tpk"]), str(shared["key_id"]))
    alice.kms["mode"] = '"kerberos"'
    caller, answer = call(alice, bob)
    check_proven(caller, answer)
    assert (_exchanges(caller), _exchanges(answer)) == (["ticket-request"], [])
    assert _last(caller, "kms.response")["ticket"]["mode"] == "kerberos"


@pytest.fixture
def kept(people: tuple[Person, Person], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both keep tickets in a file, and bob those of callers as well."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("SIPMIKEY_TEST_KEYRING", "file")
    for person in people:
        person.tickets = {"keep": "true", "file": _text(str(tmp_path / f"{person.name}.db"))}
    people[1].tickets["keep_resolved"] = "true"


def test_full_while_the_kms_is_down(people: tuple[Person, Person], server: Kms, kept: None) -> None:
    """Alice has a ticket, and bob has resolved it, ahead of the call; then both start again."""
    alice, bob = people
    with ExitStack() as stack:
        waiting = stack.enter_context(bob.run("answer", "--auto"))
        waiting.wait_for("agent.ready", timeout=FINISH_S)
        fetch = stack.enter_context(alice.run("tickets", "fetch", uri("bob"), "--push"))
        fetch.wait_for('"ticket.resolved"', timeout=FINISH_S)
    assert _last(fetch, "ticket.resolved")["peer"] == uri("bob")
    server.stop()
    caller, answer = call(alice, bob)
    check_proven(caller, answer)
    assert (_exchanges(caller), _exchanges(answer)) == ([], [])


def test_otway_rees_like(people: tuple[Person, Person], server: Kms) -> None:
    """Mode 3: alice makes the ticket with the key she shares with the KMS, which bob asks about it."""
    alice, bob = people
    shared = server.run("tpk", "share", uri("alice"))
    alice.share(IDENTITY, str(shared["tpk"]), str(shared["key_id"]))
    alice.kms["mode"] = '"otway-rees"'
    caller, answer = call(alice, bob)
    check_proven(caller, answer)
    assert (_exchanges(caller), _exchanges(answer)) == ([], ["ticket-resolve"])


def test_preshared(kamailio: Kamailio, tmp_path: Path, speech: Path) -> None:
    """Mode 4: alice and bob share a key, and there is no KMS."""
    alice, bob = (Person(name, tmp_path, kamailio, speech, None) for name in ("alice", "bob"))
    key = base64.b64encode(bytes(range(32))).decode()
    alice.share(uri("bob"), key)
    bob.share(uri("alice"), key)
    for person in (alice, bob):
        person.kms["mode"] = '"preshared"'
    caller, answer = call(alice, bob)
    check_proven(caller, answer)
    assert (_exchanges(caller), _exchanges(answer)) == ([], [])


def test_a_mode_for_one_contact(people: tuple[Person, Person]) -> None:
    """The general mode asks the KMS; with bob alone a key is shared."""
    alice, bob = people
    key = base64.b64encode(bytes(range(32))).decode()
    alice.share(uri("bob"), key)
    bob.share(uri("alice"), key)
    alice.kms["modes"] = f'{{ {_text(uri("bob"))} = "preshared" }}'
    caller, answer = call(alice, bob)
    check_proven(caller, answer)
    assert (_exchanges(caller), _exchanges(answer)) == ([], [])


@pytest.fixture
def with_certificates(
    kamailio: Kamailio, tmp_path: Path, speech: Path
) -> Iterator[tuple[Kms, Person, Person]]:
    """A KMS that takes public-key messages of its CA's users; alice and bob have certificates and no PSK."""
    make_root(tmp_path)
    server = Kms(tmp_path / "kms")
    of_kms, older = (issue(tmp_path, name, IDENTITY, "root") for name in ("kms", "kms-older"))
    (tmp_path / "both.pem").write_bytes(older.read_bytes() + of_kms.read_bytes())
    with (server.directory / "kms.toml").open("a") as configuration:
        configuration.write(
            f'\n[public_key]\ncertificate = "{of_kms}"\nprivate_key = "{of_kms.with_suffix(".key")}"\n'
            f'trust_anchors = "{tmp_path / "root.pem"}"\nrevocation_lists = "{tmp_path / "root.crl"}"\n'
            f'older = {{ "{older}" = "{older.with_suffix(".key")}" }}\n'
        )
    people = []
    for name in ("alice", "bob"):
        own = issue(tmp_path, name, uri(name), "root")
        server.add_user(name, "--certificate", str(own))
        person = Person(name, tmp_path, kamailio, speech, server)
        person.kms = {
            "certificate": _text(str(own)),
            "private_key": _text(str(own.with_suffix(".key"))),
            "kms_certificates": _text(str(of_kms)),
        }
        people.append(person)
    # Alice's envelopes are for the KMS's older key, which CHASH names; the KMS has bob's certificate.
    people[0].kms |= {"kms_certificates": _text(str(tmp_path / "both.pem")), "signature": '"pss"'}
    people[1].kms["send_certificate"] = "false"
    with server:
        yield server, people[0], people[1]


@pytest.mark.parametrize("psk", ["", "alice", "bob"], ids=["both certificates", "caller PSK", "callee PSK"])
def test_full_public_key(with_certificates: tuple[Kms, Person, Person], psk: str) -> None:
    """Mode 1 with REQUEST_INIT_PK and RESOLVE_INIT_PK; one side may have a pre-shared key."""
    _, alice, bob = with_certificates
    for person in (alice, bob):
        if person.name == psk:
            person.kms = {}
    caller, answer = call(alice, bob)
    check_proven(caller, answer)
    assert (_exchanges(caller), _exchanges(answer)) == (["ticket-request"], ["ticket-resolve"])


def refused(alice: Person, bob: Person) -> Mapping[str, Any]:
    """Let alice's call fail; return its ending as alice's command tells it."""
    with ExitStack() as stack:
        answer = stack.enter_context(bob.run("answer", "--auto", "--once"))
        answer.wait_for("agent.ready", timeout=FINISH_S)
        caller = stack.enter_context(alice.run("call", uri("bob"), "--duration", "1"))
        caller.wait_for('"result"', timeout=FINISH_S)
        return _last(caller, "result")


def test_a_revoked_certificate_is_refused(
    with_certificates: tuple[Kms, Person, Person], tmp_path: Path
) -> None:
    """The list is read while the KMS runs."""
    _, alice, bob = with_certificates
    certificate = x509.load_pem_x509_certificate((tmp_path / "bob.pem").read_bytes())
    revoke(tmp_path, certificate.serial_number)
    end = refused(alice, bob)
    assert (end["side"], end["exit_code"]) == ("remote", 4), end


def test_preshared_without_the_callees_key_is_refused(
    kamailio: Kamailio, tmp_path: Path, speech: Path
) -> None:
    alice, bob = (Person(name, tmp_path, kamailio, speech, None) for name in ("alice", "bob"))
    alice.share(uri("bob"), base64.b64encode(bytes(range(32))).decode())
    bob.share(uri("carol"), base64.b64encode(bytes(range(32))).decode())
    for person in (alice, bob):
        person.kms["mode"] = '"preshared"'
    assert refused(alice, bob)["reason"] == "unknown-key"


def test_kerberos_like_where_the_kms_insists_on_resolving(people: tuple[Person, Person], server: Kms) -> None:
    """The KMS's policy forces E on: the call is made in full mode, and both see it."""
    alice, bob = people
    server.stop()
    server.set_policy(KMS_RESOLVES)
    server.start()
    alice.kms["mode"] = '"kerberos"'
    caller, answer = call(alice, bob)
    check_proven(caller, answer)
    assert _last(caller, "kms.response")["ticket"]["mode"] == "full"
    assert _exchanges(answer) == ["ticket-resolve"]


def group_session(server: Kms, alice: Person, bob: Person, host: str, interface: str) -> None:
    """Bob joins by way of the proxy and hears alice; once he is out of the group he gets no further key."""
    group = uri("talk")
    server.run("group", "add", group, uri("alice"), uri("bob"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        media = f"{host}:{probe.getsockname()[1]}"
    here = ("--interface", interface)
    with ExitStack() as stack:
        words = ("group", "call", group, "--media", media, "--rekey", "1")
        chair = stack.enter_context(alice.run(*words, *here))
        chair.wait_for("group.ready", timeout=FINISH_S)
        member = stack.enter_context(bob.run("group", "join", group, "--chair", uri("alice"), *here))
        member.wait_for("group.in", timeout=FINISH_S)
        chair.wait_for("group.joined", timeout=FINISH_S)
        assert _last(chair, "group.joined")["member"] == uri("bob")
        server.run("group", "remove", group, uri("bob"))
        member.wait_for('"result"', timeout=FINISH_S)
        chair.wait_for("group.left", timeout=FINISH_S)
    assert _last(member, "group.media")["received"] > 0
    result = _last(member, "result")
    assert (result["exit_code"], result["reason"]) == (4, "kms-refused")
    left = _last(chair, "group.left")
    assert (left["member"], left["reason"]) == (uri("bob"), "kms-refused")


def test_a_group_session_and_who_is_put_out_of_it(people: tuple[Person, Person], server: Kms) -> None:
    group_session(server, *people, "239.255.60.43", "127.0.0.1")


def test_a_group_session_with_certificates_and_ipv6_media(
    with_certificates: tuple[Kms, Person, Person],
) -> None:
    if not has_ipv6():
        pytest.skip("this kernel has no IPv6")
    # The loopback interface takes no IPv6 multicast.
    for words in (
        "link add group0 type veth peer name group1",
        "link set group0 up",
        "link set group1 up",
        "-6 address add fd00:60::43/64 dev group0 nodad",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    try:
        group_session(*with_certificates, "[ff15::60:43]", "group0")
    finally:
        subprocess.run(["ip", "link", "delete", "group0"], check=True)
