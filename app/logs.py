"""Logs: one JSON object per line on stderr, written by a separate thread; in development, lines for people.

No request waits for a line to be written: the reader of stderr may be gone for a while (Docker's daemon restarts), and
then the pipe is full. Lines that do not fit into the queue meanwhile are dropped.
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
"""Maximum number of lines that wait to be written."""


class _Handler(QueueHandler):
    """Puts lines into the queue while there is room."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a line; drop it if the queue is full."""
        with suppress(queue.Full):
            self.queue.put_nowait(record)


def configure(settings: Settings) -> None:
    """Send the logs of every module to stderr, until the process ends."""
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(MOST_LINES)
    handler = _Handler(waiting)
    handler.setFormatter(formatter(settings))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it warns about every run that a long scan skips
    listener = QueueListener(waiting, logging.StreamHandler(sys.stderr))
    listener.start()
    atexit.register(listener.stop)


def formatter(settings: Settings) -> logging.Formatter:
    """Return the formatter of a line: the record, its `extra`, and the values bound to the request."""
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
