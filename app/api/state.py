"""The state that every request handler can use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.api.certificate import Certificate
from app.api.limit import Limit
from app.database import Database
from app.facts import Facts
from app.models import now
from app.sessions import Sessions
from app.settings import Settings


@dataclass(frozen=True)
class State:
    """One instance per application."""

    settings: Settings
    database: Database
    sessions: Sessions
    facts: Facts
    certificate: Certificate
    limit: Limit | None
    since: datetime = field(default_factory=now)
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this process is about to end: it is not ready, streams end, connections close after their response."""


def _state(connection: HTTPConnection) -> State:
    state: State = connection.app.state.ppm
    return state


async def _in_loop(connection: HTTPConnection) -> State:  # a plain function would take a thread per request
    return _state(connection)


Given = Annotated[State, Depends(_in_loop)]
