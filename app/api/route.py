"""How a handler is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from anyio import to_thread
from fastapi.routing import APIRoute


class Route(APIRoute):
    """A handler that is a plain function runs in a thread, and nothing else does: FastAPI would look at what it returns
    in a second thread, and each takes longer to come back from than that look."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint if inspect.iscoroutinefunction(endpoint) else _in_thread(endpoint), **options)


def _in_thread(handler: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(handler)
    async def run(**given: Any) -> Any:
        return await to_thread.run_sync(partial(handler, **given))

    return run
