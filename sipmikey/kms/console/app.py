"""The console as a whole: which address leads where, for whom."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sipmikey.kms.console.console_request import HERE, Handler, environment
from sipmikey.kms.console.guard import Guard
from sipmikey.kms.console.oidc import ProviderSignIn
from sipmikey.kms.console.pages import audit, people, rules
from sipmikey.kms.console.pages.sign_in import CALLBACK, SignIn
from sipmikey.kms.console.roles import Permission
from sipmikey.kms.console.sessions import Sessions
from sipmikey.kms.console.settings import ConsoleSettings
from sipmikey.kms.stores.store import Store


@dataclass(frozen=True, slots=True)
class Place:
    """An address for who is signed in and has ``permission`` (None: everybody who is)."""

    method: str
    path: str
    permission: Permission | None
    handler: Handler


PLACES: tuple[Place, ...] = (
    Place("GET", "/", Permission.SEE, rules.health),
    Place("GET", "/users", Permission.SEE, people.users),
    Place("POST", "/users", Permission.CHANGE_USERS, people.add_user),
    Place("GET", "/user", Permission.SEE, people.user),
    Place("POST", "/user/remove", Permission.CHANGE_USERS, people.remove_user),
    Place("POST", "/user/enable", Permission.SWITCH, people.enable_user),
    Place("POST", "/user/disable", Permission.SWITCH, people.disable_user),
    Place("GET", "/devices", Permission.SEE, people.devices),
    Place("POST", "/devices/revoke", Permission.REVOKE, people.revoke_device),
    Place("GET", "/groups", Permission.SEE, people.groups),
    Place("POST", "/groups/add", Permission.CHANGE_GROUPS, people.add_members),
    Place("POST", "/groups/remove", Permission.CHANGE_GROUPS, people.remove_members),
    Place("GET", "/invitations", Permission.SEE, people.invitations),
    Place("POST", "/invitations", Permission.INVITE, people.invite),
    Place("POST", "/invitations/take-back", Permission.INVITE, people.take_back),
    Place("GET", "/policy", Permission.SEE, rules.policy),
    Place("POST", "/policy", Permission.CHANGE_POLICY, rules.put_policy),
    Place("GET", "/keys", Permission.SEE_KEYS, rules.keys),
    Place("POST", "/keys/rotate", Permission.CHANGE_KEYS, rules.rotate),
    Place("POST", "/keys/destroy", Permission.CHANGE_KEYS, rules.destroy),
    Place("GET", "/audit", Permission.SEE_AUDIT, audit.search),
    Place("GET", "/audit/export", Permission.SEE_AUDIT, audit.export),
)
"""Everything behind the sign-in. The tests walk over it, role by role."""


def console(store: Store, settings: ConsoleSettings) -> Starlette:
    """Return the console over an open store."""
    sessions = Sessions(
        store.console_sessions, settings.people, idle_s=settings.idle_s, session_s=settings.session_s
    )
    guard = Guard(store, settings, sessions, environment())
    provider = None if settings.oidc is None else ProviderSignIn(settings.oidc, settings.url + CALLBACK)
    sign_in = SignIn(guard, store, provider)

    async def nothing(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        return guard.told(request, status, "Nothing is here." if status == 404 else "This is not done here.")

    return Starlette(
        routes=[
            Route("/static/console.css", _style, methods=["GET"]),
            Route("/favicon.ico", _no_icon, methods=["GET"]),
            Route("/sign-in", sign_in.page, methods=["GET"]),
            Route("/sign-in/certificate", sign_in.by_certificate, methods=["POST"]),
            Route("/sign-in/oidc", sign_in.to_provider, methods=["GET"]),
            Route(CALLBACK, sign_in.from_provider, methods=["GET"]),
            Route("/sign-out", guard.guarded(sign_in.out, None), methods=["POST"]),
            *(
                Route(place.path, guard.guarded(place.handler, place.permission), methods=[place.method])
                for place in PLACES
            ),
        ],
        exception_handlers={404: nothing, 405: nothing},
    )


_STYLE = (HERE / "static" / "console.css").read_text(encoding="utf-8")


async def _style(request: Request) -> Response:
    return Response(_STYLE, media_type="text/css")


async def _no_icon(request: Request) -> Response:
    """Answer browsers, which ask for an icon whether a page names one or not."""
    return Response(status_code=204)
