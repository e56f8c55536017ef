"""The step `proxy` of an upgrade, and its undo: the release's proxy runs, with its settings and routes.

The undo brings back the container and the files from when the step began, so it depends neither on today's YAML nor
on the version of ppmctl.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ppmkit.errors import OperationError
from ppmkit.host import proxy_settings
from ppmkit.operation.transaction import NEW
from ppmkit.plan import inspection
from ppmkit.proxy import certificates, probe, routes, traefik
from ppmkit.release import render
from ppmkit.release.model import Color
from ppmkit.upgrade import swap
from ppmkit.upgrade.swap import FILES, ROLE, ROUTES, Check, Swap, traefik_directory

if TYPE_CHECKING:
    from ppmkit.config.environment import Environment
    from ppmkit.operation.transaction import Operation

Files = Mapping[str, str]
"""{path: content} of swap.FILES."""
_POLICY = "unless-stopped"


def start(operation: Operation) -> str:
    """Start the release's proxy, replace the one that runs, or leave it as it is; return the step's outcome.

    Users are then served as before. Raises OperationError when they are not; the previous proxy then serves again.
    """
    host, settings = operation.host, operation.environment
    if operation.resumed:
        settings = proxy_settings.of_release(settings, host.read, operation.release.id)
    certificates.prepare(host, settings, operation.release.images.steward)
    if operation.resumed:
        _settle(operation)
        operation.refresh()
    stack = operation.stack
    present = stack.active(ROLE) or stack.of(ROLE)
    fits = bool(present) and present[0].setup.config_hash == _wanted_hash(operation)
    if fits and present[0].running and operation.was_done("proxy"):
        return "already done"
    files, current = _files(operation, settings), _read(operation, traefik_directory(host))
    if fits and present[0].running and files == current:
        return "unchanged"
    _remember(operation)
    return _replace(operation, files) if present and not fits else _adapt(operation, files, current)


def undo(operation: Operation) -> None:
    """Bring back the previous proxy, with its settings and routes, and confirm that it serves users as it did.

    When the previous release does not run anymore, the new proxy stays.
    """
    host, live, remembered = operation.host, operation.intent.live, _folder(operation, "before")
    forward, back = _settle(operation)
    stack = operation.refresh()
    if live is None or not stack.running("api", live) or not swap.exists(host, remembered):
        clean(operation)
        return
    check = _service_check(operation, live, host.read(remembered / ROUTES) or "")
    if forward != "done":
        if not stack.active(ROLE) and forward:  # the swap script could start neither
            host.docker.container.start(swap.planned(host, _folder(operation, "forward"))["old"])
        _write(operation, _read(operation, remembered))
    elif back != "done":
        _swap_back(operation, check)
    _confirm(operation, "the previous proxy does not serve users as it did", check)
    clean(operation)


def replaced(operation: Operation) -> bool:
    """Return whether the operation has replaced the proxy, and has not undone that."""
    host = operation.host
    forward, back = (swap.outcome(host, _folder(operation, part)) for part in ("forward", "back"))
    return forward == "done" and back != "done"


def clean(operation: Operation) -> None:
    """Remove what the step has kept for its undo: files, and the previous proxy's container."""
    folder = _folder(operation)
    if swap.exists(operation.host, folder):
        swap.remove_stopped(operation)
        swap.remove_aside(operation.host)
        operation.host.run(["rm", "-rf", str(folder)])


def _adapt(operation: Operation, files: Files, current: Files) -> str:
    """Give the existing proxy these files, and start it if it does not run."""
    live, runs = operation.stack.live, operation.stack.running(ROLE)
    _write(operation, files)
    if not runs:
        operation.up(ROLE)
        operation.refresh()
    changed = any(files.get(path) != current.get(path) for path in FILES if path != proxy_settings.FILE)
    if live is not None and (changed or not runs):
        try:
            _confirm(
                operation,
                "the proxy does not serve users with its new settings",
                _service_check(operation, live, files[ROUTES]),
            )
        except OperationError:
            _write(operation, current)
            raise
    return "started" if not runs else "new routes" if changed else "unchanged"


def _replace(operation: Operation, files: Files) -> str:
    """Replace the running proxy with the release's."""
    host, live = operation.host, operation.stack.live
    swap.remove_stopped(operation)
    host.run(["rm", "-rf", *(str(_folder(operation, part)) for part in ("forward", "back"))])
    old = (operation.stack.active(ROLE) or operation.stack.of(ROLE))[0]
    new = swap.create(operation, operation.compose)
    policies = (old.setup.restart or _POLICY, new.setup.restart or _POLICY)
    plan = Swap(_folder(operation, "forward"), old, new, policies, "back")
    for path, text in files.items():
        host.write(plan.folder / "after" / path, text)
    swap.prepare(operation, plan)
    last = swap.run(operation, plan, _service_check(operation, live, files[ROUTES]))
    outcome = swap.outcome(host, plan.folder) or ""
    if outcome == "done":
        return "replaced by a proxy with new settings"
    why, logs = outcome.removeprefix("undone: "), traefik.words(host, plan.new.id)
    raise OperationError(
        f"{host.name}: the new proxy did not serve users: {why}",
        host=host.name,
        seen="\n".join(part for part in (last, *logs) if part),
        next=f"Fix the settings that the proxy rejects, then: ppmctl deploy -e {operation.environment.name}",
    )


