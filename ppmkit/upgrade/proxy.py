"""The step `proxy` of an upgrade: the release's proxy runs, with its settings and routes. And its undo.

Going back leads to what ran and to the files that lay there when the step began. So neither today's YAML nor the
version of ppmctl matters for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.errors import OperationError
from ppmkit.host import proxy_settings
from ppmkit.operation.transaction import NEW
from ppmkit.plan import inspection
from ppmkit.proxy import certificates, probe, routes
from ppmkit.proxy import traefik as proxy
from ppmkit.release import render
from ppmkit.release.model import Color
from ppmkit.upgrade import swap
from ppmkit.upgrade.swap import FILES, ROLE, ROUTES, Look, Swap, traefik

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.operation.transaction import Operation

Files = Mapping[str, str]
"""{path: content} of swap.FILES."""
_POLICY = "unless-stopped"


def start(operation: Operation) -> str:
    """Start the release's proxy, replace the one that runs, or leave that alone; return in words what was done.

    Users are served as before then. Raises OperationError when they would not be: the proxy of before serves again.
    """
    host, settings = operation.host, operation.environment
    if operation.resumed:
        settings = proxy_settings.of_release(settings, host.read, operation.release.id)
    certificates.prepare(host, settings, operation.release.images.steward)
    if operation.resumed:
        _settle(operation)
        operation.look_again()
    stack = operation.stack
    found = stack.active(ROLE) or stack.of(ROLE)
    fits = bool(found) and found[0].setup.config_hash == _wanted_hash(operation)
    if fits and found[0].running and operation.was_done("proxy"):
        return "is there"
    files, there = _files(operation, settings), _read(operation, traefik(host))
    if fits and found[0].running and files == there:
        return "unchanged"
    _remember(operation)
    return _replace(operation, files) if found and not fits else _adapt(operation, files, there)


def take_back(operation: Operation) -> None:
    """Bring back the proxy of before, with its settings and routes, and see that it serves users as it did.

    Where the release of before does not run any more, they stay where they are.
    """
    host, live, remembered = operation.host, operation.intent.live, _folder(operation, "before")
    forward, back = _settle(operation)
    stack = operation.look_again()
    if live is None or not stack.running("api", live) or not swap.exists(host, remembered):
        clean(operation)
        return
    look = _served(operation, live, host.read(remembered / ROUTES) or "")
    if forward != "done":
        if not stack.active(ROLE) and forward:  # neither could be started then
            host.docker.container.start(swap.planned(host, _folder(operation, "forward"))["old"])
        _write(operation, _read(operation, remembered))
    elif back != "done":
        _swap_back(operation, look)
    _see(operation, "the proxy of before does not serve users as it did", look)
    clean(operation)


def replaced(operation: Operation) -> bool:
    """Return whether the operation has replaced the proxy, and not taken that back."""
    host = operation.host
    forward, back = (swap.outcome(host, _folder(operation, part)) for part in ("forward", "back"))
    return forward == "done" and back != "done"


def clean(operation: Operation) -> None:
    """Remove what the step has left for its undo: files, and the container of the proxy of before."""
    folder = _folder(operation)
    if swap.exists(operation.host, folder):
        swap.remove_resting(operation)
        swap.remove_aside(operation.host)
        operation.host.run(["rm", "-rf", str(folder)])


def _adapt(operation: Operation, files: Files, there: Files) -> str:
    """Give the proxy that runs other files, or start it with them."""
    live, runs = operation.stack.live, operation.stack.running(ROLE)
    _write(operation, files)
    if not runs:
        operation.compose.compose.up([ROLE], detach=True, dependencies=False, no_build=True, quiet=True)
        operation.look_again()
    other = any(files.get(path) != there.get(path) for path in FILES if path != proxy_settings.FILE)
    if live is not None and (other or not runs):
        try:
            _see(
                operation,
                "the proxy does not serve users with its new settings",
                _served(operation, live, files[ROUTES]),
            )
        except OperationError:
            _write(operation, there)
            raise
    return "started" if not runs else "has other routes" if other else "unchanged"


def _replace(operation: Operation, files: Files) -> str:
    """Put the release's proxy in the place of the one that runs."""
    host, live = operation.host, operation.stack.live
    swap.remove_resting(operation)
    host.run(["rm", "-rf", *(str(_folder(operation, part)) for part in ("forward", "back"))])
    old = (operation.stack.active(ROLE) or operation.stack.of(ROLE))[0]
    new = swap.create(operation, operation.compose)
    policies = (old.setup.restart or _POLICY, new.setup.restart or _POLICY)
    plan = Swap(_folder(operation, "forward"), old, new, policies, "back")
    for path, text in files.items():
        host.write(plan.folder / "after" / path, text)
    swap.prepare(operation, plan)
    last = swap.run(operation, plan, _served(operation, live, files[ROUTES]))
    outcome = swap.outcome(host, plan.folder) or ""
    if outcome == "done":
        return "replaced by one with other settings"
    why, said = outcome.removeprefix("undone: "), proxy.words(host, plan.new.id)
    raise OperationError(
        f"{host.name}: the new proxy did not serve users: {why}",
        host=host.name,
        seen="\n".join(part for part in (last, *said) if part),
        next=f"Correct what the proxy does not take, then: ppmctl deploy -e {operation.environment.name}",
    )


