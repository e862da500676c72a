"""An OpenID provider on this machine, which lies as it is told. Its tokens are made by joserfc."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

CLIENT, SECRET = "sipmikey-console", "a client's secret"


@dataclass(slots=True)
class Provider:
    """``claims`` go into the token; ``bend`` changes them, ``token`` replaces the token as a whole."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    bend: Callable[[dict[str, Any]], None] = lambda claims: None
    token: Callable[[Provider, dict[str, Any]], str] | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    other: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))

    def visited(self, address: str, code: str = "a-code") -> dict[str, str]:
        """Take a browser's visit to *address*, as if the person had signed in; return what was asked."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        self.codes[code] = asked
        return asked

    def answer(self, path: str, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        if path == "/keys":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        asked = self.codes.pop(form.get("code", ""), None)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if asked is None or asked["code_challenge"] != proof.rstrip(b"=").decode():
            return 400, {"error": "invalid_grant"}
        if pair != f"{CLIENT}:a%20client%27s%20secret" or form["redirect_uri"] != asked["redirect_uri"]:
            return 401, {"error": "invalid_client"}
        now_s = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "1", "iat": now_s, "exp": now_s + 300,
            "nonce": asked["nonce"], "email": "ann@example.com", "email_verified": True, **self.claims,
        }  # fmt: skip
        self.bend(claims)
        token = self.token(self, claims) if self.token is not None else self.signed(claims, self.key)
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}

    @staticmethod
    def signed(claims: dict[str, Any], key: ECKey | OctKey, algorithm: str = "ES256") -> str:
        return jwt.encode({"alg": algorithm, "kid": "one"}, claims, key, algorithms=[algorithm])


@contextlib.contextmanager
def providing() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._told(*provider.answer(urlsplit(self.path).path, {}, ""))

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            self._told(*provider.answer(self.path, form, self.headers.get("authorization", "")))

        def _told(self, status: int, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
