"""How handlers are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any

from anyio import to_thread
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from starlette.requests import Request
from starlette.responses import Response


class Route(APIRoute):
    """A handler that is a plain function runs in a thread, and nothing else does: FastAPI would validate its result in
    a second thread, and switching back from a thread takes longer than that validation.

    The caller is checked before the body is read: FastAPI reads the body first."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint if inspect.iscoroutinefunction(endpoint) else _in_thread(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handler = super().get_route_handler()
        needs: list[Any] = [one.dependency for one in self.dependencies if isinstance(one.dependency, SecurityBase)]
        if self.body_field is None or not needs:
            return handler

        async def check_caller_first(request: Request) -> Response:
            for check in needs:
                await check(request, Response())
            return await handler(request)

        return check_caller_first


def _in_thread(handler: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(handler)
    async def run(**given: Any) -> Any:
        return await to_thread.run_sync(partial(handler, **given))

    return run
