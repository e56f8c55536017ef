"""A small OAuth server as a process of its own, which speaks as GitHub Enterprise does; every user is let in.

It keeps to the rules that protect a login: a code is good once, for the client, the address and the verifier (PKCE)
that it was asked with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
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
    scopes: dict[str, str] = {}  # noqa: RUF012
    groups: dict[str, str] = {}  # noqa: RUF012
    """The state of the person's membership in each organization, and each team (`organization/team`)."""
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
        elif url.path.startswith("/api/v3/"):
            self.answer(
                url.path.removeprefix("/api/v3/"), self.headers.get("Authorization", "").removeprefix("Bearer ")
            )
        else:
            self.say(404, {})

    def answer(self, path: str, token: str) -> None:
        """Answer what a token may ask: see "Users", "Organization members" and "Team members" in GitHub's REST API."""
        person = self.tokens.get(token)
        membership = rf"user/memberships/orgs/([^/]+)|orgs/([^/]+)/teams/([^/]+)/memberships/{person}"
        if person is None:
            self.say(401, {"message": "Bad credentials"})
        elif path == "user":
            self.say(200, {"login": person})
        elif found := re.fullmatch(membership, path):
            group = found[1] or f"{found[2]}/{found[3]}"
            if group == "broken":
                self.say(500, {})
            elif "read:org" not in self.scopes[token].split():
                self.say(403, {"message": "You need at least read:org scope."})
            else:
                state = self.groups.get(group)
                self.say(200 if state else 404, {"state": state} if state else {"message": "Not Found"})
        else:
            self.say(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sent = {key: values[0] for key, values in parse_qs(body).items()}
        asked = self.codes.pop(sent.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        known = self.headers.get("Authorization") == f"Basic {basic}" or sent.get("client_secret") == SECRET
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if not known:
            self.say(200, {"error": "incorrect_client_credentials"})
            return
        if not asked or asked["code_challenge"] != challenge.decode().rstrip("="):
            self.say(200, {"error": "bad_verification_code"})  # GitHub says so with 200
            return
        token = secrets.token_hex(8)
        self.tokens[token], self.scopes[token] = self.person, asked["scope"]
        self.say(200, {"access_token": token, "token_type": "bearer", "scope": asked["scope"]})

    def say(self, status: int, body: object) -> None:
        """Answer with a document."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def oauth_server(person: str = "ann", groups: dict[str, str] | None = None) -> Iterator[str]:
    """Run the server, where everybody is this person, and has these memberships; yield its address."""
    from tests.support.processes import running  # not where this file is the server

    argv = [sys.executable, __file__, person, json.dumps(groups or {})]
    with running(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"


if __name__ == "__main__":
    Handler.person, Handler.groups = sys.argv[1], json.loads(sys.argv[2])
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
