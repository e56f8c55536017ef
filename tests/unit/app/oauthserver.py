"""A small OAuth server as a process of its own, which speaks as GitHub Enterprise does; whoever comes is let in.

It keeps to the rules that protect a login: a code is good once, for the client, the address and the verifier (PKCE)
that it was asked with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT, SECRET = "the-client", "the secret of the client"


class Handler(BaseHTTPRequestHandler):
    """Knows what was asked for by code, and who has logged in by token."""

    codes: dict[str, dict[str, str]] = {}  # noqa: RUF012
    tokens: dict[str, str] = {}  # noqa: RUF012
    person = "ann"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/login/oauth/authorize" and query["client_id"] == CLIENT:
            code = secrets.token_hex(8)
            self.codes[code] = query
            self.send_response(302)
            answer = urlencode({"code": code, "state": query["state"]})
            self.send_header("Location", f"{query['redirect_uri']}?{answer}")
            self.end_headers()
        elif url.path == "/api/v3/user":
            person = self.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            self.say(200 if person else 401, {"login": person} if person else {"message": "Bad credentials"})
        else:
            self.say(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sent = {key: values[0] for key, values in parse_qs(body).items()}
        asked = self.codes.pop(sent.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        known = self.headers.get("Authorization") == f"Basic {basic}" or sent.get("client_secret") == SECRET
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if not asked or not known or asked["code_challenge"] != challenge.decode().rstrip("="):
            self.say(200, {"error": "bad_verification_code"})  # GitHub says so with 200
            return
        token = secrets.token_hex(8)
        self.tokens[token] = self.person
        self.say(200, {"access_token": token, "token_type": "bearer", "scope": "read:user"})

    def say(self, status: int, body: object) -> None:
        """Answer with a document."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def oauth_server(person: str = "ann") -> Iterator[str]:
    """Run the server, where everybody is this person; yield its address."""
    argv = [sys.executable, __file__, person]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


if __name__ == "__main__":
    Handler.person = sys.argv[1]
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
