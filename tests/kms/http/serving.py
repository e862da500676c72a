"""A KMS as its users meet it: made with the `sipmikey kms` command, served by a process of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import http.client
import ipaddress
import json
import select
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sipmikey.cli.kms.common import open_configured
from sipmikey.cli.kms.configuration import load
from sipmikey.cli.main import main
from sipmikey.keys.suite import SUITE_256
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.secret import Secret
from sipmikey.system import environment
from sipmikey.testing.kms import RunningKms
from sipmikey.ticket import (
    FULL_MODE,
    PreSharedKey,
    RequestedKey,
    TicketGrant,
    TicketPolicy,
    TicketRequest,
    TicketResolve,
    TransferInitiator,
    TransferResponder,
)
from tests.ticket.parties import offered_sessions

KMS = "sip:kms@example.com"
ALICE, BOB, CAROL = "sip:alice@example.com", "sip:bob@example.com", "sip:carol@example.com"
START_S = 20.0
TICKET_REQUEST = "/keymanagement?requesttype=ticketrequest"
TICKET_RESOLVE = "/keymanagement?requesttype=ticketresolve"
MIKEY = {"Content-Type": "application/mikey"}

env = environment()
T = TypeVar("T")


def command(*words: object) -> None:
    """Run `sipmikey kms ...` and insist that it succeeds."""
    code = main(["kms", *map(str, words)])
    assert code == 0, f"sipmikey kms {words[0]} ended with {code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Somebody with an identity and a key shared with the KMS."""

    identity: str
    psk: PreSharedKey

    def policy(self, *responders: str, kms: str = KMS) -> TicketPolicy:
        """Return what this subscriber asks for to call *responders*."""
        return TicketPolicy(
            suite=SUITE_256,
            flags=FULL_MODE,
            responders=responders,
            kms=kms,
            initiator=self.identity,
            requested_keys=(RequestedKey(length=SUITE_256.key_length),),
        )

    def request(self, *responders: str, kms: str = KMS) -> TicketRequest:
        """Start a Ticket Request for a ticket all *responders* may resolve."""
        policy = self.policy(*responders, kms=kms)
        return TicketRequest.start(env, policy=policy, credential=self.psk, identity=self.identity, kms=kms)

    def resolve(self, grant: TicketGrant, caller: Subscriber, kms: str = KMS) -> TicketResolve:
        """Start a Ticket Resolve for a call of *caller* to this subscriber."""
        sessions, policies = offered_sessions(grant)
        transfer = TransferInitiator.start(
            env,
            grant,
            crypto_sessions=sessions,
            policies=policies,
            initiator=caller.identity,
            responder=self.identity,
        )
        responder = TransferResponder(env, transfer.message, identity=self.identity)
        return TicketResolve.start(
            env, ticket=responder.ticket, credential=self.psk, identity=self.identity, kms=kms
        )


class Site:
    """A KMS's directory. Its policy lets subscribers call anybody."""

    def __init__(self, directory: Path, *options: object, identity: str = KMS) -> None:
        self.directory = directory
        self.identity = identity
        command("init", "--dir", directory, "--identity", identity, "--policy", "open", *options)

    def add(self, identity: str, *options: object, name: str | None = None) -> Subscriber:
        """Add a subscriber."""
        file = self.directory / f"{len(list(self.directory.glob('*.psk')))}.psk"
        psk_id = name or identity.partition(":")[2].partition("@")[0]
        command(
            "user", "add", "--dir", self.directory, identity, "--psk-file", file, "--psk-id", psk_id, *options
        )
        key = Secret(base64.b64decode(file.read_text()))
        return Subscriber(identity=identity, psk=PreSharedKey(key=key, key_id=psk_id.encode()))

    def configure(self, section: str, **values: object) -> None:
        """Add a section to kms.toml."""
        lines = [f"[{section}]"] + [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        file = self.directory / "kms.toml"
        file.write_text(file.read_text() + "\n" + "\n".join(lines) + "\n")

    def edit(self, old: str, new: str) -> None:
        """Replace a line of kms.toml."""
        file = self.directory / "kms.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def on_store(self, act: Callable[[Store], Awaitable[T]]) -> T:
        """Return what *act* finds or does in the store, beside a KMS that may be serving it."""

        async def body() -> T:
            store = await open_configured(load(self.directory))
            try:
                return await act(store)
            finally:
                await store.close()

        return asyncio.run(body())

    def users(self) -> dict[str, bool]:
        """Return whether each user may do anything, by primary identity."""

        async def act(store: Store) -> dict[str, bool]:
            return {record.identities[0]: record.enabled async for record in store.subscribers.records()}

        return self.on_store(act)


class Service:
    """A running `sipmikey kms serve`."""

    def __init__(self, running: RunningKms, log: Path) -> None:
        self.process = running.process
        self.url = running.url
        self.urls: list[str] = running.ready["urls"]
        self.metrics_url: str | None = running.ready["metrics"]
        self.console_url: str | None = running.ready["console"]
        self._log = log

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def log(self) -> list[dict[str, Any]]:
        """Return the log's lines; each must be JSON."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def await_log(self, event: str, *, count: int = 1) -> dict[str, Any]:
        """Return the *count*-th line with this event, waiting for it."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            found = [line for line in self.log() if line["event"] == event]
            if len(found) >= count:
                return found[count - 1]
            select.select([], [], [], 0.02)
        raise AssertionError(f"no {event!r} in the log: {self._log.read_text()[-2000:]}")

    def connection(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """Open a connection."""
        host, port = self.address
        if self.url.startswith("https:"):
            return http.client.HTTPSConnection(host, port, timeout=START_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=START_S)

    def post(
        self,
        body: bytes,
        *,
        path: str = TICKET_REQUEST,
        headers: Mapping[str, str] = MIKEY,
        context: ssl.SSLContext | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Post on a connection of its own; return status, headers and body."""
        with contextlib.closing(self.connection(context)) as connection:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()

    def get(self, path: str, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
        with contextlib.closing(self.connection(context)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def children(self) -> list[int]:
        """Return the process ids of the workers."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self) -> int:
        """Stop gracefully and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=START_S)


@contextlib.contextmanager
def serving(site: Site, *options: object, environment: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Serve *site* on a free port of the loopback address."""
    log = site.directory / "log.jsonl"
    running = RunningKms(site.directory, *options, log=log, environment=environment)
    try:
        yield Service(running, log)
    finally:
        running.stop()


class Authority:
    """A certificate authority for one test."""

    def __init__(self, name: str = "Test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def write(self, path: Path) -> Path:
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, certificate: Path, private_key: Path, *names: str) -> None:
        """Write a certificate for *names* (addresses, DNS names, SIP URIs) and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        made = (
            self._builder(subject, key)
            .add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        # The key first: a server that watches the certificate finds both.
        private_key.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        certificate.write_bytes(made.public_bytes(pem))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        if "@" in name and ":" not in name:
            return x509.RFC822Name(name)
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.UniformResourceIdentifier(name) if ":" in name else x509.DNSName(name)
