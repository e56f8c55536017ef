"""Traces by OpenTelemetry, sent to OTEL_EXPORTER_OTLP_ENDPOINT. If it is not set, OpenTelemetry is not even imported.

A span says how long an operation took: a request by its route, a statement by its text without values, a scan by its
project. It never contains a URL query, a header or an address, because those may hold secrets.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, event
from structlog.typing import EventDict

from app.database import Database
from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer
    from sqlalchemy.engine import ExceptionContext
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

UNTRACED = frozenset({"/healthz", "/readyz", "/metrics", "/statusz", "/api/events"})
"""Paths that machines poll every few seconds, and the stream, which lasts for a long time."""
_CARRIED = (b"traceparent", b"tracestate")
_tracer: Tracer | None = None


def configure(service: str, settings: Settings, database: Database) -> None:
    """Start tracing this process, if an endpoint is set. When the process ends, the remaining spans are sent.

    OpenTelemetry's own variables configure the rest (https://opentelemetry.io/docs/specs/otel/configuration).
    """
    global _tracer
    if not settings.otel_exporter_otlp_endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = {"service.name": f"ppm-{service}", "service.version": settings.ppm_release}
    color = {"ppm.color": settings.ppm_color} if settings.ppm_color else {}
    provider = TracerProvider(resource=Resource.create({**about, **color}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("ppm")
    _watch(database.engine, _tracer)
    atexit.register(provider.shutdown)


@contextmanager
def span(name: str, **attributes: int | str) -> Iterator[None]:
    """Record how long the block takes, if this process is traced."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes={f"ppm.{key}": value for key, value in attributes.items()}):
        yield


def traced(app: ASGIApp) -> ASGIApp:
    """Return the application with a span around each request; unchanged, if this process is not traced."""
    return app if _tracer is None else Traced(app, _tracer)


def named(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Add the ids of the current span to a log line."""
    if _tracer is not None:
        from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

        context = get_current_span().get_span_context()
        if context.is_valid:
            line["trace_id"] = format_trace_id(context.trace_id)
            line["span_id"] = format_span_id(context.span_id)
    return line


class Traced:
    """Middleware around the whole application. It continues the trace of the request's sender."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app, self.tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self.app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode

        method = scope["method"]
        with self.tracer.start_as_current_span(method, _caller(scope), SpanKind.SERVER) as current:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    current.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        current.set_status(Status(StatusCode.ERROR))
                await send(message)

            try:
                await self.app(scope, receive, send_and_note)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                current.update_name(f"{method} {route}")
                current.set_attributes({"http.request.method": method, "http.route": route})


def _watch(engine: Engine, tracer: Tracer) -> None:
    """Trace each statement that runs within another span, so that the polls of every second are not traced.

    OpenTelemetry's own instrumentation does not support SQLAlchemy 2.1 yet.
    """
    from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span

    def begin(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        open_spans = connection.info.setdefault("spans", [])
        if get_current_span().is_recording():
            about = {"db.system.name": engine.name, "db.query.text": statement}
            open_spans.append(tracer.start_span(statement.split(None, 1)[0], kind=SpanKind.CLIENT, attributes=about))

    def end(connection: Connection, *_: Any) -> None:
        if spans := connection.info.get("spans"):
            spans.pop().end()

    def fail(context: ExceptionContext) -> None:
        if context.connection is not None and (spans := context.connection.info.get("spans")):
            spans[-1].set_status(Status(StatusCode.ERROR, type(context.original_exception).__name__))
            end(context.connection)

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


def _caller(scope: Scope) -> Context:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carried = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _CARRIED}
    return TraceContextTextMapPropagator().extract(carried)
