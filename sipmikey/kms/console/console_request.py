"""One request of the console, and how it is answered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sipmikey.kms.administration.acts import Administration
from sipmikey.kms.console.roles import ALLOWED, Permission
from sipmikey.kms.console.sessions import Session
from sipmikey.kms.console.settings import ConsoleSettings
from sipmikey.kms.stores.store import Store
from sipmikey.printable import printable

HERE: Final = Path(__file__).parent

_SAID = re.compile(
    r"added|enabled|disabled|removed|revoked|changed|taken back|rotated|destroyed|[0-9]{1,6} rules in force"
)


def _utc(seconds: float | None) -> str:
    """Return Unix seconds as people read them, "" for None."""
    if seconds is None:
        return ""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def environment() -> jinja2.Environment:
    """Return the templates. Everything put into one is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["utc"] = _utc
    made.filters["shown"] = lambda text: printable(str(text))
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleRequest:
    """A request of somebody who is signed in and may ask it. ``form``: the fields of a POST."""

    request: Request
    session: Session
    store: Store
    settings: ConsoleSettings
    admin: Administration
    templates: jinja2.Environment
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> Mapping[str, str]:
        """Return the fields of the address."""
        return self.request.query_params

    def may(self, permission: Permission) -> bool:
        """Return whether the person may do this."""
        return permission in ALLOWED[self.session.role]

    def page(self, name: str, *, status: int = 200, **fields: Any) -> Response:
        """Return the page *name* of a template."""
        text = self.templates.get_template(f"{name}.html").render(
            asked=self, session=self.session, P=Permission, page=name, kms=self.settings.kms_identity,
            said=self._said(), **fields,
        )  # fmt: skip
        return HTMLResponse(text, status_code=status)

    def _said(self) -> str:
        """Return what was done, as the address says it: in the console's words, not those of a link."""
        said = self.query.get("said", "")
        return said if _SAID.fullmatch(said) else ""

    def back(self, path: str) -> Response:
        """Send the browser to another page after an act."""
        return RedirectResponse(path, status_code=303)


Handler = Callable[[ConsoleRequest], Awaitable[Response]]
