"""What an audit makes of the reports of pip-audit and npm."""

from __future__ import annotations

import json
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from audit import ACCEPTED, Finding, NoAnswer, accepted, ask, judge, of_npm, of_python, python

TODAY = date(2026, 11, 24)
PYTHON = {
    "dependencies": [
        {"name": "idna", "version": "3.10", "vulns": []},
        {
            "name": "urllib3",
            "version": "1.26.0",
            "vulns": [{"id": "PYSEC-2021-108", "fix_versions": ["1.26.5"], "aliases": ["CVE-2021-33503"]}],
        },
        {"name": "old", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": [], "aliases": []}]},
    ],
    "fixes": [],
}
PACKAGE = "urllib3 1.26.0"
NPM = {
    "auditReportVersion": 2,
    "vulnerabilities": {
        "mkdirp": {"via": ["minimist"], "range": "0.4.1 - 0.5.1", "fixAvailable": True},
        "minimist": {
            "via": [{"url": "https://github.com/advisories/GHSA-xvch-5gv4-984h", "range": "<0.2.4"}],
            "fixAvailable": {"name": "minimist", "version": "0.2.4"},
        },
    },
}


class Feed(BaseHTTPRequestHandler):
    """OSV, as https://google.github.io/osv.dev/post-v1-query/ describes it; it knows one thing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.11"}]}]
        affected = {"package": {"name": "idna", "ecosystem": "PyPI"}, "ranges": ranges}
        body = json.dumps({"vulns": [{"id": "GHSA-1", "aliases": ["CVE-1"], "affected": [affected]}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def entry(until: str, reason: str = "Not reached.") -> str:
    return f'[[accepted]]\nid = "CVE-2021-33503"\nreason = "{reason}"\nuntil = {until}\n'


def test_what_is_known_and_has_a_fix_must_be_mended() -> None:
    findings = of_python(json.dumps(PYTHON)) + of_npm(json.dumps(NPM))

    assert [finding.package for finding in judge(findings, set())] == [PACKAGE, "minimist <0.2.4"]


@pytest.mark.parametrize(
    ("file", "packages"),
    [
        (entry("2026-11-24"), []),
        (entry("2026-11-23"), [PACKAGE]),
        (entry("2026-12-01", ""), [PACKAGE]),
    ],
)
def test_what_is_accepted_counts_again_after_its_last_day_and_without_a_reason(file: str, packages: list[str]) -> None:
    bad = judge(of_python(json.dumps(PYTHON)), accepted(file, TODAY))

    assert [finding.package for finding in bad] == packages


def test_the_file_of_what_is_accepted_can_be_read() -> None:
    accepted(ACCEPTED.read_text(), TODAY)


def test_what_pip_audit_itself_reports_of_a_feed_is_understood(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"idna==3.10 --hash=sha256:{'0' * 64}\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Feed) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        feed = f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        found = ask([*python(["lock"]), "--osv-url", feed], tmp_path, of_python)
        server.shutdown()

    assert found == [Finding("idna 3.10", ("CVE-1", "GHSA-1"), "3.11")]


@pytest.mark.parametrize(
    "report",
    ["", "null", '{"dependencies": []}', '{"dependencies": [{"name": "x", "skip_reason": "Dependency not found"}]}'],
)
def test_a_feed_of_python_that_does_not_answer_is_not_taken_for_a_good_word(report: str) -> None:
    with pytest.raises(NoAnswer):
        of_python(report)


def test_a_feed_of_npm_that_does_not_answer_is_not_taken_for_a_good_word() -> None:
    with pytest.raises(NoAnswer, match="405"):
        of_npm('{"message": "405 Method Not Allowed", "error": {"summary": "", "detail": ""}}')
