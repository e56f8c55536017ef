"""What every request may need."""

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
    """One for each application."""

    settings: Settings
    database: Database
    sessions: Sessions
    facts: Facts
    certificate: Certificate
    limit: Limit | None
    since: datetime = field(default_factory=now)
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this process is about to end: not ready, streams end, connections close after their answer."""


def _state(connection: HTTPConnection) -> State:
    state: State = connection.app.state.ppm
    return state


async def _in_loop(connection: HTTPConnection) -> State:  # a plain function would cost a thread for each request
    return _state(connection)


Given = Annotated[State, Depends(_in_loop)]
