"""Signing in and out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sipmikey.kms.administration.acts import Administration
from sipmikey.kms.administration.audit_acts import Actor, AdminAct
from sipmikey.kms.console.console_request import ConsoleRequest
from sipmikey.kms.console.guard import Guard, names_of, source
from sipmikey.kms.console.oidc import ProviderSignIn, SignInFailed
from sipmikey.kms.console.sessions import LOGIN_COOKIE, LOGIN_S, SESSION_COOKIE, Session
from sipmikey.kms.server.log import log
from sipmikey.kms.stores.store import Store
from sipmikey.printable import printable

CALLBACK = "/sign-in/callback"


class SignIn:
    """The ways in. ``provider`` None: by certificate only."""

    def __init__(self, guard: Guard, store: Store, provider: ProviderSignIn | None) -> None:
        self._guard = guard
        self._store = store
        self._provider = provider

    async def page(self, request: Request) -> Response:
        """Show the ways in."""
        return self._shown(request, 200, "")

    async def by_certificate(self, request: Request) -> Response:
        """Begin a session for who the client certificate names."""
        if (late := self._guard.waiting(request)) is not None:
            return late
        if not self._guard.same_origin(request) or request.headers.get("origin") is None:
            return self._guard.told(request, 403, "This form was sent from another site.")
        names = sorted(names_of(request))
        if not self._guard.settings.certificates or not names:
            return self._refused(request, "your browser showed no client certificate", "")
        people = self._guard.settings.people
        known = [name for name in names if people.role_of([name]) is not None] or names
        return await self._begun(request, known[0], known[1:], "certificate")

    async def to_provider(self, request: Request) -> Response:
        """Send the browser to the OpenID provider."""
        if (late := self._guard.waiting(request)) is not None:
            return late
        if self._provider is None:
            return self._guard.told(request, 404, "This console has no OpenID provider.")
        token, login = await self._guard.sessions.begin_login()
        try:
            address = await self._provider.address(login)
        except SignInFailed as error:
            return self._refused(request, str(error), "")
        self._guard.failed(request)  # each visit counts a little: they are kept for minutes
        answer = RedirectResponse(address, status_code=303)
        answer.set_cookie(
            LOGIN_COOKIE, token, max_age=LOGIN_S, path="/", secure=True, httponly=True, samesite="lax"
        )
        return answer

    async def from_provider(self, request: Request) -> Response:
        """Begin a session for who comes back from the OpenID provider."""
        if (late := self._guard.waiting(request)) is not None:
            return late
        if self._provider is None:
            return self._guard.told(request, 404, "This console has no OpenID provider.")
        query = request.query_params
        token = request.cookies.get(LOGIN_COOKIE, "")
        login = await self._guard.sessions.end_login(token, query.get("state", "")) if token else None
        if login is None:
            return self._refused(request, "this visit to the OpenID provider is unknown or over", "")
        if "error" in query or "code" not in query:
            return self._refused(
                request, f"the OpenID provider says {query.get('error', 'nothing')[:60]}", ""
            )
        try:
            who = await self._provider.claimed(query["code"], login)
        except SignInFailed as error:
            return self._refused(request, str(error), "")
        return await self._begun(request, who.name, list(who.groups), "oidc")

    async def out(self, asked: ConsoleRequest) -> Response:
        """End the session."""
        await asked.admin.acted(AdminAct.SIGN_OUT)
        await self._guard.sessions.end(asked.session.token)
        answer = asked.back("/sign-in")
        answer.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    # Inside

    async def _begun(self, request: Request, name: str, names: list[str], how: str) -> Response:
        session = await self._guard.sessions.begin(
            name=name, names=names, how=how, instead_of=request.cookies.get(SESSION_COOKIE, "")
        )
        if session is None:
            return self._refused(request, "nobody gave you a role in this console", name)
        actor = Actor(name=name, source=f"console {source(request)}")
        await Administration(self._store, actor).acted(AdminAct.SIGN_IN, detail=f"{how}, {session.role}")
        return self._entered(session)

    def _entered(self, session: Session) -> Response:
        # A redirect would belong to the visit of another site, whose requests carry no strict cookie.
        page = self._guard.templates.get_template("entered.html").render(session=None, kms="", said="")
        answer = HTMLResponse(page)
        answer.set_cookie(
            SESSION_COOKIE, session.token, path="/", secure=True, httponly=True, samesite="strict"
        )
        answer.delete_cookie(LOGIN_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return answer

    def _refused(self, request: Request, why: str, name: str) -> Response:
        self._guard.failed(request)
        fields = {"source": source(request), "name": printable(name), "detail": printable(why)}
        log.warning("console-sign-in-refused", extra={"fields": fields})
        return self._shown(request, 403, f"You are not signed in: {printable(why)}.")

    def _shown(self, request: Request, status: int, why: str) -> Response:
        settings = self._guard.settings
        text = self._guard.templates.get_template("sign-in.html").render(
            why=why, names=sorted(names_of(request)), certificates=settings.certificates,
            oidc=settings.oidc, kms=settings.kms_identity, session=None, said="",
        )  # fmt: skip
        return HTMLResponse(text, status_code=status)
