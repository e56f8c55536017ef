"""Traces, as a collector gets them from a process of its own: OpenTelemetry's settings are a process's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

ASK = """
import logging, sys
from starlette.testclient import TestClient
from app import logs, tracing
from app.api import create_app
from app.database import Database
from app.migrate import migrate
from app.settings import Settings
from app import tokens

settings = Settings()
database = Database(settings.database_url)
logs.configure(settings)
migrate(database)
token = tokens.create(database, "ci")[0]
tracing.configure("api", settings, database)
with TestClient(create_app(settings, database)) as client:
    headers = {"Authorization": f"Bearer {token}", "traceparent": sys.argv[1]}
    assert client.get("/api/projects?q=sesame", headers=headers).status_code == 200
    assert client.get("/healthz").status_code == 200
with tracing.span("scan", project=7):
    logging.getLogger("app").info("in a scan")
print(*sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Yield (address, what was sent there)."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()


def asked(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ask the application a few things in a process; return what it said."""
    told = {"APP_ENV": "test", "DATABASE_URL": f"sqlite:///{tmp_path}/ppm.db", "PPM_RELEASE": "r1", **environment}
    argv = [sys.executable, "-W", "ignore", "-c", ASK, f"00-{TRACE}-{PARENT}-01"]
    return subprocess.run(argv, env=os.environ | told, capture_output=True, text=True, timeout=60, check=True)


def test_a_request_and_its_statements_are_a_part_of_the_callers_trace(tmp_path: Path) -> None:
    with collector() as (address, got):
        said = asked(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=address)

    sent = [ExportTraceServiceRequest.FromString(body) for body in got]
    resources = [each for one in sent for each in one.resource_spans]
    spans = [span for each in resources for scope in each.scope_spans for span in scope.spans]
    request = one_called("GET /api/projects", spans)
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert any(span.parent_span_id == request.span_id and span.name.startswith("SELECT") for span in spans)
    assert {a.key: a.value.int_value for a in request.attributes}["http.response.status_code"] == 200
    assert "ppm-api" in {a.value.string_value for each in resources for a in each.resource.attributes}
    assert not [span.name for span in spans if "healthz" in span.name]
    assert b"sesame" not in b"".join(got), "a query may hold secrets"
    lines = [json.loads(line) for line in said.stderr.splitlines()]
    [access] = [line for line in lines if line["event"] == "request"]
    assert (access["trace_id"], access["span_id"]) == (TRACE, request.span_id.hex())
    scan = one_called("scan", spans)
    assert {a.key: a.value.int_value for a in scan.attributes} == {"ppm.project": 7}
    assert [line["trace_id"] for line in lines if line["event"] == "in a scan"] == [scan.trace_id.hex()]
    roots = {span.name for span in spans if not span.parent_span_id}
    assert roots == {"scan"}, "no statement is told that nobody waits for"


def test_without_an_address_none_of_it_is_loaded(tmp_path: Path) -> None:
    said = asked(tmp_path)

    assert said.stdout.strip() == ""
    assert "trace_id" not in said.stderr


def test_a_collector_that_does_not_answer_is_no_matter(tmp_path: Path) -> None:
    assert asked(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="1")


def one_called(name: str, spans: list[Span]) -> Span:
    """Return the span of that name."""
    [found] = [span for span in spans if span.name == name]
    return found