def _swap_back(operation: Operation, look: Look) -> None:
    host, folder = operation.host, _folder(operation, "back")
    was = swap.planned(host, _folder(operation, "forward"))
    host.run(["rm", "-rf", str(folder)])
    by_id = {c.id: c for c in operation.stack.of(ROLE)}
    before = by_id.get(was["old"]) or swap.create(operation, operation.old_compose)  # somebody has removed it
    # Not those that they have now: a proxy that has given way is not to come back by itself.
    policies = (was["new_policy"], was["old_policy"])
    plan = Swap(folder, by_id.get(was["new"], operation.stack.of(ROLE)[0]), before, policies, "keep")
    swap.copy(host, _folder(operation, "before"), folder / "after")
    swap.prepare(operation, plan)
    swap.run(operation, plan, look)
    outcome = swap.outcome(host, folder) or ""
    if outcome != "done":
        raise OperationError(
            f"{host.name}: the proxy of before could not be started ({outcome.removeprefix('undone: ')})",
            host=host.name,
            seen=host.read(folder / "log"),
            next=f"ppmctl abort -e {operation.environment.name}",
        )


def _settle(operation: Operation) -> tuple[str | None, str | None]:
    """Let replacements end that were cut short, there and back; return how each ended."""
    host = operation.host
    forward = swap.settle(host, _folder(operation, "forward"), "back")
    return forward, swap.settle(host, _folder(operation, "back"), "keep")


def _remember(operation: Operation) -> None:
    """Keep what the proxy reads now, and by what users are served: undoing leads back to that."""
    host, stack, folder = operation.host, operation.stack, _folder(operation, "before")
    if swap.exists(host, folder):
        return
    live = stack.live
    release = stack.release(live) if live else None
    served = [path for path in proxy.USED if release and probe.answer(host.public, path, release) is None]
    host.write(_folder(operation, "served"), "".join(f"{path}\n" for path in served))
    if live and not routes.servers(host.read(traefik(host) / ROUTES) or "", live)["api"]:  # somebody spoilt them
        proxy.route(host, stack, live=live, preview=None, logged=False)
    swap.copy(host, traefik(host), folder)


def _served(operation: Operation, live: Color | None, text: str) -> Look:
    """Return a look whether the live colour serves users through these routes, as it did when the step began."""
    host = operation.host
    if live is None:
        return lambda: probe.silent(host)
    paths: Collection[str] = (host.read(_folder(operation, "served")) or "").split()
    release, servers = operation.stack.release(live) or "", routes.servers(text, live)
    return lambda: proxy.unserved(host, live, servers, release, paths)


def _see(operation: Operation, wrong: str, look: Look) -> None:
    """Wait until users are served. Raises OperationError that says what is wrong."""
    host, timeout = operation.host, operation.environment.upgrade.switch_timeout.total_seconds()
    if last := proxy.explained(host, operation.stack, probe.poll(host, look, timeout)):
        raise OperationError(f"{host.name}: {wrong}", host=host.name, seen=last)


def _files(operation: Operation, settings: Environment) -> dict[str, str]:
    """Return what the release's proxy reads while users are where they are."""
    live = operation.stack.live
    text = render.routes(settings, live=live, preview=live, servers=operation.stack.servers((live,)))
    shown = render.certificates(settings, operation.release)
    return {
        ROUTES: text,
        proxy_settings.FILE: proxy_settings.recorded(settings),
        **{f"dynamic/{name}": content for name, content in shown.items()},
    }


def _read(operation: Operation, folder: PurePosixPath) -> dict[str, str]:
    found = {path: operation.host.read(folder / path) for path in FILES}
    return {path: text for path, text in found.items() if text is not None}


def _write(operation: Operation, files: Files) -> None:
    """Have the proxy read these files, and no other."""
    host = operation.host
    for path in FILES:
        if path in files:
            host.write(traefik(host) / path, files[path])
        else:
            host.run(["rm", "-f", str(traefik(host) / path)])
    host.forget_proxy_settings()


def _wanted_hash(operation: Operation) -> str:
    return inspection.config_hash(
        (operation.files / NEW).read_text(encoding="utf-8"), operation.environment.project, ROLE
    )


def _folder(operation: Operation, part: str = "") -> PurePosixPath:
    """Return where the host keeps what the step needs for its undo, or a part of it; gone when the operation ends."""
    return operation.environment.directory / "swaps" / operation.intent.operation / part
