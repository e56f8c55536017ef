"""Logs: one JSON object a line on stderr, written by a thread of its own; in development, lines for people.

Nobody waits for a line to be written: whoever reads stderr may be away for a while (Docker's daemon restarts), and then
the pipe is full. What does not fit into the queue meanwhile is dropped.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sys
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener

import structlog

from app import tracing
from app.settings import Settings

MOST_LINES = 10_000
"""That wait to be written."""


class _Handler(QueueHandler):
    """Puts lines into the queue, as long as there is room."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a line, or drop it."""
        with suppress(queue.Full):
            self.queue.put_nowait(record)


def configure(settings: Settings) -> None:
    """Send what every module logs to stderr, until the process ends."""
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(MOST_LINES)
    handler = _Handler(waiting)
    handler.setFormatter(formatter(settings))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it warns of each pass that a long scan skips
    listener = QueueListener(waiting, logging.StreamHandler(sys.stderr))
    listener.start()
    atexit.register(listener.stop)


def formatter(settings: Settings) -> logging.Formatter:
    """Return what makes a line: of the record, its `extra`, and what is bound to the request."""
    people = settings.app_env == "development"
    renderer = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            tracing.named,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", key="time"),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *(() if people else (structlog.processors.format_exc_info,)),
            renderer,
        ],
    )
