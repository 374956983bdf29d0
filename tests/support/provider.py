"""An identity provider over HTTP that does what a test tells it: signs anything, turns its keys, goes away, lies.

For everything that a friendly provider never does; the friendly one in the tests is ``oidc-provider-mock``. Codes are
bound to their PKCE challenge, refresh tokens turn at each use, and a used one ends all of its login.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwk, jwt

CLIENT = "enclii"


@dataclass
class Provider:
    """What it answers, and what was asked of it."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    expires_in: float = 3600
    away: bool = False
    refusing: str = ""
    key: Any = None
    forged: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)

    def turn_key(self, kid: str = "") -> None:
        """From now on another key signs, and only that one is published; ``kid`` is what it is called."""
        self.key = jwk.RSAKey.generate_key(2048, {"kid": kid or secrets.token_hex(4), "use": "sig"})

    def token(self, *, alg: str = "RS256", key: Any = None, kid: str = "", **said: Any) -> str:
        """A token with the usual claims; what is None is left out."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": CLIENT, "sub": "u-1", "iat": now, "exp": now + 300,
                 "preferred_username": "ada", "groups": ["developers"]}  # fmt: skip
        claims = {name: value for name, value in {**usual, **self.claims, **said}.items() if value is not None}
        header = {"alg": alg, "kid": kid or self.key.kid}
        return jwt.encode(header, claims, key or self.key, algorithms=[alg])

    def answer(self, path: str, query: dict[str, str], bearer: str) -> tuple[int, Any]:
        """Status and JSON."""
        self.asked.append((path, query))
        if self.away:
            return 503, {}
        if path == "/.well-known/openid-configuration":
            known = {"issuer": self.url, "authorization_endpoint": f"{self.url}/authorize",
                     "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/keys",
                     "end_session_endpoint": f"{self.url}/end"}  # fmt: skip
            return 200, known | self.metadata
        if path == "/keys":
            odd = [{"kty": "odd"}, {"kty": "oct", "k": "c2VjcmV0", "kid": self.key.kid}]
            return 200, {"keys": [*odd, self.key.as_dict(private=False)]}
        if path == "/userinfo":
            return (200, self.userinfo) if bearer.startswith("access-") else (401, {})
        return self._exchange(query) if path == "/token" else (404, {})

    def authorize(self, address: str, **more: str) -> str:
        """The address that the browser is sent back to when the person says yes."""
        asked = dict(parse_qsl(urlsplit(address).query))
        code = secrets.token_hex(8)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], **more})}"

    def _exchange(self, query: dict[str, str]) -> tuple[int, Any]:
        if self.refusing:
            return 400, {"error": self.refusing}
        if query.get("grant_type") == "refresh_token":
            if query["refresh_token"] not in self.refresh_tokens:
                self.refresh_tokens.clear()
                return 400, {"error": "invalid_grant"}
            self.refresh_tokens.discard(query["refresh_token"])
            return 200, self._tokens({})
        asked = self._codes.pop(query.get("code", ""), None)
        digest = hashlib.sha256(query.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or asked["code_challenge"] != challenge or asked["code_challenge_method"] != "S256":
            return 400, {"error": "invalid_grant"}
        return 200, self._tokens({"nonce": asked["nonce"]})

    def _tokens(self, said: dict[str, Any]) -> dict[str, Any]:
        new = f"refresh-{secrets.token_hex(8)}"
        self.refresh_tokens.add(new)
        access = f"access-{secrets.token_hex(8)}"
        return {"access_token": access, "token_type": "Bearer", "expires_in": self.expires_in, "refresh_token": new,
                "id_token": self.forged or self.token(**said)}  # fmt: skip


FRIENDLY = """
import sys
from oidc_provider_mock import run_server_in_thread
with run_server_in_thread() as server:
    print(server.server_port, flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def friendly_provider() -> Iterator[str]:
    """The address of ``oidc-provider-mock``, in a process of its own that ends with ours."""
    argv = (sys.executable, "-W", "ignore", "-c", FRIENDLY)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"http://localhost:{int(process.stdout.readline())}"
        process.stdin.close()


@contextlib.contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider at a port that the system chose."""
    provider = Provider()
    provider.turn_key()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

        def _answer(self, body: str) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(body or parts.query).items()}
            bearer = self.headers.get("Authorization", "").partition(" ")[2]
            status, told = provider.answer(parts.path, query, bearer)
            data = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
