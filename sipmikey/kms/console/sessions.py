"""Sessions of the console: who is signed in, and for how long."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sipmikey.kms.console.roles import People, Role
from sipmikey.kms.stores.console_sessions import SEEN_STEP_S, ConsoleSessionStore

SESSION_COOKIE: Final = "__Host-sipmikey-console"
LOGIN_COOKIE: Final = "__Host-sipmikey-sign-in"
LOGIN_S: Final = 600
"""How long a person has at the OpenID provider."""

_SESSION = "session"
_LOGIN = "login"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A person who is signed in. ``names``: what the role was found by.

    ``how``: ``certificate`` or ``oidc``.
    """

    token: str
    name: str
    names: tuple[str, ...]
    how: str
    csrf: str
    role: Role

    def accepts(self, csrf: str) -> bool:
        """Return whether a form with this token is one of this session's."""
        return hmac.compare_digest(csrf.encode(), self.csrf.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A visit to the OpenID provider that has begun."""

    state: str
    nonce: str
    verifier: str


class Sessions:
    """Begins, finds and ends sessions. A role is looked up again for each request."""

    def __init__(
        self,
        store: ConsoleSessionStore,
        people: People,
        *,
        idle_s: int,
        session_s: int,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._people = people
        self._idle_s = idle_s
        self._session_s = session_s
        self._now_s = now_s

    async def begin(self, *, name: str, names: Iterable[str], how: str, instead_of: str) -> Session | None:
        """Begin a session under a token that nobody had before, and end the one of *instead_of*.

        Returns None for somebody without a role.
        """
        found = tuple(dict.fromkeys((name, *names)))
        role = self._people.role_of(found)
        if role is None:
            return None
        if instead_of:
            await self.end(instead_of)
        now_s = int(self._now_s())
        await self._store.forget(
            seen_before_s=now_s - max(self._idle_s, LOGIN_S), created_before_s=now_s - self._session_s
        )
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        content = {"name": name, "names": found, "how": how, "csrf": csrf}
        await self._store.put(token, _SESSION, content, now_s=now_s)
        return Session(token=token, name=name, names=found, how=how, csrf=csrf, role=role)

    async def find(self, token: str, *, certificate: frozenset[str]) -> Session | None:
        """Return the session of *token*, None where it is over or its person has no role any more.

        One that was begun with a client certificate needs that certificate.
        """
        stored = await self._store.get(token, _SESSION)
        now_s = int(self._now_s())
        if stored is None:
            return None
        content = stored.content
        role = self._people.role_of(content["names"])
        idle = now_s - stored.seen_s > self._idle_s or now_s - stored.created_s > self._session_s
        without = content["how"] == "certificate" and content["name"] not in certificate
        if role is None or idle or without:
            await self.end(token)
            return None
        if now_s - stored.seen_s >= SEEN_STEP_S:
            await self._store.seen(token, now_s=now_s)
        return Session(
            token=token, name=content["name"], names=tuple(content["names"]), how=content["how"],
            csrf=content["csrf"], role=role,
        )  # fmt: skip

    async def end(self, token: str) -> None:
        """End a session."""
        await self._store.end(token, _SESSION)

    async def begin_login(self) -> tuple[str, Login]:
        """Return the token of a visit to the provider, and what goes along."""
        token = secrets.token_urlsafe(32)
        login = Login(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
        )
        content = {"state": login.state, "nonce": login.nonce, "verifier": login.verifier}
        await self._store.put(token, _LOGIN, content, now_s=int(self._now_s()))
        return token, login

    async def end_login(self, token: str, state: str) -> Login | None:
        """Return the visit of *token*, once; None where there is none, or *state* is another's."""
        stored = await self._store.get(token, _LOGIN)
        if stored is None or not await self._store.end(token, _LOGIN):
            return None
        login = Login(**stored.content)
        late = int(self._now_s()) - stored.created_s > LOGIN_S
        genuine = hmac.compare_digest(login.state.encode(), state.encode())
        return login if genuine and not late else None
