"""A real OpenID provider (oidc-provider of npm) for tests, and a person with a browser who signs on there."""

from __future__ import annotations

import html
import http.cookiejar
import json
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from http.client import HTTPMessage
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent / "oidc_provider"
FOLDER = Path(os.environ.get("SIPMIKEY_TEST_PROGRAMS") or Path.home() / ".cache" / "sipmikey-tests")
MODULES = FOLDER / "oidc_provider" / "node_modules"
"""Where tools/install-peers puts it."""

CLIENT_ID, CLIENT_SECRET = "kms", "secret of the kms"
_FORM = re.compile(r"<form[^>]*action=\"([^\"]+)\"(.*?)</form>", re.DOTALL)
_ABORT = re.compile(r"href=\"([^\"]+/abort)\"")
_INPUT = re.compile(r"<input[^>]*name=\"([^\"]+)\"[^>]*value=\"([^\"]*)\"")


class Missing(Exception):
    """The provider is not installed."""


class Provider:
    """A provider that runs. ``issuer``: its address."""

    def __init__(self, folder: Path) -> None:
        node = shutil.which("node")
        if node is None or not (MODULES / "oidc-provider").is_dir():
            raise Missing("oidc-provider is not installed: run tools/install-peers")
        script = folder / "provider.mjs"
        shutil.copy(HERE / "provider.mjs", script)
        (folder / "node_modules").symlink_to(MODULES)
        self._process = subprocess.Popen(
            [node, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.issuer: str = json.loads(line)["issuer"]

    def rotate(self) -> None:
        """Make the provider sign with a new key, and publish that one alone."""
        urllib.request.urlopen(f"{self.issuer}/test/rotate", data=b"", timeout=10).close()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


class _Here(urllib.request.HTTPRedirectHandler):
    """Follows no redirection to another site, and keeps the address it leads to."""

    elsewhere = ""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).hostname == "127.0.0.1":
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        self.elsewhere = newurl
        return None


class Browser:
    """A person at the provider's pages."""

    def __init__(self) -> None:
        jar = http.cookiejar.CookieJar()
        self._here = _Here()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar), self._here)

    def sent_back(self, address: str, *, person: str = "alice", agree: bool = True) -> dict[str, str]:
        """Sign on at *address* as *person*; return the query of the address that the provider leads to."""
        self._here.elsewhere = ""
        if agree:
            self.sign_on(address, person=person)
        elif (link := _ABORT.search(self._open(address))) is not None:
            self._open(html.unescape(link[1]))
        query = urllib.parse.urlsplit(self._here.elsewhere).query
        return dict(urllib.parse.parse_qsl(query))

    def sign_on(self, address: str, *, person: str = "alice", user_code: str = "", agree: bool = True) -> str:
        """Sign on as *person* with the code that *address* has, or that is typed; return the last page."""
        page = self._open(address)
        for _ in range(8):
            form = _FORM.search(page)
            if form is None:
                return page
            target = html.unescape(form[1])
            fields = {name: html.unescape(value) for name, value in _INPUT.findall(form[2])}
            if 'name="user_code"' in form[2] and not fields.get("user_code"):
                if 'class="error"' in page or not user_code:
                    return page
                fields["user_code"] = user_code
            if 'name="login"' in form[2]:
                fields |= {"login": person, "password": "secret"}
            if 'name="confirm"' in page or 'value="yes"' in page:
                fields["abort" if not agree else "confirm"] = "yes"
            page = self._open(target, fields)
        return page

    def _open(self, address: str, fields: dict[str, str] | None = None) -> str:
        body = None if fields is None else urllib.parse.urlencode(fields).encode()
        try:
            with self._opener.open(address, body, timeout=10) as response:
                return str(response.read(), "utf-8")
        except urllib.error.HTTPError as error:
            return str(error.read(), "utf-8")