def _swap_back(operation: Operation, check: Check) -> None:
    host, folder = operation.host, _folder(operation, "back")
    forward = swap.planned(host, _folder(operation, "forward"))
    host.run(["rm", "-rf", str(folder)])
    by_id = {c.id: c for c in operation.stack.of(ROLE)}
    before = by_id.get(forward["old"]) or swap.create(operation, operation.old_compose)  # it was removed by hand
    # Not the current restart policies: the engine must not start a replaced proxy again.
    policies = (forward["new_policy"], forward["old_policy"])
    plan = Swap(folder, by_id.get(forward["new"], operation.stack.of(ROLE)[0]), before, policies, "keep")
    swap.copy(host, _folder(operation, "before"), folder / "after")
    swap.prepare(operation, plan)
    swap.run(operation, plan, check)
    outcome = swap.outcome(host, folder) or ""
    if outcome != "done":
        raise OperationError(
            f"{host.name}: the previous proxy could not be started ({outcome.removeprefix('undone: ')})",
            host=host.name,
            seen=host.read(folder / "log"),
            next=f"ppmctl abort -e {operation.environment.name}",
        )


def _settle(operation: Operation) -> tuple[str | None, str | None]:
    """Let interrupted replacements end, forward and back; return the outcome of each."""
    host = operation.host
    forward = swap.settle(host, _folder(operation, "forward"), "back")
    return forward, swap.settle(host, _folder(operation, "back"), "keep")


def _remember(operation: Operation) -> None:
    """Save what the proxy reads now, and the paths on which users are served: the undo brings these back."""
    host, stack, folder = operation.host, operation.stack, _folder(operation, "before")
    if swap.exists(host, folder):
        return
    live = stack.live
    release = stack.release(live) if live else None
    served = [path for path in traefik.USED if release and probe.answer(host.public, path, release) is None]
    host.write(_folder(operation, "served"), "".join(f"{path}\n" for path in served))
    if live and not routes.servers(host.read(traefik_directory(host) / ROUTES) or "", live)["api"]:  # broken by hand
        traefik.route(host, stack, live=live, preview=None, logged=False)
    swap.copy(host, traefik_directory(host), folder)


def _service_check(operation: Operation, live: Color | None, text: str) -> Check:
    """Return a check that the live color serves users through these routes, as it did when the step began."""
    host = operation.host
    if live is None:
        return lambda: probe.silent(host)
    paths: Collection[str] = (host.read(_folder(operation, "served")) or "").split()
    release, servers = operation.stack.release(live) or "", routes.servers(text, live)
    return lambda: traefik.unserved(host, live, servers, release, paths)


def _confirm(operation: Operation, failure: str, check: Check) -> None:
    """Wait until users are served. Raises OperationError with this message when they are not."""
    host, timeout = operation.host, operation.environment.upgrade.switch_timeout.total_seconds()
    if last := traefik.explained(host, operation.stack, probe.poll(host, check, timeout)):
        raise OperationError(f"{host.name}: {failure}", host=host.name, seen=last)


def _files(operation: Operation, settings: Environment) -> dict[str, str]:
    """Return what the release's proxy reads while users stay on the live color."""
    live = operation.stack.live
    text = render.routes(settings, live=live, preview=live, servers=operation.stack.servers((live,)))
    certificate_files = render.certificates(settings, operation.release)
    return {
        ROUTES: text,
        proxy_settings.FILE: proxy_settings.recorded(settings),
        **{f"dynamic/{name}": content for name, content in certificate_files.items()},
    }


def _read(operation: Operation, folder: PurePosixPath) -> dict[str, str]:
    texts = {path: operation.host.read(folder / path) for path in FILES}
    return {path: text for path, text in texts.items() if text is not None}


def _write(operation: Operation, files: Files) -> None:
    """Have the proxy read exactly these files."""
    host = operation.host
    for path in FILES:
        if path in files:
            host.write(traefik_directory(host) / path, files[path])
        else:
            host.run(["rm", "-f", str(traefik_directory(host) / path)])
    host.forget_proxy_settings()


def _wanted_hash(operation: Operation) -> str:
    return inspection.config_hash(
        (operation.files / NEW).read_text(encoding="utf-8"), operation.environment.project, ROLE
    )


def _folder(operation: Operation, part: str = "") -> PurePosixPath:
    """Return the host's folder for the step's undo, or a part of it; it is removed when the operation ends."""
    return operation.environment.directory / "swaps" / operation.intent.operation / part
