"""A console over a real store, and people who use it as browsers do, with cookies and forms."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from sipmikey.kms.administration.acts import Administration
from sipmikey.kms.administration.audit_acts import Actor
from sipmikey.kms.audit import AuditEvent, AuditQuery
from sipmikey.kms.console.roles import People, Role
from sipmikey.kms.console.serve import ConsoleApplication
from sipmikey.kms.console.settings import ConsoleSettings, OidcSettings
from sipmikey.kms.server.protocol import RequestHead, Response
from sipmikey.kms.stores.open import open_store
from sipmikey.kms.subscribers import PskRecord, SubscriberRecord
from sipmikey.mikey.secret import Secret

URL = "https://console.example.com"
NAMES = {
    Role.ADMINISTRATOR: "ann@example.com",
    Role.HELP_DESK: "hal@example.com",
    Role.AUDITOR: "aud@example.com",
}
POLICY = """
[[rule]]
name = "everybody"
from = ["*"]
to = ["*"]
decision = "allow"
"""


@dataclass(frozen=True, slots=True)
class Part:
    part: str
    state: str
    text: str


async def _health() -> Sequence[Part]:
    return [Part("store", "ok", "it answers")]


@dataclass(slots=True)
class Answer:
    """What came back; ``title``: the page's heading."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def title(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.text, re.DOTALL)
        return html.unescape(found[1].strip()) if found else ""

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.text)
        return found[1] if found else ""


class Desk:
    """The console over a new store. Everything runs in one event loop of its own."""

    def __init__(self, url: str, *, oidc: OidcSettings | None = None, idle_s: int = 900) -> None:
        self.runner = asyncio.Runner()
        self.store = self.runner.run(open_store(url, Secret(bytes(range(32))), create=True))

        async def policy() -> str:
            version = await self.store.policies.current()
            return POLICY if version is None else version.text

        self.settings = ConsoleSettings(
            url=URL,
            people=People({role: (name, f"group:{role.value}s") for role, name in NAMES.items()}),
            kms_identity="sip:kms@example.com",
            device_url="https://kms.example.com",
            invitation_minutes=15.0,
            health=_health,
            policy_text=policy,
            policy_in_store=True,
            certificates=True,
            oidc=oidc,
            idle_s=idle_s,
        )
        self.application = ConsoleApplication(self.store, self.settings)

    def close(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()

    def acts(self) -> Administration:
        return Administration(self.store, Actor(name="test", source="command"))

    def add(self, name: str, *, groups: Sequence[str] = ()) -> None:
        psk = PskRecord(key_id=name.encode(), key=Secret(bytes(32)))
        record = SubscriberRecord(
            name=name, identities=(f"sip:{name}@example.com",), psks=(psk,), groups=tuple(groups)
        )
        self.runner.run(self.acts().add(record))

    def audit(self) -> Sequence[AuditEvent]:
        return self.runner.run(self.store.audit.query(AuditQuery(limit=1000)))

    def by(self, role: Role, *, source: str = "192.0.2.1") -> Person:
        """Return somebody of *role* who has signed in by a certificate."""
        person = Person(self, certificate=NAMES[role], source=source)
        answer = person.sign_in()
        assert (answer.status, answer.title) == (200, "Signed in")
        return person


@dataclass(slots=True)
class Person:
    """A browser. ``certificate``: the mail address in its client certificate, "" where it has none."""

    desk: Desk
    certificate: str = ""
    source: str = "192.0.2.1"
    cookies: dict[str, str] = field(default_factory=dict)

    def sign_in(self) -> Answer:
        return self.post("/sign-in/certificate", csrf="")

    def get(self, path: str, query: Mapping[str, str] | None = None, **headers: str) -> Answer:
        return self.ask("GET", path, query=urlencode(query or {}), headers=headers)

    def post(
        self, path: str, form: Mapping[str, str] | None = None, *, csrf: str | None = None, **headers: str
    ) -> Answer:
        """Send a form, with the token of this session unless another *csrf* is given."""
        token = self.get("/").csrf if csrf is None else csrf
        body = urlencode({**(form or {}), "csrf": token}).encode()
        given = {"origin": URL, "sec-fetch-site": "same-origin", **headers}
        return self.ask("POST", path, body=body, headers=given)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in (headers or {}).items()]
        if self.cookies:
            sent.append((b"cookie", "; ".join(f"{n}={v}" for n, v in self.cookies.items()).encode()))
        if method == "POST":
            sent.append((b"content-type", b"application/x-www-form-urlencoded"))
        names = frozenset({f"mailto:{self.certificate}"} if self.certificate else ())
        head = RequestHead(method.encode(), path.encode(), query.encode(), sent, self.source, names)
        response: Response = self.desk.runner.run(self.desk.application.answer(head, body))
        for name, value in response.headers:
            if name == b"set-cookie":
                for cookie, morsel in SimpleCookie(value.decode()).items():
                    if morsel["max-age"] == "0":
                        self.cookies.pop(cookie, None)
                    else:
                        self.cookies[cookie] = morsel.value
        found = {name.decode(): value.decode() for name, value in response.headers}
        return Answer(response.status, response.body.decode(), found)
