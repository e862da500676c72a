"""What stands before every page of the console: who asks, whether they may, and whether it is their form."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sipmikey.kms.administration.acts import Administration
from sipmikey.kms.administration.audit_acts import Actor
from sipmikey.kms.console.console_request import ConsoleRequest, Handler
from sipmikey.kms.console.roles import ALLOWED, GROUP_PREFIX, Permission
from sipmikey.kms.console.sessions import SESSION_COOKIE, Session, Sessions
from sipmikey.kms.console.settings import ConsoleSettings
from sipmikey.kms.service.lookups import StoreUnavailable
from sipmikey.kms.stores.store import Store
from sipmikey.mikey.errors import LocalError, SipmikeyError
from sipmikey.printable import printable
from sipmikey.rate_limit import RateLimiter, address_key

FAILURES_BURST: Final = 20
"""Wrong cookies and failed sign-ins of one address at once; then one in three seconds."""

FIELDS: Final = 50
SAFE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers send "Origin: null" along with forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
    "Strict-Transport-Security": "max-age=31536000",
    "Cache-Control": "no-store",
}


class Guard:
    """Makes of a `Handler` what answers a request, for who may ask it."""

    def __init__(
        self, store: Store, settings: ConsoleSettings, sessions: Sessions, templates: jinja2.Environment
    ) -> None:
        self.sessions = sessions
        self.settings = settings
        self.templates = templates
        self._store = store
        self.failures = RateLimiter(per_second=1 / 3, burst=FAILURES_BURST, now=time.monotonic)

    def guarded(
        self, handler: Handler, permission: Permission | None
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return *handler* behind session, role (*permission* None: any role) and form token."""

        async def answer(request: Request) -> Response:
            if (late := self.waiting(request)) is not None:
                return late
            session = await self._session(request)
            if session is None:
                return RedirectResponse("/sign-in", status_code=303)
            if permission is not None and permission not in ALLOWED[session.role]:
                return self.told(request, 403, f"As {session.role} you may not {permission}.")
            form: Mapping[str, str] = {}
            if request.method == "POST":
                if not self.same_origin(request):
                    return self.told(request, 403, "This form was sent from another site.")
                form = await _fields(request)
                if not session.accepts(form.get("csrf", "")):
                    return self.told(request, 403, "This form is not of this session: load the page again.")
            actor = Actor(name=session.name, source=f"console {source(request)}")
            asked = ConsoleRequest(
                request=request, session=session, store=self._store, settings=self.settings,
                admin=Administration(self._store, actor), templates=self.templates, form=form,
            )  # fmt: skip
            try:
                _check_texts(asked.query)
                _check_texts(form)
                return await handler(asked)
            except StoreUnavailable:
                return self.told(request, 503, "A store does not answer: try again in a moment.")
            except SipmikeyError as error:
                return self.told(request, 400, str(error))

        return answer

    async def _session(self, request: Request) -> Session | None:
        token = request.cookies.get(SESSION_COOKIE, "")
        if not token:
            return None
        session = await self.sessions.find(token, certificate=names_of(request))
        if session is None:
            self.failed(request)
        return session

    def waiting(self, request: Request) -> Response | None:
        """Return the answer to an address that failed too often, None for others."""
        wait = self.failures.wait(address_key(source(request)))
        if wait is None:
            return None
        answer = self.told(request, 429, "Too many failures from this address: wait a moment.")
        answer.headers["Retry-After"] = str(int(wait) + 1)
        return answer

    def failed(self, request: Request) -> None:
        """Count one failure of an address."""
        self.failures.retry_after(address_key(source(request)))

    def same_origin(self, request: Request) -> bool:
        """Return whether a browser says that its own page of the console sent this."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "same-origin")
        return site == "same-origin" and (origin is None or origin == self.settings.url)

    def told(self, request: Request, status: int, text: str) -> Response:
        """Return a page that says *text*."""
        page = self.templates.get_template("told.html").render(
            text=text, status=status, session=None, kms="", said=""
        )
        return HTMLResponse(page, status_code=status)


def source(request: Request) -> str:
    """Return the address a request came from."""
    return request.client.host if request.client is not None else ""


def names_of(request: Request) -> frozenset[str]:
    """Return the names in the client certificate, mail addresses without their scheme, and no groups."""
    names: frozenset[str] = request.scope.get("peer_names", frozenset())
    people = (name.removeprefix("mailto:") for name in names)
    return frozenset(name for name in people if not name.casefold().startswith(GROUP_PREFIX))


def _check_texts(fields: Mapping[str, str]) -> None:
    """Raise `LocalError`, which names the field, where a text has what no store keeps."""
    for name, text in fields.items():
        if "\0" in text:
            raise LocalError(f"{printable(name, most=60)}: a text has the character NUL")


async def _fields(request: Request) -> dict[str, str]:
    """Return the fields of a form; nothing of a body that is not one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        text = (await request.body()).decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS, errors="strict"))
    except (UnicodeError, ValueError):
        return {}
